// Which instruction set the kernels may use. Every kernel exists for several; the best one that the processor has
// and that this allows is taken at run time.
#pragma once
#include <string_view>

namespace ashlar::kernels {

// "native": all the processor has; "avx512": no AMX; "avx2": no AVX-512; "baseline": what the compiler assumes of
// every machine. Takes effect on the next call of a kernel, except for what is decided once: at the first product oneDNN's
// instruction set, and with it whether bf16 and AMX are used; at the first GELU in bf16 its tables. InputError for any other name.
void limit_isa(std::string_view name);
// The limit in force. Until limit_isa() is called: the environment variable ASHLAR_ISA, or "native".
std::string_view isa_limit();
// The instruction set in use: "avx512", "avx2", "neon" or "baseline".
std::string_view isa_name();

// Applies ASHLAR_ISA, once; kernels call it before they choose (through ASHLAR_DISPATCH).
void ensure_isa_limit();

}  // namespace ashlar::kernels
