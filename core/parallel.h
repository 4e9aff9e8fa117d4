// OpenMP loops. Work is split by fixed rules, so results do not depend on timing; reductions that are built on
// parallel_chunks do not depend on the number of threads either.
#pragma once
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>

#include "core/dtype.h"

namespace ashlar {

inline int num_threads() { return omp_in_parallel() ? 1 : omp_get_max_threads(); }
inline void set_num_threads(int count) {
  ASHLAR_CHECK(count >= 1, "threads: need at least 1, got ", count);
  omp_set_num_threads(count);
}

// Calls part() on `threads` threads, or fewer if the runtime grants no more. An exception reaches the caller.
template <class Part>
void on_threads(Dim threads, Part&& part) {
  std::exception_ptr failure;
#pragma omp parallel num_threads(static_cast<int>(threads))
  {
    try {
      part();
    } catch (...) {
#pragma omp critical(ashlar_parallel_failure)
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

// Calls body(begin, end) on disjoint ranges that cover [0, count), one a thread, none shorter than `grain`
// (except when count is). Exceptions of the body reach the caller.
template <class Body>
void parallel_for(Dim count, Dim grain, Body&& body) {
  const Dim parts = std::min<Dim>(num_threads(), count / std::max<Dim>(grain, 1));
  if (parts <= 1) {
    if (count > 0) body(Dim{0}, count);
    return;
  }
  on_threads(parts, [&] {
    const Dim granted = omp_get_num_threads(), part = omp_get_thread_num();
    body(count * part / granted, count * (part + 1) / granted);
  });
}

// Calls body(row_begin, row_end, column_begin, column_end) on parts of rows x columns elements, in parallel, none of fewer than
// about `grain`. A row is divided only where it is the only one.
template <class Body>
void parallel_rows(Dim rows, Dim columns, Dim grain, Body&& body) {
  if (rows * columns == 0) return;
  if (rows == 1) {
    parallel_for(columns, grain, [&](Dim begin, Dim end) { body(Dim{0}, Dim{1}, begin, end); });
  } else {
    parallel_for(rows, std::max<Dim>(1, grain / columns), [&](Dim begin, Dim end) { body(begin, end, Dim{0}, columns); });
  }
}

// Every thread makes a worker = make() of its own, with the memory that it needs, and calls worker(item) for items in
// [0, count) that are handed out one at a time.
template <class Make>
void parallel_workers(Dim count, Make&& make) {
  if (count <= 0) return;
  std::atomic<Dim> next = 0;
  const auto work = [&] {
    auto&& worker = make();
    for (Dim item = next++; item < count; item = next++) worker(item);
  };
  const Dim threads = std::min<Dim>(num_threads(), count);
  if (threads == 1) return work();
  on_threads(threads, work);
}

// Calls body(item) for every item in [0, count); items are handed out one at a time.
template <class Body>
void parallel_items(Dim count, Body&& body) {
  parallel_workers(count, [&]() -> auto& { return body; });
}

// Splits [0, count) into at most `max_chunks` ranges that do not depend on the number of threads and calls
// body(chunk, begin, end) for each, in parallel. Returns the number of chunks. Give every chunk its own partial
// result and add them up in order: the sum has the same bits for any number of threads.
template <class Body>
Dim parallel_chunks(Dim count, Dim max_chunks, Dim grain, Body&& body) {
  const Dim chunks = std::clamp<Dim>(count / std::max<Dim>(grain, 1), 1, max_chunks);
  parallel_items(chunks, [&](Dim chunk) { body(chunk, count * chunk / chunks, count * (chunk + 1) / chunks); });
  return chunks;
}

}  // namespace ashlar
