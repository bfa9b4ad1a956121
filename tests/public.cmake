# SPDX-License-Identifier: MIT
# Tests through the public header. Included by tests/CMakeLists.txt.

sa_test(test_reference)
sa_test(test_attend SOURCES drawn.c)
sa_test(test_edges SOURCES drawn.c)
sa_test(test_properties SOURCES drawn.c)
sa_test(test_types SOURCES drawn.c)
sa_test(test_pages SOURCES drawn.c paged.c)
sa_test(test_decode SOURCES drawn.c paged.c)
sa_test(test_masks SOURCES drawn.c paged.c sighted.c)
sa_test(test_special SOURCES drawn.c paged.c)
sa_test(test_terms SOURCES drawn.c)
set(kinds drawn.c paged.c kinds_case.c kinds_batch.c kinds_output.c kinds_check.c kinds_split.c kinds_shrink.c)
sa_test(test_kinds SOURCES ${kinds})
sa_test(test_onnx SOURCES onnx_attention.c)
sa_test(test_refusals)
sa_test(test_refused_storage)
sa_test(test_append)
sa_test(test_merge SOURCES drawn.c)
sa_test(test_reports SOURCES drawn.c)
sa_test(test_merge_keys SOURCES drawn.c)
sa_test(test_append_calls)
sa_test(test_environment)
sa_test(test_real)
target_compile_definitions(test_real PRIVATE "TEST_DATA=\"${CMAKE_CURRENT_SOURCE_DIR}/data\"")

# The shortest program, as the header and the README show it, and a loop that decodes.
foreach(program shortest growing)
  add_executable(${program} ${program}.c)
  target_link_libraries(${program} PRIVATE sa)
  if(SA_SANITIZE)
    target_link_options(${program} PRIVATE -fsanitize=${SA_SANITIZE})
  endif()
  add_test(NAME ${program} COMMAND ${program})
endforeach()
set_tests_properties(shortest PROPERTIES PASS_REGULAR_EXPRESSION "^0\\.978265 0\\.010868")
set_tests_properties(growing PROPERTIES PASS_REGULAR_EXPRESSION "^6 pages, 0\\.040424, the same bits")
add_test(NAME shortest.quoted COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/quoted.sh ${PROJECT_SOURCE_DIR})

# The header by itself, in both languages, as strictly as compilers go.
foreach(header sa layer)
  add_test(NAME header.${header}.c11 COMMAND ${CMAKE_C_COMPILER} -std=c11 -pedantic-errors -Wall -Wextra -Werror
    -fsyntax-only -I${PROJECT_SOURCE_DIR}/include -x c ${PROJECT_SOURCE_DIR}/include/sa/${header}.h
    -Wno-pragma-once-outside-header)
endforeach()
include(CheckLanguage)
check_language(CXX)
if(CMAKE_CXX_COMPILER)
  add_test(NAME header.cxx COMMAND ${CMAKE_CXX_COMPILER} -std=c++17 -pedantic-errors -Wall -Wextra -Werror -fsyntax-only
    -Wno-missing-field-initializers -I${PROJECT_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR}/header.cpp)
else()
  message(STATUS "no C++ compiler: the test header.cxx is left out")
endif()
