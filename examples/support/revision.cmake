# Run at every build: writes the git revision of SOURCE into OUTPUT, a C++ file, and leaves OUTPUT alone if it already
# says so, which makes nothing to be built again.
set(revision unknown)
find_program(GIT git)
if(GIT)
  execute_process(COMMAND ${GIT} -C ${SOURCE} describe --always --dirty=+ --abbrev=10 --match=
                  OUTPUT_VARIABLE found RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT failed)
    set(revision ${found})
  endif()
endif()
set(text "namespace ashlar::support {\nextern const char* const kGitRevision;\nconst char* const kGitRevision = \"${revision}\";\n}\n")
set(written "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} written)
endif()
if(NOT written STREQUAL text)
  file(WRITE ${OUTPUT} "${text}")
endif()
