// What a build without CUDA has in place of runtime.cpp.
#include "core/cuda/cuda.h"

namespace ashlar::cuda {
namespace {

[[noreturn]] void absent(int index) {
  throw InputError(concat("device cuda:", index, ": this build has no CUDA; cmake --preset cuda makes one that has"));
}

}  // namespace

std::string why_unusable(int) { return "this build has no CUDA"; }
Allocator& allocator(int index) { absent(index); }
void* stream(int index) { absent(index); }
void synchronize(int index) { absent(index); }
void copy_to_device(int index, void*, const void*, std::size_t) { absent(index); }
void copy_to_host(int index, void*, const void*, std::size_t) { absent(index); }
std::unique_ptr<Download> begin_download(int index, const void*, std::size_t) { absent(index); }
std::unique_ptr<Recording> record(int index, const std::function<void()>&) { absent(index); }
void copy(int index, const ConstView&, const View&) { absent(index); }
void fill(int index, const View&, double) { absent(index); }

}  // namespace ashlar::cuda
