# Makes C++ of a CUDA source: launches and shared memory, which only nvcc understands, become calls of the emulator.
# Run as: cmake -DINPUT=<source> -DOUTPUT=<file> -P translate.cmake
cmake_minimum_required(VERSION 3.22)
file(READ ${INPUT} text)

if(text MATCHES "asm volatile" OR text MATCHES "asm *\\(")
  message(FATAL_ERROR "${INPUT}: inline assembly belongs into kernels/ptx.cuh, for which the emulator has a replacement")
endif()

# kernel<T><<<grid, block, shared, stream>>>(…. One character for each bracket, so that a set of characters can exclude it.
string(ASCII 1 open)
string(ASCII 2 close)
string(REPLACE "<<<" "${open}" text "${text}")
string(REPLACE ">>>(" "${close}" text "${text}")
string(REGEX REPLACE "([A-Za-z0-9_]+(<[^<>(){};]*>)?)${open}([^${close}]*)${close}"
       "::ashlar::emulated::Launch(\"\\1\", \\3, [=](const auto\&... argument) { \\1(argument...); })(" text "${text}")
if(text MATCHES "${open}" OR text MATCHES "${close}")
  message(FATAL_ERROR "${INPUT}: a launch is written in a way that translate.cmake does not know")
endif()

string(REGEX REPLACE "extern __shared__ [^;]*unsigned char ([A-Za-z0-9_]+)\\[\\];"
       "unsigned char* const \\1 = ::ashlar::emulated::dynamic_shared();" text "${text}")
# __shared__ T a[m], b[n]; as two declarations, and each as a reference to memory of the block.
set(declared "__shared__ ([A-Za-z0-9_]+) ([A-Za-z0-9_]+)(\\[[^;,]*\\])")
set(before "")
while(NOT before STREQUAL text)
  set(before "${text}")
  string(REGEX REPLACE "${declared}, *" "__shared__ \\1 \\2\\3; __shared__ \\1 " text "${text}")
endwhile()
string(REGEX REPLACE "${declared};" "auto\& \\2 = ::ashlar::emulated::shared<\\1\\3>(\"\\2\");" text "${text}")
if(text MATCHES "__shared__")
  message(FATAL_ERROR "${INPUT}: shared memory is declared in a way that translate.cmake does not know")
endif()

file(WRITE ${OUTPUT} "#line 1 \"${INPUT}\"\n${text}")
