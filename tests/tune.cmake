# SPDX-License-Identifier: MIT
# scripts/tune_threads: its statistics and decisions on made-up samples, and real runs on tiny sizes, whose timings
# decide nothing. Included by tests/CMakeLists.txt.

if(SA_BUILD_PERF)
  add_test(NAME tune.unit COMMAND python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/test_tune.py)
  add_test(NAME tune.script COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test_tune.sh ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}
    run)
  # Parts that not every machine permits or has; they say so and are then skipped.
  add_test(NAME tune.quota COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test_tune.sh ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}
    quota)
  add_test(NAME tune.plot COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test_tune.sh ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}
    plot)
  set_tests_properties(tune.unit tune.script tune.quota tune.plot PROPERTIES
    TIMEOUT 300 SKIP_RETURN_CODE 77 LABELS tune)
endif()
