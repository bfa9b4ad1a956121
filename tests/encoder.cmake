# SPDX-License-Identifier: MIT
# Tests of `sa encode`. Included by tests/CMakeLists.txt.

pkg_check_modules(UTF8PROC QUIET IMPORTED_TARGET libutf8proc)
if(NOT SA_BUILD_PROGRAM OR NOT TARGET sa_layer OR NOT UTF8PROC_FOUND)
  return() # src/cli/CMakeLists.txt asks for the same
endif()

sa_test(test_encoder)
target_link_libraries(test_encoder PRIVATE sa_encoder)
target_compile_definitions(test_encoder PRIVATE "TEST_DATA=\"${CMAKE_CURRENT_SOURCE_DIR}/data\"")
add_test(NAME encode COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test_encode.sh $<TARGET_FILE:sa_program>
  ${CMAKE_CURRENT_SOURCE_DIR}/data)
set_tests_properties(encode PROPERTIES TIMEOUT 120)
