# SPDX-License-Identifier: MIT
# Other projects use the library in three ways; each is a test. Included by tests/CMakeLists.txt.

foreach(mode find_package pkg_config add_subdirectory)
  add_test(NAME consumer.${mode}
    COMMAND ${PROJECT_SOURCE_DIR}/tests/consumer/run.sh ${mode} ${PROJECT_BINARY_DIR})
  # One at a time: they share the library that is built for them; for Debug, in a fifth of the time.
  set_tests_properties(consumer.${mode} PROPERTIES TIMEOUT 600 RESOURCE_LOCK consumer LABELS consumer)
  set_property(TEST consumer.${mode} PROPERTY ENVIRONMENT
    "CMAKE=${CMAKE_COMMAND}" "CMAKE_GENERATOR=${CMAKE_GENERATOR}" "CC=${CMAKE_C_COMPILER}"
    "BUILD_TYPE=Debug" "SA_SANITIZE=${SA_SANITIZE}")
endforeach()
