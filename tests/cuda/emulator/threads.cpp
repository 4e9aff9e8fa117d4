// Blocks one after the other on each thread of the host, their threads as coroutines that change places only where the
// threads of a GPU wait for each other. See CMakeLists.txt, beside this file, for what this shows and what it cannot.
#include <algorithm>
#include <atomic>
#include <bit>
#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>

#include "core/error.h"
#include "tests/cuda/emulator/include/cuda_runtime.h"
#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/watch.h"

namespace ashlar::emulated {
namespace {

constexpr std::size_t kStack = std::size_t{64} << 10, kPage = std::size_t{4} << 10;

// Where a stack goes on, on which threads of blocks run one after another.
using Coroutine = boost::context::fiber;

enum class State { ready, at_warp, at_block, done };

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
  bool there;
};

void carry_out(const Copy& copy) {
  if (copy.there) std::memcpy(copy.to, copy.from, copy.bytes);
  else std::memset(copy.to, 0, copy.bytes);
}

struct Thread {
  uint3 index{};
  State state = State::ready;
  Coroutine* coroutine = nullptr;   // once it has begun
  const char* operation = nullptr;  // what it does with its warp, and what it brings
  void* own = nullptr;
  unsigned warp_barriers = 0;             // that it has passed
  std::vector<Copy> issued;               // of the group that is not yet committed
  std::vector<std::vector<Copy>> groups;  // committed and not waited for
};

// Runs blocks. Each thread of the host has one.
class Multiprocessor {
 public:
  void run(uint3 block, std::size_t shared, bool descending, const std::function<void()>& thread) {
    body_ = &thread, descending_ = descending;
    blockIdx = block;
    begin(shared);
    try {
      run_threads();
      watch::end_block();
      shared_.check();
      watch::check();
    } catch (...) {
      watch::end_block();
      coroutines_.clear();  // leaves what was begun
      idle_.clear();
      throw;
    }
  }

  void barrier() { wait(State::at_block); }

  void collective(const char* operation, unsigned lanes, void* own, void (*combine)(const AllLanes& all)) {
    if (lanes != ~0u) throw Error(concat(operation, " of some lanes of a warp is not emulated"));
    const std::size_t position = position_of(*current_), first = position / kLanes * kLanes;
    if (first + kLanes > threads_.size()) throw Error(concat(operation, " in a warp that is not whole"));
    current_->operation = operation, current_->own = own;
    if (++arrived_ < kLanes) return wait(State::at_warp);
    arrived_ = 0;
    AllLanes all;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      Thread& thread = threads_[first + lane];
      if (thread.operation != operation && std::strcmp(thread.operation, operation) != 0) {
        throw Error(concat("lanes of a warp meet in ", operation, " and in ", thread.operation));
      }
      all[lane] = thread.own;
      thread.state = State::ready;
    }
    combine(all);
    if (std::strcmp(operation, "__syncwarp") != 0) return;
    for (std::size_t lane = 0; lane < kLanes; ++lane) ++threads_[first + lane].warp_barriers;
    watch::next_thread(position, current_->warp_barriers);
  }

  int lane() const { return static_cast<int>(position_of(*current_) % kLanes); }
  Thread& current() { return *current_; }
  bool descending() const { return descending_; }
  SharedMemory& shared() { return shared_; }

 private:
  std::size_t position_of(const Thread& thread) const { return static_cast<std::size_t>(&thread - threads_.data()); }

  void begin(std::size_t shared) {
    threads_.assign(std::size_t{blockDim.x} * blockDim.y * blockDim.z, Thread{});
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      const auto number = static_cast<unsigned>(i);
      threads_[i].index = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
    }
    arrived_ = 0;
    failure_ = nullptr;
    shared_.begin_block(shared);
  }

  // Calls visit(0) … visit(count - 1) in the block's order.
  template <class Visit>
  void in_order(std::size_t count, const Visit& visit) {
    for (std::size_t i = 0; i < count; ++i) visit(descending_ ? count - 1 - i : i);
  }

  void run_threads() {
    const std::size_t count = threads_.size(), warps = (count + kLanes - 1) / kLanes;
    for (;;) {
      in_order(warps, [&](std::size_t warp) { run_warp(warp * kLanes, std::min(count, (warp + 1) * kLanes)); });
      std::size_t waiting = 0;
      for (const Thread& thread : threads_) waiting += thread.state == State::at_block;
      if (waiting == 0) return;
      if (waiting < count) {
        throw Error(concat(waiting, " of ", count, " threads wait at __syncthreads(), the others have ended"));
      }
      watch::barrier();
      for (Thread& thread : threads_) thread.state = State::ready;
    }
  }

  // Until every lane has ended or waits for the block.
  void run_warp(std::size_t begin, std::size_t end) {
    for (bool progress = true; progress;) {
      progress = false;
      in_order(end - begin, [&](std::size_t lane) {
        Thread& thread = threads_[begin + lane];
        if (thread.state != State::ready) return;
        resume(thread);
        progress = true;
      });
    }
    for (std::size_t i = begin; i < end; ++i) {
      if (threads_[i].state == State::at_warp) {
        throw Error(concat(arrived_, " lanes of warp ", begin / kLanes, " wait in ", threads_[i].operation,
                           ", the others have ended or wait at __syncthreads()"));
      }
    }
  }

  // From the scheduler: until the thread, or one that follows it in its warp, comes back.
  void resume(Thread& thread) {
    switch_to(enter(thread), scheduler_);
    if (failure_) std::rethrow_exception(failure_);
  }

  // Makes a thread the current one, and gives where it goes on.
  Coroutine& enter(Thread& thread) {
    current_ = &thread;
    threadIdx = thread.index;
    watch::next_thread(position_of(thread), thread.warp_barriers);
    if (!thread.coroutine) thread.coroutine = take_coroutine();
    return *thread.coroutine;
  }

  // Goes on at `target`; whoever is switched to keeps where the one before stopped.
  void switch_to(Coroutine& target, Coroutine& own) {
    left_ = &own;
    Coroutine before = std::move(target).resume();
    *left_ = std::move(before);
  }

  Coroutine* take_coroutine() {
    if (idle_.empty()) {
      coroutines_.push_back(std::make_unique<Coroutine>(
          std::allocator_arg, boost::context::protected_fixedsize_stack(kStack), [this](Coroutine&& before) -> Coroutine {
            *left_ = std::move(before);
            // Stacks begin at different places of their pages: else those of a warp would all want the same few cache lines.
            static_cast<volatile char*>(__builtin_alloca((coroutines_.size() % kLanes + 1) * kPage / kLanes))[0] = 0;
            for (;;) {
              run_current();
              Coroutine* const own = current_->coroutine;
              idle_.push_back(own);
              switch_to(scheduler_, *own);
            }
          }));
      idle_.push_back(coroutines_.back().get());
    }
    Coroutine* const taken = idle_.back();
    idle_.pop_back();
    return taken;
  }

  void run_current() {
    try {
      (*body_)();
    } catch (const boost::context::detail::forced_unwind&) {
      throw;
    } catch (...) {
      failure_ = std::current_exception();
    }
    current_->state = State::done;
  }

  // From within a thread: until it is resumed. A lane that waits for its warp hands over to the next one.
  void wait(State state) {
    Thread& own = *current_;
    own.state = state;
    Thread* const next = state == State::at_warp ? next_lane(own) : nullptr;
    switch_to(next ? enter(*next) : scheduler_, *own.coroutine);
  }
  Thread* next_lane(const Thread& thread) {
    const std::size_t position = position_of(thread), first = position / kLanes * kLanes;
    for (std::size_t step = 1; step < kLanes; ++step) {
      Thread& lane = threads_[first + (position + (descending_ ? kLanes - step : step)) % kLanes];
      if (lane.state == State::ready) return &lane;
    }
    return nullptr;
  }

  const std::function<void()>* body_ = nullptr;
  bool descending_ = false;
  std::vector<Thread> threads_;
  Thread* current_ = nullptr;
  int arrived_ = 0;  // lanes of the running warp, at what it does together
  std::exception_ptr failure_;
  SharedMemory shared_;
  Coroutine scheduler_;
  Coroutine* left_ = nullptr;  // of the one that was switched away from
  std::vector<std::unique_ptr<Coroutine>> coroutines_;
  std::vector<Coroutine*> idle_;
};

Multiprocessor& multiprocessor() {
  static thread_local Multiprocessor own;
  return own;
}

}  // namespace

void run_grid(const char* kernel, dim3 grid, dim3 block, std::size_t shared, const std::function<void()>& thread) {
  static std::atomic<unsigned> launches = 0;
  const unsigned launch = launches++;
  const long long blocks = static_cast<long long>(grid.x) * grid.y * grid.z;
  const long long threads = blocks * block.x * block.y * block.z;
  watch::begin_launch(kernel);
  std::exception_ptr failure;
#pragma omp parallel for schedule(guided) if (!watch::kOn && blocks > 1 && threads > 8192)
  for (long long i = 0; i < blocks; ++i) {
    const uint3 index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                      static_cast<unsigned>(i / grid.x / grid.y)};
    try {
      gridDim = grid, blockDim = block;
      // A missing barrier shows in one of the two orders of threads, and in one of the two times at which asynchronous
      // copies may arrive: early in descending blocks, late in ascending ones. No period fits this sequence.
      const bool descending = std::popcount(launch + static_cast<unsigned>(i)) % 2 == 1;
      multiprocessor().run(index, shared, descending, thread);
    } catch (const std::exception& e) {
#pragma omp critical(ashlar_emulated_failure)
      failure = std::make_exception_ptr(
          Error(concat("emulator: ", kernel, ", block (", index.x, ", ", index.y, ", ", index.z, "): ", e.what())));
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void block_barrier() { multiprocessor().barrier(); }
void warp_collective(const char* operation, unsigned lanes, void* own, void (*combine)(const AllLanes& all)) {
  multiprocessor().collective(operation, lanes, own, combine);
}
int lane() { return multiprocessor().lane(); }
unsigned char* dynamic_shared() { return multiprocessor().shared().dynamic(); }
void* static_shared(const char* name, std::size_t bytes) { return multiprocessor().shared().variable(name, bytes); }

void issue_copy(void* to, const void* from, std::size_t bytes, bool there) {
  const Copy copy{to, from, bytes, there};
  if (multiprocessor().descending()) carry_out(copy);
  multiprocessor().current().issued.push_back(copy);
}
void commit_copies() {
  Thread& thread = multiprocessor().current();
  thread.groups.push_back(std::move(thread.issued));
  thread.issued.clear();
}
void wait_for_copies(int groups) {
  Thread& thread = multiprocessor().current();
  for (; thread.groups.size() > static_cast<std::size_t>(groups); thread.groups.erase(thread.groups.begin())) {
    for (const Copy& copy : thread.groups.front()) {
      if (!multiprocessor().descending()) carry_out(copy);
      watch::end_copy(copy.to, copy.bytes);
    }
  }
}

}  // namespace ashlar::emulated
