# What the CUDA backend is built on: the CUDA compiler and runtime, and cuBLASLt, from a CUDA toolkit or from the Python
# package nvidia-cublas; and, if they are found, cuDNN and the headers of cudnn-frontend (the packages nvidia-cudnn-cu13 and
# nvidia-cudnn-frontend). ASHLAR_CUDA_ROOTS names more folders that have include/ and lib/ below them.
#
# Machine code for compute capability 8.0 and 9.0, and PTX of 8.0, from which the driver makes code for newer GPUs.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80 90a-real)
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER AND EXISTS /usr/local/cuda/bin/nvcc)
  set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc)
endif()
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "ASHLAR_CUDA is on, but nvcc was not found. Install the CUDA toolkit (12 or newer) and put nvcc on "
                      "the PATH, or set CMAKE_CUDA_COMPILER")
endif()
enable_language(CUDA)
# CMake 3.25 does not know that nvcc has C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_FLAGS_RELEASE "-O3")
find_package(CUDAToolkit REQUIRED)

set(ASHLAR_CUDA_ROOTS "" CACHE STRING "Folders in which to look for cuBLASLt and cuDNN (include/ and lib/ below them)")
set(roots ${ASHLAR_CUDA_ROOTS} ${CUDAToolkit_TARGET_DIR} ${CUDAToolkit_LIBRARY_ROOT})
# Where tests/cmake/install_cuda.sh puts the Python package, and where pip does.
file(GLOB packaged ${PROJECT_SOURCE_DIR}/build/cuda-packages ${PROJECT_SOURCE_DIR}/build/cuda-packages/nvidia/*)
list(APPEND roots ${packaged})
find_program(ASHLAR_PYTHON NAMES python3)
if(ASHLAR_PYTHON)
  execute_process(COMMAND ${ASHLAR_PYTHON} -c "import sysconfig; print(sysconfig.get_path('purelib'))"
                  OUTPUT_VARIABLE site OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  file(GLOB packaged ${site} ${site}/nvidia/cu13 ${site}/nvidia/cublas ${site}/nvidia/cudnn)
  list(APPEND roots ${packaged})
endif()
find_path(ASHLAR_CUBLAS_INCLUDE cublasLt.h HINTS ${roots} PATH_SUFFIXES include)
find_library(ASHLAR_CUBLAS_LIBRARY NAMES cublasLt libcublasLt.so.13 libcublasLt.so.12 HINTS ${roots} PATH_SUFFIXES lib lib64)
if(NOT ASHLAR_CUBLAS_INCLUDE OR NOT ASHLAR_CUBLAS_LIBRARY)
  message(FATAL_ERROR "cuBLASLt was not found. It comes with the CUDA toolkit, or as a Python package: "
                      "bash tests/cmake/install_cuda.sh (pip install nvidia-cublas, of the toolkit's version "
                      "${CUDAToolkit_VERSION_MAJOR}.${CUDAToolkit_VERSION_MINOR}); or set ASHLAR_CUDA_ROOTS to a folder "
                      "with include/cublasLt.h and lib/libcublasLt.so")
endif()
message(STATUS "cuBLASLt: ${ASHLAR_CUBLAS_LIBRARY}")

option(ASHLAR_CUDNN "Attention by cuDNN, where cuDNN is found" ON)
if(ASHLAR_CUDNN)
  find_path(ASHLAR_CUDNN_INCLUDE cudnn.h HINTS ${roots} PATH_SUFFIXES include)
  find_path(ASHLAR_CUDNN_FRONTEND_INCLUDE cudnn_frontend.h HINTS ${roots} PATH_SUFFIXES include)
  find_library(ASHLAR_CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${roots} PATH_SUFFIXES lib lib64)
endif()

add_library(ashlar_cuda INTERFACE)
target_include_directories(ashlar_cuda SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS} ${ASHLAR_CUBLAS_INCLUDE})
target_link_libraries(ashlar_cuda INTERFACE CUDA::cudart_static ${ASHLAR_CUBLAS_LIBRARY})
target_compile_definitions(ashlar_cuda INTERFACE ASHLAR_CUDA=1)
if(ASHLAR_CUDNN AND ASHLAR_CUDNN_INCLUDE AND ASHLAR_CUDNN_FRONTEND_INCLUDE AND ASHLAR_CUDNN_LIBRARY)
  set(ASHLAR_HAS_CUDNN ON)
  message(STATUS "cuDNN: ${ASHLAR_CUDNN_LIBRARY}")
  target_include_directories(ashlar_cuda SYSTEM INTERFACE ${ASHLAR_CUDNN_INCLUDE} ${ASHLAR_CUDNN_FRONTEND_INCLUDE})
  target_link_libraries(ashlar_cuda INTERFACE ${ASHLAR_CUDNN_LIBRARY} ${CMAKE_DL_LIBS})
  target_compile_definitions(ashlar_cuda INTERFACE ASHLAR_HAS_CUDNN=1)
  # Calls into templates of the headers: nothing to gain, and 37 s to compile instead of 20.
  set_source_files_properties(${PROJECT_SOURCE_DIR}/kernels/attention/cudnn.cpp PROPERTIES
                              COMPILE_OPTIONS $<$<CONFIG:Release>:-O1>)
else()
  message(STATUS "cuDNN: not found or switched off; attention by the project's own kernels")
endif()
# constexpr functions (index arithmetic, Philox, bfloat16) are used on both sides as they are.
target_compile_options(ashlar_cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)
