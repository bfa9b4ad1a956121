# SPDX-License-Identifier: MIT
# Does scripts/cheaper count and weigh as NumPy does? Timings decide nothing. Included by tests/CMakeLists.txt.

if(SA_BUILD_PERF AND SA_BUILD_PROGRAM)
  # 77: there is no NumPy or no matplotlib; it says so.
  add_test(NAME cheaper.script COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test_cheaper.sh $<TARGET_FILE:sa_cheaper>)
  set_tests_properties(cheaper.script PROPERTIES TIMEOUT 120 SKIP_RETURN_CODE 77 LABELS perf)
endif()
