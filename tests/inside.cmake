# SPDX-License-Identifier: MIT
# Tests of the inside: they link the library's objects and include its own headers. Included by tests/CMakeLists.txt.

sa_test(test_visibility INSIDE)
sa_test(test_sight INSIDE SOURCES drawn.c sighted.c)
sa_test(test_parts INSIDE)
sa_test(test_plan INSIDE)
# The mixes are files of shapes, which perf reads.
if(SA_BUILD_PERF OR SA_BUILD_PROGRAM)
  sa_test(test_simulate INSIDE)
  target_link_libraries(test_simulate PRIVATE sa_shapes)
  target_compile_definitions(test_simulate PRIVATE "MIXES=\"${PROJECT_SOURCE_DIR}/perf/shapes/mixes\"")
endif()
sa_test(test_kernels INSIDE SOURCES kernel_scalar.c)
sa_test(test_kernel_rows INSIDE SOURCES kernel_scalar.c)
sa_test(test_kernel_few INSIDE)
sa_test(test_fetch INSIDE)
sa_test(test_kernel_dots INSIDE)
sa_test(test_kernel_weights INSIDE)
sa_test(test_kernel_least INSIDE)
sa_test(test_kernel_bytes INSIDE)
sa_test(test_kernel_terms INSIDE SOURCES kernel_scalar.c)
sa_test(test_conversions INSIDE)
sa_test(test_quantise INSIDE)
sa_test(test_fma INSIDE)
sa_test(test_lse INSIDE)
sa_test(test_machine INSIDE)
sa_test(test_topology INSIDE)
sa_test(test_quota INSIDE)
sa_test(test_options INSIDE)
sa_test(test_splits INSIDE SOURCES drawn.c paged.c)
sa_test(test_abreast INSIDE SOURCES drawn.c paged.c)
sa_test(test_interlude INSIDE SOURCES drawn.c paged.c)

# The n-th allocation fails: posix_memalign() and free() are what memory.c calls.
sa_test(test_memory INSIDE)
target_link_options(test_memory PRIVATE -Wl,--wrap=posix_memalign,--wrap=free)

# The system refuses a thread, a condition variable or a mutex.
sa_test(test_team INSIDE)
target_link_options(test_team PRIVATE
  -Wl,--wrap=pthread_create,--wrap=pthread_cond_init,--wrap=pthread_mutex_init)

sa_test(test_host INSIDE)

# Only a caller that spins reads the clock.
sa_test(test_seats INSIDE)
target_link_options(test_seats PRIVATE -Wl,--wrap=clock_gettime)

# A workspace that was given back cannot be touched again.
sa_test(test_fork INSIDE)
target_link_options(test_fork PRIVATE -Wl,--wrap=posix_memalign,--wrap=free)
