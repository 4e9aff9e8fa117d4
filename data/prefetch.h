// Batches computed ahead of their use, on one background thread.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "core/parallel.h"

namespace ashlar::data {

// Wraps a loader whose `at(step)` is a pure function; `Prefetch::at(step)` returns the same batch. Steps
// asked for in order are found ready; any other step is computed anew, and prefetching goes on behind it. An
// exception of the loader reaches whoever asks for that step. One consumer thread.
template <class Loader>
class Prefetch {
 public:
  using Batch = decltype(std::declval<const Loader&>().at(std::int64_t{0}));

  // Computes batches [first, end) ahead, at most `depth` of them at a time. Steps from `end` on are not
  // computed ahead (an evaluation knows where it ends); asking for them still works.
  explicit Prefetch(Loader loader, std::int64_t first = 0, std::int64_t end = INT64_MAX,
                    std::size_t depth = 2)
      : loader_(std::move(loader)), depth_(depth), end_(end), wanted_(first), next_(first) {
    ASHLAR_CHECK(depth >= 1, "prefetch: depth must be at least 1");
    worker_ = std::thread([this] { work(); });
  }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;
  ~Prefetch() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }

  const Loader& loader() const { return loader_; }

  Batch at(std::int64_t step) {
    std::unique_lock lock(mutex_);
    if (step >= end_ || step < 0) {
      lock.unlock();
      return loader_.at(step);
    }
    if (step != wanted_) {  // somewhere else: what was computed ahead is of no use
      ready_.clear();
      wanted_ = next_ = step;
      ++restarts_;
      changed_.notify_all();
    }
    changed_.wait(lock, [this] { return !ready_.empty(); });
    Result result = std::move(ready_.front());
    ready_.pop_front();
    ++wanted_;
    lock.unlock();
    changed_.notify_all();
    if (result.failure) std::rethrow_exception(result.failure);
    return std::move(result.batch);
  }

 private:
  struct Result {
    Batch batch;
    std::exception_ptr failure;
  };

  void work() {
    set_num_threads(1);  // of this thread's own loops: the others belong to the training step
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || (ready_.size() < depth_ && next_ < end_); });
      if (stopping_) return;
      const std::int64_t step = next_, restarts = restarts_;
      lock.unlock();
      Result result;
      try {
        result.batch = loader_.at(step);
      } catch (...) {
        result.failure = std::current_exception();
      }
      lock.lock();
      if (restarts != restarts_) continue;  // the consumer went elsewhere meanwhile
      ++next_;
      ready_.push_back(std::move(result));
      changed_.notify_all();
    }
  }

  const Loader loader_;
  const std::size_t depth_;
  const std::int64_t end_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Result> ready_;    // batches of the steps wanted_, wanted_ + 1, …
  std::int64_t wanted_, next_;  // the next step to hand out, the next one to compute
  std::int64_t restarts_ = 0;
  bool stopping_ = false;
  std::thread worker_;
};

}  // namespace ashlar::data
