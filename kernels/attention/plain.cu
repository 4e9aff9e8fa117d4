// Attention for every dtype and head size up to 256, a warp for each row and a block for a decoder's: what the tensor cores do
// not take (f32, f64, odd sizes) and, in bf16 too, a single query of several keys.
#include "core/rounding.h"
#include "kernels/attention/cuda.h"
#include "kernels/device.cuh"

namespace ashlar::kernels::attention {
namespace {

using namespace device;

constexpr int kWarps = kThreads / kWarp;
constexpr int kMaxDepth = 8 * kWarp;

// The rows of all heads of a (B, H, T, D) view; row r is position r % T of head r / T.
template <class T>
struct HeadRows {
  T* data;
  Dim batch_step, head_step, ld, heads, length;
  __device__ T* row(Dim head, Dim position) const {
    return data + head / heads * batch_step + head % heads * head_step + position * ld;
  }
};
template <class T, class AnyView>
HeadRows<T> rows_of(const AnyView& v) {
  return {static_cast<T*>(v.data), v.step(0), v.step(1), v.step(2), v.size(1), v.size(2)};
}

// A row of a head in registers: lane l holds features l, l + 32, … of at most 32 N.
template <class A, int N>
struct Row {
  A value[N];

  __device__ void clear() {
    for (A& v : value) v = 0;
  }
  template <class T>
  __device__ void load(const T* from, Dim depth, int lane, A factor = 1) {
    for (int k = 0; k < N; ++k) {
      const int d = lane + k * kWarp;
      value[k] = d < depth ? convert<A>(from[d]) * factor : A{0};
    }
  }
  template <class T>
  __device__ void store(T* to, Dim depth, int lane, A factor) const {
    for (int k = 0; k < N; ++k) {
      if (lane + k * kWarp < depth) to[lane + k * kWarp] = convert<T>(value[k] * factor);
    }
  }
  __device__ void add(const Row& other, A factor) {
    for (int k = 0; k < N; ++k) value[k] += factor * other.value[k];
  }
  __device__ A dot(const Row& other) const {
    A sum = 0;
    for (int k = 0; k < N; ++k) sum += value[k] * other.value[k];
    return warp_sum(sum);
  }
};

// The row of this warp among `rows`, or -1.
__device__ Dim own_row(Dim rows) {
  const Dim row = Dim{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  return row < rows ? row : -1;
}
unsigned blocks_of(Dim rows) { return static_cast<unsigned>(ceil_div(rows, kWarps)); }

// What a warp knows of a query after some keys: Σ p v and Σ p, where p = exp(score - max).
template <class A, int N>
struct Attended {
  Row<A, N> sums;
  A max = -INFINITY, sum = 0;

  // Keys first, first + step, … before `end`, several at once, so that their reads and reductions wait side by side.
  template <class T>
  __device__ void add(const Row<A, N>& query, const HeadRows<const T>& k, const HeadRows<const T>& v, Dim head, Dim first,
                      Dim end, Dim step, Dim depth, int lane) {
    constexpr int kAtOnce = 8 / N;
    for (Dim key = first; key < end; key += kAtOnce * step) {
      Row<A, N> keys[kAtOnce], values[kAtOnce];
      for (int i = 0; i < kAtOnce; ++i) {
        const Dim at = min(key + i * step, end - 1);
        keys[i].load(k.row(head, at), depth, lane);
        values[i].load(v.row(head, at), depth, lane);
      }
      A score[kAtOnce], next = max;
      for (int i = 0; i < kAtOnce; ++i) {
        score[i] = query.dot(keys[i]);
        if (key + i * step >= end) score[i] = -INFINITY;
        next = score[i] > next ? score[i] : next;
      }
      const A factor = exp(max - next);
      max = next;
      sum *= factor;
      for (int d = 0; d < N; ++d) sums.value[d] *= factor;
      for (int i = 0; i < kAtOnce; ++i) {
        const A p = exp(score[i] - next);
        sum += p;
        sums.add(values[i], p);
      }
    }
  }
};

template <int N, class T, class A>
__global__ void forward_rows(Dim rows, Dim depth, HeadRows<const T> q, HeadRows<const T> k, HeadRows<const T> v, A scale,
                             bool causal, HeadRows<T> o, A* lse) {
  const Dim row = own_row(rows);
  if (row < 0) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Dim head = row / q.length, position = row % q.length;
  Row<A, N> query;
  query.load(q.row(head, position), depth, lane, scale);
  Attended<A, N> attended;
  attended.sums.clear();
  attended.add(query, k, v, head, Dim{0}, causal ? k.length - q.length + position + 1 : k.length, Dim{1}, depth, lane);
  attended.sums.store(o.row(head, position), depth, lane, 1 / attended.sum);
  if (lse && lane == 0) lse[row] = attended.max + log(attended.sum);
}

// One query a head, and a block for it: each warp has some of the keys.
template <int N, class T, class A>
__global__ void forward_query(Dim depth, HeadRows<const T> q, HeadRows<const T> k, HeadRows<const T> v, A scale,
                              HeadRows<T> o, A* lse) {
  __shared__ A maxima[kWarps], sums[kWarps], products[kWarps * N * kWarp];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const Dim head = blockIdx.x;
  Row<A, N> query;
  query.load(q.row(head, 0), depth, lane, scale);
  Attended<A, N> attended;
  attended.sums.clear();
  attended.add(query, k, v, head, Dim{warp}, k.length, Dim{kWarps}, depth, lane);
  attended.sums.store(products + warp * N * kWarp, N * kWarp, lane, A{1});
  if (lane == 0) maxima[warp] = attended.max, sums[warp] = attended.sum;
  __syncthreads();
  A max = maxima[0], sum = 0, product = 0;  // warp 0 has a key
  for (int i = 1; i < kWarps; ++i) max = maxima[i] > max ? maxima[i] : max;
  for (int i = 0; i < kWarps; ++i) {
    const A factor = exp(maxima[i] - max);
    sum += factor * sums[i];
    if (thread < depth) product += factor * products[i * N * kWarp + thread];
  }
  if (thread < depth) o.row(head, 0)[thread] = convert<T>(product / sum);
  if (lse && thread == 0) lse[head] = max + log(sum);
}

template <class T, class A>
__global__ void products(Dim rows, Dim depth, HeadRows<const T> d_o, HeadRows<const T> o, A* delta) {
  const Dim row = own_row(rows);
  if (row < 0) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Dim head = row / o.length, position = row % o.length;
  A sum = 0;
  const T *const gradient = d_o.row(head, position), *const output = o.row(head, position);
  for (Dim d = lane; d < depth; d += kWarp) sum += convert<A>(gradient[d]) * convert<A>(output[d]);
  sum = warp_sum(sum);
  if (lane == 0) delta[row] = sum;
}

template <class T, class A>
struct Operands {
  HeadRows<const T> d_o, q, k, v;
  const A *lse, *delta;
  A scale;
  bool causal;
};

template <int N, class T, class A>
__global__ void query_gradients(Dim rows, Dim depth, Operands<T, A> call, HeadRows<T> dq) {
  const Dim row = own_row(rows);
  if (row < 0) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Dim head = row / dq.length, position = row % dq.length, keys = call.causal ? position + 1 : dq.length;
  Row<A, N> query, gradient, sums, key_row, value_row;
  query.load(call.q.row(head, position), depth, lane, call.scale);
  gradient.load(call.d_o.row(head, position), depth, lane);
  sums.clear();
  for (Dim key = 0; key < keys; ++key) {
    key_row.load(call.k.row(head, key), depth, lane);
    value_row.load(call.v.row(head, key), depth, lane);
    const A p = exp(query.dot(key_row) - call.lse[row]);
    sums.add(key_row, p * (gradient.dot(value_row) - call.delta[row]));
  }
  sums.store(dq.row(head, position), depth, lane, call.scale);
}

template <int N, class T, class A>
__global__ void key_gradients(Dim rows, Dim depth, Operands<T, A> call, HeadRows<T> dk, HeadRows<T> dv) {
  const Dim row = own_row(rows);
  if (row < 0) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Dim length = dk.length, head = row / length, position = row % length;
  Row<A, N> key, value, sum_k, sum_v, query, gradient;
  key.load(call.k.row(head, position), depth, lane, call.scale);
  value.load(call.v.row(head, position), depth, lane);
  sum_k.clear();
  sum_v.clear();
  for (Dim i = call.causal ? position : 0; i < length; ++i) {
    query.load(call.q.row(head, i), depth, lane);
    gradient.load(call.d_o.row(head, i), depth, lane);
    const A p = exp(key.dot(query) - call.lse[head * length + i]);
    sum_v.add(gradient, p);
    sum_k.add(query, p * (value.dot(gradient) - call.delta[head * length + i]));
  }
  sum_k.store(dk.row(head, position), depth, lane, call.scale);
  sum_v.store(dv.row(head, position), depth, lane, A{1});
}

Dim rows_in(const ConstView& q) { return q.size(0) * q.size(1) * q.size(2); }

void check_depth(const ConstView& q) {
  ASHLAR_CHECK(q.size(3) <= kMaxDepth, "attention: heads of ", q.size(3), " features are too large for a GPU; at most ",
               kMaxDepth, " (use more heads)");
}

// body.template operator()<N, T>() with the type of q and the least power of two for Row.
template <class Body>
void dispatch(std::string_view operation, const ConstView& q, const Body& body) {
  check_depth(q);
  dispatch_floating(q.dtype, operation, [&]<class T>() {
    if (q.size(3) <= kWarp) body.template operator()<1, T>();
    else if (q.size(3) <= 2 * kWarp) body.template operator()<2, T>();
    else if (q.size(3) <= 4 * kWarp) body.template operator()<4, T>();
    else body.template operator()<kMaxDepth / kWarp, T>();
  });
}

}  // namespace

void forward_plain(const Exec& exec, const ForwardCall& c) {
  const Dim rows = rows_in(c.q), depth = c.q.size(3);
  dispatch("attention_forward", c.q, [&]<int N, class T>() {
    using A = accumulate_t<T>;
    const auto q = rows_of<const T>(c.q), k = rows_of<const T>(c.k), v = rows_of<const T>(c.v);
    const A scale = static_cast<A>(c.scale);
    if (is_decoding(c)) {
      forward_query<N, T, A><<<static_cast<unsigned>(rows), kThreads, 0, queue(exec)>>>(depth, q, k, v, scale,
                                                                                        rows_of<T>(c.o), c.lse.as<A>());
    } else {
      forward_rows<N, T, A><<<blocks_of(rows), kThreads, 0, queue(exec)>>>(rows, depth, q, k, v, scale, c.causal,
                                                                           rows_of<T>(c.o), c.lse.as<A>());
    }
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void backward_plain(const Exec& exec, const BackwardCall& c) {
  const Dim rows = rows_in(c.q), depth = c.q.size(3);
  dispatch("attention_backward", c.q, [&]<int N, class T>() {
    using A = accumulate_t<T>;
    products<<<blocks_of(rows), kThreads, 0, queue(exec)>>>(rows, depth, rows_of<const T>(c.d_o), rows_of<const T>(c.o),
                                                            c.delta.as<A>());
    const Operands<T, A> call{rows_of<const T>(c.d_o), rows_of<const T>(c.q), rows_of<const T>(c.k), rows_of<const T>(c.v),
                              c.lse.as<A>(),           c.delta.as<A>(),       static_cast<A>(c.scale), c.causal};
    query_gradients<N><<<blocks_of(rows), kThreads, 0, queue(exec)>>>(rows, depth, call, rows_of<T>(c.dq));
    key_gradients<N><<<blocks_of(rows), kThreads, 0, queue(exec)>>>(rows, depth, call, rows_of<T>(c.dk), rows_of<T>(c.dv));
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::attention
