# SPDX-License-Identifier: MIT
# Tests of libsa_layer through its public header. Included by tests/CMakeLists.txt.

if(NOT TARGET sa_layer)
  return() # src/layer/CMakeLists.txt has said why
endif()

# sa_layer_test(NAME [SOURCES ...]): as sa_test().
function(sa_layer_test name)
  sa_test(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE sa_layer)
endfunction()

sa_layer_test(test_layer SOURCES layer_model.c turn_reference.c)
sa_layer_test(test_layer_positions SOURCES turn_reference.c)
sa_layer_test(test_layer_passes)
sa_layer_test(test_layer_calls)
sa_layer_test(test_layer_groups)
sa_layer_test(test_layer_refusals)

# sa_layer_inside_test(NAME FUNCTION ...): linked from objects, so that functions the libraries call can be wrapped. Of
# the engine there is an archive: memory.c and fpmode.c are part of both libraries.
add_library(sa_archive STATIC EXCLUDE_FROM_ALL $<TARGET_OBJECTS:sa_objects>)
function(sa_layer_inside_test name)
  add_executable(${name} ${name}.c $<TARGET_OBJECTS:sa_layer_objects>)
  list(TRANSFORM ARGN PREPEND "-Wl,--wrap=")
  target_link_options(${name} PRIVATE ${ARGN})
  target_link_libraries(${name} PRIVATE sa_flags sa_reference sa_archive PkgConfig::CHECK Threads::Threads
    OpenMP::OpenMP_C PkgConfig::HWLOC ${SA_BLAS_LIBRARY} m)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300)
endfunction()
sa_layer_inside_test(test_layer_memory posix_memalign free)
sa_layer_inside_test(test_layer_fork cblas_sgemm)

add_executable(shortest_layer shortest_layer.c)
target_link_libraries(shortest_layer PRIVATE sa_layer)
if(SA_SANITIZE)
  target_link_options(shortest_layer PRIVATE -fsanitize=${SA_SANITIZE})
endif()
add_test(NAME shortest_layer COMMAND shortest_layer)
set_tests_properties(shortest_layer PROPERTIES PASS_REGULAR_EXPRESSION "^3\\.000000 3\\.000000")

# Whatever the environment of BLAS says.
add_test(NAME test_layer_calls.blas_threads COMMAND test_layer_calls)
set_tests_properties(test_layer_calls.blas_threads PROPERTIES TIMEOUT 300
  ENVIRONMENT "OPENBLAS_NUM_THREADS=5;MKL_NUM_THREADS=5;BLIS_NUM_THREADS=5")
