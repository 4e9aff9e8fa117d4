// Batches computed ahead of their use, on background threads.
#pragma once
#include <cstdint>
#include <deque>
#include <future>
#include <utility>

#include "core/parallel.h"

namespace ashlar::data {

// Wraps a loader whose `at(step)` is a pure function; `Prefetch::at(step)` returns the same batch, and the next two
// are computed meanwhile. Steps asked for in order are found ready; for any other step the work begins anew there. An
// exception of the loader reaches whoever asks for that step. One consumer thread.
template <class Loader>
class Prefetch {
 public:
  using Batch = decltype(std::declval<const Loader&>().at(std::int64_t{0}));

  explicit Prefetch(Loader loader) : loader_(std::move(loader)) {}
  Prefetch(const Prefetch&) = delete;  // the threads hold its address
  Prefetch& operator=(const Prefetch&) = delete;

  const Loader& loader() const { return loader_; }

  Batch at(std::int64_t step) {
    constexpr std::size_t kAhead = 2;
    if (step != next_) {
      batches_.clear();
      next_ = step;
    }
    while (batches_.size() < 1 + kAhead) batches_.push_back(start(next_ + static_cast<std::int64_t>(batches_.size())));
    std::future<Batch> batch = std::move(batches_.front());
    batches_.pop_front();
    ++next_;
    return batch.get();
  }

 private:
  std::future<Batch> start(std::int64_t step) const {
    return std::async(std::launch::async, [this, step] {
      set_num_threads(1);  // of this thread's own loops: the others belong to the training step
      return loader_.at(step);
    });
  }

  const Loader loader_;
  std::int64_t next_ = 0;
  std::deque<std::future<Batch>> batches_;  // of the steps next_, next_ + 1, …; each waits for its thread when destroyed
};

}  // namespace ashlar::data
