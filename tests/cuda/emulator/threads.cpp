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

namespace ashlar::emulated {

namespace {

constexpr std::size_t kStack = std::size_t{64} << 10, kGuard = 256, kStaticLimit = std::size_t{48} << 10;
constexpr int kPoison = 0xff;  // NaN in every floating type
constexpr int kGuardByte = 0xa5;

// A stack on which threads of blocks run one after another.
struct Coroutine {
  boost::context::fiber inside;
};

enum class State { ready, at_warp, at_block, done };

struct Copy {
  void* to;
  const void* from;
  bool there;
};

struct Thread {
  uint3 index{};
  State state = State::ready;
  Coroutine* coroutine = nullptr;  // once it has begun
  const char* operation = nullptr;  // of the warp, that it waits for
  void* own = nullptr;
  std::vector<Copy> issued;
  std::vector<std::vector<Copy>> groups;
};

struct SharedVariable {
  const char* name;
  std::size_t bytes;
  unsigned char* at;
};

// Runs blocks. Each thread of the host has one.
class Multiprocessor {
 public:
  void run(const char* kernel, uint3 block, std::size_t shared, bool descending, const std::function<void()>& thread) {
    kernel_ = kernel, body_ = &thread, descending_ = descending;
    blockIdx = block;
    lay_out(shared);
    try {
      run_threads();
      check_guards();
    } catch (...) {
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
      if (std::strcmp(thread.operation, operation) != 0) {
        throw Error(concat("lanes of a warp meet in ", operation, " and in ", thread.operation));
      }
      all[lane] = thread.own;
      thread.state = State::ready;
    }
    combine(all);
  }

  int lane() const { return static_cast<int>(position_of(*current_) % kLanes); }
  Thread& current() { return *current_; }
  unsigned char* dynamic_shared() { return aligned(dynamic_); }

  void* static_shared(const char* name, std::size_t bytes) {
    for (const SharedVariable& variable : variables_) {
      if (std::strcmp(variable.name, name) != 0) continue;
      if (variable.bytes != bytes) throw Error(concat("two shared variables of the name ", name));
      return variable.at;
    }
    const std::size_t used = variables_.empty() ? 0 : static_cast<std::size_t>(end_of(variables_.back()) - aligned(static_)) + kGuard;
    if (used + bytes > kStaticLimit) throw Error(concat("more than ", kStaticLimit, " bytes of shared variables"));
    SharedVariable& variable = variables_.emplace_back(SharedVariable{name, bytes, aligned(static_) + used});
    std::memset(variable.at, kPoison, bytes);
    std::memset(end_of(variable), kGuardByte, kGuard);
    return variable.at;
  }

 private:
  static unsigned char* aligned(std::vector<unsigned char>& memory) {
    return reinterpret_cast<unsigned char*>((reinterpret_cast<std::uintptr_t>(memory.data()) + 127) / 128 * 128);
  }
  static unsigned char* end_of(const SharedVariable& variable) {
    return variable.at + (variable.bytes + 15) / 16 * 16;
  }
  std::size_t position_of(const Thread& thread) const { return static_cast<std::size_t>(&thread - threads_.data()); }

  void lay_out(std::size_t shared) {
    threads_.assign(std::size_t{blockDim.x} * blockDim.y * blockDim.z, Thread{});
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      const auto number = static_cast<unsigned>(i);
      threads_[i].index = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
    }
    arrived_ = 0;
    failure_ = nullptr;
    variables_.clear();
    dynamic_bytes_ = shared;
    dynamic_.resize(std::max(dynamic_.size(), shared + kGuard + 128));
    std::memset(dynamic_shared(), kPoison, shared);
    std::memset(dynamic_shared() + shared, kGuardByte, kGuard);
  }

  void check_guards() {
    const auto intact = [](const unsigned char* guard) {
      return std::all_of(guard, guard + kGuard, [](unsigned char byte) { return byte == kGuardByte; });
    };
    if (!intact(dynamic_shared() + dynamic_bytes_)) throw Error("written beyond the dynamic shared memory");
    for (const SharedVariable& variable : variables_) {
      if (!intact(end_of(variable))) throw Error(concat("written beyond the shared variable ", variable.name));
    }
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

  void resume(Thread& thread) {
    current_ = &thread;
    threadIdx = thread.index;
    if (!thread.coroutine) thread.coroutine = take_coroutine();
    thread.coroutine->inside = std::move(thread.coroutine->inside).resume();
    if (failure_) std::rethrow_exception(failure_);
    if (thread.state == State::done) idle_.push_back(thread.coroutine);
  }

  Coroutine* take_coroutine() {
    if (idle_.empty()) {
      coroutines_.push_back(std::make_unique<Coroutine>());
      coroutines_.back()->inside = boost::context::fiber(
          std::allocator_arg, boost::context::protected_fixedsize_stack(kStack), [this](boost::context::fiber&& scheduler) {
            scheduler_ = std::move(scheduler);
            for (;;) {
              run_current();
              scheduler_ = std::move(scheduler_).resume();
            }
            return std::move(scheduler_);
          });
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

  // From within a thread: until the scheduler resumes it.
  void wait(State state) {
    current_->state = state;
    scheduler_ = std::move(scheduler_).resume();
  }

  const char* kernel_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  bool descending_ = false;
  std::vector<Thread> threads_;
  Thread* current_ = nullptr;
  int arrived_ = 0;  // lanes of the running warp, at what it does together
  std::exception_ptr failure_;
  std::vector<unsigned char> dynamic_, static_ = std::vector<unsigned char>(2 * kStaticLimit);
  std::size_t dynamic_bytes_ = 0;
  std::vector<SharedVariable> variables_;
  boost::context::fiber scheduler_;
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
  std::exception_ptr failure;
#pragma omp parallel for schedule(guided) if (blocks > 1 && threads > 8192)
  for (long long i = 0; i < blocks; ++i) {
    const uint3 index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                      static_cast<unsigned>(i / grid.x / grid.y)};
    try {
      gridDim = grid, blockDim = block;
      // A missing barrier shows in one of the two orders. Neither follows the other in step with anything periodic.
      const bool descending = std::popcount(launch + static_cast<unsigned>(i)) % 2 == 1;
      multiprocessor().run(kernel, index, shared, descending, thread);
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
unsigned char* dynamic_shared() { return multiprocessor().dynamic_shared(); }
void* static_shared(const char* name, std::size_t bytes) { return multiprocessor().static_shared(name, bytes); }

void issue_copy(void* to, const void* from, bool there) { multiprocessor().current().issued.push_back({to, from, there}); }
void commit_copies() {
  Thread& thread = multiprocessor().current();
  thread.groups.push_back(std::move(thread.issued));
  thread.issued.clear();
}
void wait_for_copies(int groups) {
  Thread& thread = multiprocessor().current();
  for (; thread.groups.size() > static_cast<std::size_t>(groups); thread.groups.erase(thread.groups.begin())) {
    for (const Copy& copy : thread.groups.front()) {
      if (copy.there) std::memcpy(copy.to, copy.from, 16);
      else std::memset(copy.to, 0, 16);
    }
  }
}

}  // namespace ashlar::emulated
