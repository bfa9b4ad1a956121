# SPDX-License-Identifier: MIT
# Tests of the program. Included by tests/CMakeLists.txt.

if(SA_BUILD_PROGRAM)
  sa_test(test_formats)
  target_link_libraries(test_formats PRIVATE sa_formats)
  sa_test(test_look SOURCES ${PROJECT_SOURCE_DIR}/src/cli/look_influence.c ${PROJECT_SOURCE_DIR}/src/cli/columns.c)
  target_link_libraries(test_look PRIVATE sa_formats)
  target_compile_definitions(test_look PRIVATE "TEST_DATA=\"${CMAKE_CURRENT_SOURCE_DIR}/data\"")
  add_test(NAME program COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test_program.sh $<TARGET_FILE:sa_program>
    ${CMAKE_CURRENT_SOURCE_DIR}/data ${PROJECT_SOURCE_DIR}/perf/shapes/mixes)
  add_test(NAME program_attention COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test_attention.sh $<TARGET_FILE:sa_program>
    ${CMAKE_CURRENT_SOURCE_DIR}/data)
  set_tests_properties(program_attention PROPERTIES TIMEOUT 120)
  # What fontconfig keeps until the process ends is not ours.
  set_tests_properties(program PROPERTIES TIMEOUT 120
    ENVIRONMENT "LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/lsan.supp:print_suppressions=0")
endif()
