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
sa_layer_test(test_layer_refusals)

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
