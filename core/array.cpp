#include "core/array.h"

#include <algorithm>

#include "core/allocator.h"
#include "core/cuda/cuda.h"
#include "core/parallel.h"
#include "core/strided.h"

namespace ashlar {

Storage::Storage(std::size_t bytes, Device device)
    : bytes_(bytes), device_(device), pool_(UsePool::current(device)), allocator_(pool_ ? pool_.get() : &allocator(device)) {
  const MemoryBlock block = allocator_->allocate(bytes);
  data_ = block.data, capacity_ = block.bytes;
}
Storage::~Storage() { allocator_->release({data_, capacity_}); }

Array Array::empty(const Shape& shape, DType dtype, Device device) {
  Array result;
  result.storage_ =
      std::make_shared<Storage>(static_cast<std::size_t>(shape.numel()) * size_of(dtype), device);
  result.dtype_ = dtype;
  result.shape_ = shape;
  result.stride_ = contiguous_strides(shape);
  return result;
}

Array Array::zeros(const Shape& shape, DType dtype, Device device) {
  return full(shape, 0, dtype, device);
}

Array Array::full(const Shape& shape, double value, DType dtype, Device device) {
  Array result = empty(shape, dtype, device);
  fill(result, value);
  return result;
}

Array::operator View() const {
  if (storage_) ++storage_->version;
  return {pointer(), dtype_, shape_, stride_, device()};
}

Array Array::transpose(int a, int b) const {
  const auto first = static_cast<std::size_t>(normalize_dim(a, ndim(), "transpose"));
  const auto second = static_cast<std::size_t>(normalize_dim(b, ndim(), "transpose"));
  Array result = *this;
  std::array<Dim, kMaxDims> sizes{};
  std::ranges::copy(shape_.sizes(), sizes.begin());
  std::swap(sizes[first], sizes[second]);
  std::swap(result.stride_[first], result.stride_[second]);
  result.shape_ = Shape(std::span<const Dim>(sizes.data(), static_cast<std::size_t>(ndim())));
  return result;
}

Array Array::permute(std::span<const int> order) const {
  ASHLAR_CHECK(static_cast<int>(order.size()) == ndim(), "permute: ", order.size(), " dimensions given for shape ",
               shape_);
  Array result = *this;
  std::array<Dim, kMaxDims> sizes{};
  std::array<bool, kMaxDims> seen{};
  std::size_t target = 0;
  for (const int from : order) {
    const auto d = static_cast<std::size_t>(normalize_dim(from, ndim(), "permute"));
    ASHLAR_CHECK(!seen[d], "permute: dimension ", from, " is named twice");
    seen[d] = true;
    sizes[target] = shape_[static_cast<int>(d)];
    result.stride_[target++] = stride_[d];
  }
  result.shape_ = Shape(std::span<const Dim>(sizes.data(), order.size()));
  return result;
}

Array Array::slice(int dim, Dim begin, Dim end) const {
  const int d = normalize_dim(dim, ndim(), "slice");
  ASHLAR_CHECK(0 <= begin && begin <= end && end <= shape_[d], "slice: [", begin, ", ", end, ") of dimension ", d,
               " is outside shape ", shape_);
  Array result = *this;
  result.offset_ += begin * stride_[static_cast<std::size_t>(d)];
  result.shape_ = shape_.with(d, end - begin);
  return result;
}

Array Array::select(int dim, Dim index) const {
  const int d = normalize_dim(dim, ndim(), "select");
  ASHLAR_CHECK(0 <= index && index < shape_[d], "select: index ", index, " of dimension ", d, " is outside shape ",
               shape_);
  Array result = *this;
  result.offset_ += index * stride_[static_cast<std::size_t>(d)];
  result.shape_ = shape_.without(d);
  std::copy(stride_.begin() + d + 1, stride_.end(), result.stride_.begin() + d);
  return result;
}

Array Array::expand(const Shape& shape) const {
  const int added = shape.ndim() - ndim();
  ASHLAR_CHECK(added >= 0, "expand: shape ", shape_, " does not fit into ", shape);
  Array result = *this;
  result.shape_ = shape;
  for (int d = 0; d < shape.ndim(); ++d) {
    const auto target = static_cast<std::size_t>(d);
    if (d < added) {
      result.stride_[target] = 0;
      continue;
    }
    const Dim own = shape_[d - added];
    ASHLAR_CHECK(own == shape[d] || own == 1, "expand: shape ", shape_, " does not fit into ", shape);
    result.stride_[target] = own == shape[d] ? stride_[static_cast<std::size_t>(d - added)] : 0;
  }
  return result;
}

Array Array::reshape(std::initializer_list<Dim> sizes) const {
  std::vector<Dim> wanted(sizes);
  const auto open = std::ranges::find(wanted, Dim{-1});
  if (open != wanted.end()) {
    *open = 1;
    ASHLAR_CHECK(std::ranges::find(wanted, Dim{-1}) == wanted.end(), "reshape: more than one size is -1");
    const Dim known = Shape(wanted).numel();
    ASHLAR_CHECK(known > 0 && numel() % known == 0, "reshape: shape ", shape_, " has no size for -1");
    *open = numel() / known;
  }
  return reshape(Shape(wanted));
}

namespace {

// Strides that show (shape, stride) as `target` without moving a value; false if there are none. Dimensions of size 1 get
// what row-major order would give them: kernels ask whether steps are whole vectors.
bool view_strides(const Shape& shape, const std::array<Dim, kMaxDims>& stride, const Shape& target,
                  std::array<Dim, kMaxDims>& result) {
  int from = 0, to = 0;
  while (from < shape.ndim() && to < target.ndim()) {
    // One group: the shortest runs of old and new dimensions with the same number of elements.
    const int from_begin = from, to_begin = to;
    Dim have = shape[from++], want = target[to++];
    while (have != want) {
      if (have < want) {
        if (from == shape.ndim()) return false;
        have *= shape[from++];
      } else {
        if (to == target.ndim()) return false;
        want *= target[to++];
      }
    }
    Dim inner = 1;  // stride of the innermost dimension of the group that is not 1
    bool found = false;
    Dim expected = 0;
    for (int d = from - 1; d >= from_begin; --d) {
      if (shape[d] == 1) continue;
      const Dim step = stride[static_cast<std::size_t>(d)];
      if (!found) inner = step, found = true;
      else if (step != expected) return false;
      expected = step * shape[d];
    }
    for (int d = to - 1; d >= to_begin; --d) {
      result[static_cast<std::size_t>(d)] = inner;
      inner *= target[d];
    }
  }
  Dim within = 1;  // the row-major step of a dimension here: that of the next inner one times its size
  for (int d = target.ndim() - 1; d >= 0; --d) {
    Dim& step = result[static_cast<std::size_t>(d)];
    if (target[d] == 1) step = within;
    within = step * target[d];
  }
  return true;
}

}  // namespace

Array Array::reshape(const Shape& shape) const {
  ASHLAR_CHECK(shape.numel() == numel(), "reshape: shape ", shape_, " has ", numel(), " elements, ", shape, " has ",
               shape.numel());
  Array result = *this;
  result.stride_ = {};
  if (numel() == 0) result.stride_ = contiguous_strides(shape);
  else if (!view_strides(shape_, stride_, shape, result.stride_)) {
    result = clone();
    result.stride_ = contiguous_strides(shape);
  }
  result.shape_ = shape;
  return result;
}

Array Array::as_contiguous() const { return contiguous() ? *this : clone(); }

Array Array::clone() const {
  Array result = empty(shape_, dtype_, device());
  copy(*this, result);
  return result;
}

Array Array::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Array result = empty(shape_, dtype, device());
  copy(*this, result);
  return result;
}

Array Array::to(Device device) const {
  if (!defined() || device == this->device()) return *this;
  Array result = empty(shape_, dtype_, device);
  copy(*this, result);
  return result;
}

double Array::item() const {
  ASHLAR_CHECK(numel() == 1, "item: needs one element, shape is ", shape_);
  const Array value = to(Device{});
  return dispatch_all(dtype_, [&]<class T>() { return convert<double>(*value.data<T>()); });
}

namespace {

constexpr Dim kGrain = 1 << 15;  // elements that are worth a second thread

template <class From, class To>
void copy_rows(const StridedRows<2>& rows, const From* from, To* to) {
  const Dim from_step = rows.column_steps()[0], to_step = rows.column_steps()[1];
  parallel_rows(rows.rows(), rows.columns(), kGrain, [&](Dim row_begin, Dim row_end, Dim begin, Dim end) {
    for (Dim row = row_begin; row < row_end; ++row) {
      const auto offsets = rows.row_offsets(row);
      const From* source = from + offsets[0];
      To* target = to + offsets[1];
      if (from_step == 1 && to_step == 1) {
        for (Dim c = begin; c < end; ++c) target[c] = convert<To>(source[c]);
      } else {
        for (Dim c = begin; c < end; ++c) target[c * to_step] = convert<To>(source[c * from_step]);
      }
    }
  });
}

}  // namespace

void copy(const ConstView& from, const View& to) {
  ASHLAR_CHECK(from && to, "copy: an undefined view has no values");
  ASHLAR_CHECK(from.shape == to.shape, "copy: shapes ", from.shape, " and ", to.shape, " differ");
  ASHLAR_CHECK(from.device == to.device, "copy: views on ", from.device, " and ", to.device, "; between devices copy arrays");
  if (to.device.type == DeviceType::cuda) return cuda::copy(to.device.index, from, to);
  const StridedRows<2> rows(from.shape, {from.stride, to.stride});
  dispatch_all(from.dtype, [&]<class From>() {
    dispatch_all(to.dtype, [&]<class To>() { copy_rows(rows, from.as<From>(), to.as<To>()); });
  });
}

void fill(const View& to, double value) {
  ASHLAR_CHECK(to, "fill: the view is undefined");
  if (to.device.type == DeviceType::cuda) return cuda::fill(to.device.index, to, value);
  const StridedRows<1> rows(to.shape, {to.stride});
  const Dim step = rows.column_steps()[0];
  dispatch_all(to.dtype, [&]<class T>() {
    const T element = convert<T>(value);
    parallel_rows(rows.rows(), rows.columns(), kGrain, [&](Dim row_begin, Dim row_end, Dim begin, Dim end) {
      for (Dim row = row_begin; row < row_end; ++row) {
        T* const target = to.as<T>() + rows.row_offsets(row)[0];
        if (step == 1) std::fill(target + begin, target + end, element);
        else for (Dim c = begin; c < end; ++c) target[c * step] = element;
      }
    });
  });
}

void copy(const Array& from, const Array& to) {
  ASHLAR_CHECK(from.defined() && to.defined(),
               "copy: an undefined array has no values; a gradient is undefined until a backward reaches its leaf");
  ASHLAR_CHECK(from.shape() == to.shape(), "copy: shapes ", from.shape(), " and ", to.shape(), " differ");
  if (from.numel() == 0) return;
  const Device source = from.device(), target = to.device();
  if (source == target) return copy(ConstView(from), View(to));
  // Between devices whole blocks of bytes travel; what is strided or converted is made so on one of the sides.
  const bool direct = to.contiguous() && from.dtype() == to.dtype();
  const Array values = from.as_contiguous();
  const Array arrived = direct ? to : Array::empty(from.shape(), from.dtype(), target);
  const auto bytes = static_cast<std::size_t>(values.numel()) * size_of(values.dtype());
  const void* const begin = ConstView(values).data;
  void* const end = View(arrived).data;
  if (target.type == DeviceType::cpu) {
    cuda::copy_to_host(source.index, end, begin, bytes);
  } else {
    ASHLAR_CHECK(source.type == DeviceType::cpu, "copy: from ", source, " to ", target, " only by way of the host");
    cuda::copy_to_device(target.index, end, begin, bytes);
  }
  if (!direct) copy(arrived, to);
}

}  // namespace ashlar
