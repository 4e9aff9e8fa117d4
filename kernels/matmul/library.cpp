#include "kernels/matmul/library.h"

#include <dnnl.hpp>

#include <array>
#include <optional>
#include <unordered_map>

#include "core/parallel.h"
#include "kernels/isa.h"
#include "kernels/matmul/layout.h"
#include "kernels/scratch.h"

namespace ashlar::kernels::products {
namespace {

using dnnl::memory;

// Primitives that each thread keeps, and the library for all: several times what a training step needs, while sizes that keep
// changing (a text that grows) make ever more. Each holds some 100 KB of code.
constexpr std::size_t kMostPrimitives = 256;

// oneDNN takes a limit of the instruction set only before it has made its first primitive: the environment variable
// ASHLAR_ISA reaches it, a later limit_isa() does not.
dnnl::engine& engine() {
  static dnnl::engine instance = [] {
    dnnl::set_primitive_cache_capacity(kMostPrimitives);
    if (isa_limit() == "avx512") dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_bf16);
    if (isa_limit() == "avx2") dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
    if (isa_limit() == "baseline") dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41);
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return instance;
}

// Whether the library may use an instruction set or one that includes it.
bool library_has(dnnl::cpu_isa isa) {
  engine();
  const auto wanted = static_cast<unsigned>(isa);  // the bits of all that it includes
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
}

memory::data_type library_dtype(DType dtype) {
  return dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

// Strides of a dimension of size 1 are free; a sane choice keeps the library on its fast path.
memory::desc describe(const ConstView& v) {
  memory::dims sizes(v.shape.sizes().begin(), v.shape.sizes().end()), strides(sizes.size());
  for (int d = 0; d < v.shape.ndim(); ++d) strides[static_cast<std::size_t>(d)] = v.step(d);
  const std::size_t last = sizes.size() - 1;
  if (sizes[last] == 1 && strides[last - 1] == 1) strides[last] = std::max<Dim>(strides[last], sizes[last - 1]);
  else if (sizes[last] == 1) strides[last] = 1;
  if (sizes[last - 1] == 1 && strides[last] == 1) strides[last - 1] = std::max<Dim>(strides[last - 1], sizes[last]);
  else if (sizes[last - 1] == 1) strides[last - 1] = 1;
  return {sizes, library_dtype(v.dtype), strides};
}

// A product made by the library, with the operands' places to be filled in.
struct Primitive {
  dnnl::matmul run;
  std::unordered_map<int, memory> arguments;
  Dim scratch_bytes = 0;
  bool reference = false;  // the library's fallback for what it has no kernel for: about a thousand times slower

  void place(int argument, const void* data) { arguments.at(argument).set_data_handle(const_cast<void*>(data)); }
};

// What a primitive is made for: dtypes, sizes and strides of the operands, options, number of threads.
class CacheKey {
 public:
  explicit CacheKey(const Problem& p) {
    add(2 * p.options.accumulate + (p.options.bias ? 1 : 0));
    add(num_threads());
    add(p.y.shape.ndim());
    for (const ConstView& v : {p.a, p.b, ConstView(p.y)}) {
      add(static_cast<Dim>(v.dtype));
      for (int d = 0; d < v.shape.ndim(); ++d) {
        add(v.size(d));
        add(v.step(d));
      }
    }
  }
  bool operator==(const CacheKey& other) const {
    return count_ == other.count_ && std::equal(values_.begin(), values_.begin() + count_, other.values_.begin());
  }
  struct Hash {
    std::size_t operator()(const CacheKey& key) const {
      std::uint64_t hash = 0;
      for (int i = 0; i < key.count_; ++i) {
        hash = (hash ^ static_cast<std::uint64_t>(key.values_[static_cast<std::size_t>(i)])) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
      }
      return hash;
    }
  };

 private:
  void add(Dim value) { values_[static_cast<std::size_t>(count_++)] = value; }
  std::array<Dim, 3 + 3 * (1 + 2 * kMaxDims)> values_{};
  int count_ = 0;
};

// A description of the product; the bias may be absent.
dnnl::matmul::primitive_desc description(const memory::desc& a, const memory::desc& b, const memory::desc& bias,
                                         const memory::desc& y, const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
  if (bias.is_zero()) return {engine(), a, b, y, attributes};
  return {engine(), a, b, bias, y, attributes};
#else
  return {bias.is_zero() ? dnnl::matmul::desc(a, b, y) : dnnl::matmul::desc(a, b, bias, y), attributes, engine()};
#endif
}

Primitive make_primitive(const Problem& p) {
  const memory::desc a = describe(p.a), b = describe(p.b), y = describe(ConstView(p.y));
  dnnl::primitive_attr attributes;
  // The library's own scratchpad would not be counted by the allocator.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (p.options.accumulate) {
    dnnl::post_ops post;
    post.append_sum(1.0f);
    attributes.set_post_ops(post);
  }
  memory::desc bias;
  if (p.options.bias) {
    memory::dims sizes(static_cast<std::size_t>(p.y.shape.ndim()), 1), strides(sizes.size(), p.n());
    sizes.back() = p.n();
    strides.back() = 1;
    bias = {sizes, memory::data_type::f32, strides};
  }
  const dnnl::matmul::primitive_desc chosen = description(a, b, bias, y, attributes);
  const memory::desc scratchpad = chosen.scratchpad_desc();
  Primitive made{dnnl::matmul(chosen), {}, static_cast<Dim>(scratchpad.get_size()),
                 std::string_view(chosen.impl_info_str()).starts_with("ref")};
  const auto take = [&](int argument, const memory::desc& desc) {
    made.arguments.emplace(argument, memory(desc, engine(), DNNL_MEMORY_NONE));
  };
  take(DNNL_ARG_SRC, a);
  take(DNNL_ARG_WEIGHTS, b);
  take(DNNL_ARG_DST, y);
  if (p.options.bias) take(DNNL_ARG_BIAS, bias);
  if (made.scratch_bytes > 0) take(DNNL_ARG_SCRATCHPAD, scratchpad);
  return made;
}

// Creating a primitive generates code: each layout is made once, and the places of its operands belong to one thread.
Primitive& primitive_for(const Problem& p) {
  static thread_local std::unordered_map<CacheKey, Primitive, CacheKey::Hash> cache;
  const CacheKey key(p);
  const auto found = cache.find(key);
  if (found != cache.end()) return found->second;
  if (cache.size() >= kMostPrimitives) cache.clear();
  return cache.emplace(key, make_primitive(p)).first->second;
}

// A product of few operations is not worth waking the other threads for, and one that a thread of a parallel region
// asks for is that thread's own. A single thread also keeps the library from splitting a long inner dimension, which it
// does when the result is small and which changes the order of the sum.
class ThreadsFor {
 public:
  explicit ThreadsFor(const Problem& p) : before_(omp_get_max_threads()) {
    constexpr Dim kSmall = Dim{1} << 20;
    if (omp_in_parallel() || p.y.numel() * p.k() < kSmall) omp_set_num_threads(1);
  }
  ~ThreadsFor() { omp_set_num_threads(before_); }
  ThreadsFor(const ThreadsFor&) = delete;
  ThreadsFor& operator=(const ThreadsFor&) = delete;

 private:
  int before_;
};

void execute(const Problem& p) {
  const ThreadsFor threads(p);
  Primitive& primitive = primitive_for(p);
  if (primitive.reference && p.batch_dims() > 0) {
    for (Dim i = 0; i < p.y.size(0); ++i) run_library(select(p, 0, i));
    return;
  }
  static thread_local dnnl::stream stream(engine());
  primitive.place(DNNL_ARG_SRC, p.a.data);
  primitive.place(DNNL_ARG_WEIGHTS, p.b.data);
  primitive.place(DNNL_ARG_DST, p.y.data);
  if (p.options.bias) primitive.place(DNNL_ARG_BIAS, p.options.bias.data);
  std::optional<Scratch<std::byte>> scratch;
  if (primitive.scratch_bytes > 0) {
    scratch.emplace(primitive.scratch_bytes);
    primitive.place(DNNL_ARG_SCRATCHPAD, scratch->data());
  }
  primitive.run.execute(stream, primitive.arguments);
  stream.wait();
}

}  // namespace

bool takes_operand(const ConstView& v) {
  const auto layout = matrix_layout(v);
  return layout && (layout->by_rows || v.size(-2) > 1);
}

bool takes_result(const View& y) {
  const Dim rows = y.size(-2), columns = y.size(-1);
  if (columns == 1) return rows == 1 || y.step(-2) == 1;
  return y.step(-1) == 1 && (rows == 1 || y.step(-2) >= columns);
}

void run_library(Problem p) {
  for (int d = p.batch_dims() - 1; d >= 0; --d) {
    if (p.y.size(d) == 1) p = select(p, d, 0);
  }
  try {
    execute(p);
  } catch (const dnnl::error& error) {
    throw Error(concat("matmul: oneDNN: ", error.what(), "; a ", p.a.shape, ", b ", p.b.shape, ", y ", p.y.shape));
  }
}

}  // namespace ashlar::kernels::products

namespace ashlar::kernels {

bool multiplies_bf16(Device device) {
  if (device.type != DeviceType::cpu) return true;
  static const bool native = products::library_has(dnnl::cpu_isa::avx512_core_bf16);
  return native;
}

bool has_amx() {
  static const bool has = products::library_has(dnnl::cpu_isa::avx512_core_amx);
  return has;
}

}  // namespace ashlar::kernels
