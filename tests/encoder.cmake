# SPDX-License-Identifier: MIT
# Tests of `sa encode`, and of `sa look` on a model. Included by tests/CMakeLists.txt.

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

set(cli ${PROJECT_SOURCE_DIR}/src/cli)
sa_test(test_look_model SOURCES bert.c ${cli}/look_data.c ${cli}/look_model.c ${cli}/look_influence.c
  ${cli}/look_survey.c ${cli}/attention.c ${cli}/options.c ${cli}/cli.c ${cli}/columns.c)
target_link_libraries(test_look_model PRIVATE sa_encoder)
target_compile_definitions(test_look_model PRIVATE "TEST_DATA=\"${CMAKE_CURRENT_SOURCE_DIR}/data\"")
add_test(NAME look COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test_look.sh $<TARGET_FILE:sa_program>
  ${CMAKE_CURRENT_SOURCE_DIR}/data)
set_tests_properties(look PROPERTIES TIMEOUT 120
  ENVIRONMENT "LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/lsan.supp:print_suppressions=0")
