# SPDX-License-Identifier: MIT
# Does scripts/scaling measure, resume and report? Timings decide nothing. Included by tests/CMakeLists.txt.

if(SA_BUILD_PERF)
  add_test(NAME scaling.parts COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test_scaling.py)
  # 77: there is no NumPy or no matplotlib; it says so.
  add_test(NAME scaling.run COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test_scaling.sh $<TARGET_FILE:sa_scale_point>)
  set_tests_properties(scaling.parts scaling.run PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77 LABELS perf)
endif()
