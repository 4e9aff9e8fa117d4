// What the program runs on and what it was built from.
#pragma once
#include <string>

#include "core/device.h"
#include "core/dtype.h"
#include "examples/support/options.h"

namespace ashlar::support {

std::string instruction_set();    // "AMX", "AVX512-BF16", "AVX2", "AVX-512 limited to avx2" (ASHLAR_ISA), …
std::string git_revision();       // of the sources, "+" if they were changed since; "unknown" outside a repository
std::string build_description();  // "Release, g++ 12.2.0, 1a593fd"

// --device, refused while options are read if this machine has no such device, and --dtype of what is computed there.
void add_device_option(Options& options, std::string& device);
void add_dtype_option(Options& options, std::string& dtype);
DType parse_dtype(const std::string& dtype);
// --threads, after parsing never 0.
void add_threads_option(Options& options, int& threads);

// FLOP/s of a large matrix product here and now: the best of a few, about a fifth of a second on two cores.
double measured_matmul_rate(const Device& device, DType dtype);

// "train_vit: cpu, 2 threads, f32, AVX2, Release, g++ 12.2.0, 1a593fd": nobody trains on a slow path unknowingly.
std::string startup_line(const std::string& program, const std::string& device, int threads, const std::string& dtype);

}  // namespace ashlar::support
