# Greps the includes of every source to prove the order of the rooms: an arrow of design means "may be included by",
# and nothing points the other way.
#
#   core ──► kernels ──► autograd ──► layers ──► examples
#     │                      └──────► optim ───────┘ │
#     └─────────────────────────────► data ──────────┘
#
# Also: includes are rooted at the repository, CUDA is switched on and off in kernels/kernel.h alone, and nobody takes views
# of <ranges>, which clang 14 does not compile from the library of g++ 12.
# Run as: cmake -DSOURCE=<repository> -P include_rule.cmake
cmake_minimum_required(VERSION 3.22)
set(core_may_include core)
set(kernels_may_include core kernels hwy) # Highway asks for quotes: foreach_target.h includes a file again
set(autograd_may_include core kernels autograd)
set(layers_may_include core kernels autograd layers)
set(optim_may_include core kernels autograd optim)
set(data_may_include core data)
set(examples_may_include core kernels autograd layers optim data examples)

# Sets `fault` to what is wrong with a line of a file, or to nothing.
function(judge file line fault)
  set(${fault} "" PARENT_SCOPE)
  string(REGEX MATCH "^[^/]*" room ${file})
  if(line MATCHES "^[ \t]*#[ \t]*include[ \t]*\"([^\"]*)\"")
    set(target ${CMAKE_MATCH_1})
    string(REGEX MATCH "^[^/]*" target_room ${target})
    if(NOT target_room IN_LIST ${room}_may_include)
      set(${fault} "${room} may include ${${room}_may_include}, not ${target}" PARENT_SCOPE)
    endif()
  elseif(line MATCHES "^[ \t]*#[ \t]*(if|ifdef|ifndef|elif).*CUDA" AND NOT file STREQUAL "kernels/kernel.h")
    set(${fault} "only kernels/kernel.h may switch on CUDA" PARENT_SCOPE)
  elseif(line MATCHES "^[ \t]*#[ \t]*include[ \t]*<ranges>")
    set(${fault} "clang 14 does not compile the views of <ranges>" PARENT_SCOPE)
  endif()
endfunction()

# The judge itself is tried first.
foreach(sample "core/array.cpp|#include \"kernels/kernel.h\"" "optim/sgd.cpp|# include \"layers/linear.h\""
               "data/text.h|  #include \"autograd/tensor.h\"" "core/array.cpp|#include \"array.h\""
               "layers/linear.h|#include \"tests/support/catch.h\"" "layers/linear.h|#include \"optim/adamw.h\""
               "examples/train_vit.cpp|#include \"tests/support/catch.h\"" "core/device.cpp|#if ASHLAR_CUDA"
               "optim/sgd.cpp|#include <ranges>")
  string(REPLACE "|" ";" sample "${sample}")
  list(GET sample 0 file)
  list(GET sample 1 line)
  judge("${file}" "${line}" fault)
  if(fault STREQUAL "")
    message(FATAL_ERROR "the rule does not see that ${file} must not say: ${line}")
  endif()
endforeach()
foreach(file core/array.cpp kernels/kernel.h)
  judge(${file} "#include \"core/array.h\"" fault)
  if(NOT fault STREQUAL "")
    message(FATAL_ERROR "the rule refuses what is allowed: ${fault}")
  endif()
endforeach()

set(faults "")
set(count 0)
foreach(room core kernels autograd layers optim data examples)
  file(GLOB_RECURSE sources RELATIVE ${SOURCE} ${SOURCE}/${room}/*.h ${SOURCE}/${room}/*.cpp ${SOURCE}/${room}/*.cu
       ${SOURCE}/${room}/*.cuh)
  foreach(source ${sources})
    math(EXPR count "${count} + 1")
    file(STRINGS ${SOURCE}/${source} lines REGEX "^[ \t]*#[ \t]*(include|if|ifdef|ifndef|elif)")
    foreach(line IN LISTS lines)
      judge("${source}" "${line}" fault)
      if(NOT fault STREQUAL "")
        string(APPEND faults "${source}: ${fault}\n")
      endif()
    endforeach()
  endforeach()
endforeach()
if(count EQUAL 0)
  message(FATAL_ERROR "no sources under ${SOURCE}")
endif()
if(NOT faults STREQUAL "")
  message(FATAL_ERROR "${faults}")
endif()
message(STATUS "${count} files keep the order of the rooms")
