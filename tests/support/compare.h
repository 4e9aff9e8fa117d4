// Comparing arrays, random arrays, and running a test for several instruction sets and numbers of threads.
#pragma once
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/array.h"
#include "core/parallel.h"
#include "core/random.h"
#include "kernels/isa.h"

namespace ashlar::test {

// ‖got − expected‖ / ‖expected‖ over all elements. Infinite for different shapes; NaN for a reference that is all
// zero or not finite, or for anything not finite in `got`: a check must read `REQUIRE(err <= tol)`, which NaN fails.
inline double relative_error(const Array& got, const Array& expected) {
  if (!got.defined() || !expected.defined() || got.shape() != expected.shape()) {
    return std::numeric_limits<double>::infinity();
  }
  const auto a = got.to_vector<double>(), b = expected.to_vector<double>();
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  const double error = std::sqrt(difference) / std::sqrt(norm);
  return std::isfinite(error) ? error : std::numeric_limits<double>::quiet_NaN();
}

// The same bytes, whatever the strides; also equal for NaN. What is undefined equals nothing.
inline bool bitwise_equal(const Array& a, const Array& b) {
  if (!a.defined() || !b.defined() || a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const Array x = a.as_contiguous(), y = b.as_contiguous();
  const ConstView xv = x, yv = y;
  return x.numel() == 0 ||
         std::memcmp(xv.data, yv.data, static_cast<std::size_t>(x.numel()) * size_of(x.dtype())) == 0;
}

// Every element is `value`.
inline bool all_equal(const Array& a, double value) {
  for (const double v : a.to_vector<double>()) {
    if (!(v == value)) return false;
  }
  return true;
}

inline double dot(const Array& a, const Array& b) {
  const auto left = a.to_vector<double>(), right = b.to_vector<double>();
  double sum = 0;
  for (std::size_t i = 0; i < left.size(); ++i) sum += left[i] * right[i];
  return sum;
}
inline double norm(const Array& a) { return std::sqrt(dot(a, a)); }

// The next allocation of as many f32 gets NaN, unless it writes before it reads.
inline void leave_nan_behind(Dim count) { Array::full({count}, NAN); }

// For results: what a kernel leaves unwritten stays NaN.
inline Array nan_like(const Array& a) { return Array::full(a.shape(), NAN, a.dtype()); }

// A copy inside a wider matrix of NaN: rows with gaps that nothing may read or count.
inline Array widened(const Array& a) {
  const Array wide = Array::full({a.size(0), a.size(1) + 5}, NAN, a.dtype());
  const Array slice = wide.slice(1, 2, 2 + a.size(1));
  copy(a, slice);
  return slice;
}

// Independent standard normal values, rounded to the dtype; a pure function of the key.
inline Array randn(const Shape& shape, DType dtype, std::uint64_t key) {
  const Random random(key);
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
  return Array::from(values, shape).to(dtype);
}

// Random integers in [0, count).
inline Array random_ids(const Shape& shape, std::uint32_t count, std::uint64_t key) {
  const Random random(key);
  std::vector<std::int32_t> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int32_t>(random.below(i, count));
  return Array::from(values, shape);
}

// The larger of relative_error and the worst single value's |got − expected| / (|expected| + 4 root mean square): the norm
// over ten thousands of values hardly sees a few in a ragged corner that are entirely wrong. What is rounded is off by a share
// of its own size, a sum whose terms cancel by a share of theirs, which are of the mean size; right kernels stay
// below half of what cuda/support.h asks of them. NaN where anything is not finite; of two results that are both zero 0.
inline double difference(const Array& got, const Array& expected) {
  if (got.shape() == expected.shape() && all_equal(got, 0) && all_equal(expected, 0)) return 0;
  double worst = relative_error(got, expected);
  if (!std::isfinite(worst)) return worst;
  const auto a = got.to_vector<double>(), b = expected.to_vector<double>();
  const double usual = 4 * norm(expected) / std::sqrt(static_cast<double>(b.size()));
  for (std::size_t i = 0; i < b.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]) / (std::abs(b[i]) + usual));
  return worst;
}

// How far a kernel with `terms` additions a result may be from an f64 reference on the same (rounded) inputs.
inline double tolerance(DType dtype, Dim terms = 1) {
  const double root = std::sqrt(static_cast<double>(std::max<Dim>(terms, 1)));
  switch (dtype) {
    case DType::f64: return 1e-14 * root;
    case DType::f32: return 4 * root * 6e-8;
    default: return 4e-3 + 4 * root * 6e-8;  // one rounding of the result to bf16
  }
}

// dL/dx by central differences in f64, for L = Σ cotangent · f(x).
inline Array finite_difference(const Array& x, const Array& cotangent, const std::function<Array(const Array&)>& f) {
  const auto weights = cotangent.to_vector<double>();
  const auto loss = [&](const std::vector<double>& values) {
    const auto y = f(Array::from(values, x.shape())).to_vector<double>();
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += weights[i] * y[i];
    return sum;
  };
  auto values = x.to_vector<double>();
  std::vector<double> gradient(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double center = values[i], step = 1e-6 * std::max(1.0, std::abs(center));
    values[i] = center + step;
    const double above = loss(values);
    values[i] = center - step;
    gradient[i] = (above - loss(values)) / (2 * step);
    values[i] = center;
  }
  return Array::from(gradient, x.shape());
}

// Limits the instruction set while alive; "environment" leaves what ASHLAR_ISA or the processor allows.
class IsaLimit {
 public:
  explicit IsaLimit(std::string_view name) : previous_(kernels::isa_limit()) {
    if (name != "environment") kernels::limit_isa(name);
  }
  ~IsaLimit() { kernels::limit_isa(previous_); }
  IsaLimit(const IsaLimit&) = delete;
  IsaLimit& operator=(const IsaLimit&) = delete;

 private:
  std::string previous_;
};

// Tests of vector code run with each: const IsaLimit isa(GENERATE(from_range(isa_limits()))); under ASHLAR_ISA once, as there
// are runs without.
inline std::vector<std::string> isa_limits() {
  if (std::getenv("ASHLAR_ISA")) return {"environment"};
  return {"baseline", "environment"};
}

// Sets the number of threads while alive.
class ThreadCount {
 public:
  explicit ThreadCount(int count) : previous_(omp_get_max_threads()) { set_num_threads(count); }
  ~ThreadCount() { set_num_threads(previous_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int previous_;
};

// True when f() gives the same bytes on one, two and three threads.
inline bool same_on_all_threads(const std::function<Array()>& f) {
  const auto run = [&](int threads) {
    const ThreadCount count(threads);
    return f();
  };
  const Array one = run(1);
  return bitwise_equal(one, run(2)) && bitwise_equal(one, run(3));
}

}  // namespace ashlar::test
