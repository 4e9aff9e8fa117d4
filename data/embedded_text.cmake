# The text of the project's own sources and documentation as a C++ file of the library ashlar_data.
# Included by CMakeLists.txt this adds the rule; run with `cmake -P` it is the rule: it writes OUTPUT from the files
# below ROOT.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(ROOT ${PROJECT_SOURCE_DIR})
  set(watch CONFIGURE_DEPENDS)
endif()

set(patterns)
foreach(room core kernels autograd layers optim data examples tests)
  foreach(ending h cpp cu sh md cmake)
    list(APPEND patterns ${ROOT}/${room}/*.${ending})
  endforeach()
endforeach()
file(GLOB_RECURSE sources ${watch} LIST_DIRECTORIES false RELATIVE ${ROOT} ${patterns})
list(FILTER sources EXCLUDE REGEX "^data/downloads/")
file(GLOB top ${watch} RELATIVE ${ROOT} ${ROOT}/README.md ${ROOT}/CMakeLists.txt)
list(APPEND sources ${top})
list(SORT sources)

if(CMAKE_SCRIPT_MODE_FILE)
  # Raw string literals need no escapes; no source contains their end, because it is put together here.
  set(mark ashlar_text)
  set(code "// Made by data/embedded_text.cmake.\n#include \"data/embedded_text.h\"\n\nnamespace ashlar::data {\n\n")
  string(APPEND code "std::string_view embedded_sources() {\n  static constexpr char kText[] =\n")
  foreach(source ${sources})
    file(READ ${ROOT}/${source} text)
    string(APPEND code "R\"${mark}(==== ${source} ====\n\n${text}\n)${mark}\"\n")
  endforeach()
  string(APPEND code ";\n  return {kText, sizeof(kText) - 1};\n}\n\n")
  string(APPEND code "std::string_view source_folder() { return R\"${mark}(${ROOT})${mark}\"; }\n\n")
  string(APPEND code "}  // namespace ashlar::data\n")
  file(WRITE ${OUTPUT} "${code}")
else()
  set(output ${PROJECT_BINARY_DIR}/embedded_text.cpp)
  list(TRANSFORM sources PREPEND ${ROOT}/ OUTPUT_VARIABLE dependencies)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DROOT=${ROOT} -DOUTPUT=${output} -P ${CMAKE_CURRENT_LIST_FILE}
    DEPENDS ${dependencies}
    COMMENT "Gathering the project's own text"
    VERBATIM)
  target_sources(ashlar_data PRIVATE ${output})
endif()
