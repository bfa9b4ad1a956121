# SPDX-License-Identifier: MIT
# The kernels of AVX-512 and AMX on processors without: the same source over SIMDe's emulation of the intrinsics, linked in
# place of the library's own into tests that then run once more. Included by tests/CMakeLists.txt.

if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  return()
endif()
find_path(SIMDE_INCLUDE_DIR simde/x86/avx512.h DOC "Where SIMDe is (libsimde-dev), for tests of emulated AVX-512")
if(NOT SIMDE_INCLUDE_DIR)
  message(STATUS "no simde/x86/avx512.h (libsimde-dev): the AVX-512 kernels are tested only where a processor has it")
  return()
endif()

# No sanitizers: with them this one object takes many minutes to compile. Pages that may not be touched guard the tests.
set(emulation -mavx2 -mfma -mf16c -Wno-psabi -fno-sanitize=all -include ${CMAKE_CURRENT_SOURCE_DIR}/emulated_avx512.h)

set(emulated_kernels ${PROJECT_SOURCE_DIR}/src/kernels/avx512.c ${PROJECT_SOURCE_DIR}/src/kernels/avx512_bf16.c
  ${PROJECT_SOURCE_DIR}/src/kernels/amx_bf16.c ${PROJECT_SOURCE_DIR}/src/kernels/amx_f16.c
  ${PROJECT_SOURCE_DIR}/src/kernels/amx_int8.c)
add_library(sa_emulated OBJECT ${emulated_kernels} emulated_cpu.c)
set_source_files_properties(${emulated_kernels} PROPERTIES COMPILE_OPTIONS "${emulation}")
target_include_directories(sa_emulated PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
target_include_directories(sa_emulated SYSTEM PRIVATE ${SIMDE_INCLUDE_DIR})
# At -O1 gcc 12 gives one place in the stack to two of SIMDe's unions that are both in use.
target_compile_options(sa_emulated PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O2> $<$<C_COMPILER_ID:GNU>:-fstack-reuse=none>)
target_link_libraries(sa_emulated PRIVATE sa_flags)

# sa_emulated_test(NAME [SOURCES ...]) builds NAME.c once more, around the emulated kernels.
function(sa_emulated_test name)
  cmake_parse_arguments(arg "" "" "SOURCES" ${ARGN})
  set(emulated ${name}.emulated)
  add_executable(${emulated} ${name}.c ${arg_SOURCES}
    $<FILTER:$<TARGET_OBJECTS:sa_objects>,EXCLUDE,/cpu\\.|/kernels/avx512|/kernels/amx> $<TARGET_OBJECTS:sa_emulated>)
  target_compile_definitions(${emulated} PRIVATE TEST_AVX512_IS_EMULATED)
  target_include_directories(${emulated} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${emulated} PRIVATE sa_flags sa_reference PkgConfig::CHECK PkgConfig::HWLOC Threads::Threads
    OpenMP::OpenMP_C m)
  add_test(NAME ${emulated} COMMAND ${emulated})
  set_tests_properties(${emulated} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77 LABELS emulated)
endfunction()

# Inside: every kernel, bit for bit against the scalar one.
sa_emulated_test(test_kernels SOURCES kernel_scalar.c)
sa_emulated_test(test_kernel_rows SOURCES kernel_scalar.c)
sa_emulated_test(test_kernel_few)
sa_emulated_test(test_kernel_dots)
sa_emulated_test(test_kernel_weights)
sa_emulated_test(test_kernel_least)
sa_emulated_test(test_kernel_bytes)
sa_emulated_test(test_kernel_terms SOURCES kernel_scalar.c)
sa_emulated_test(test_conversions)
sa_emulated_test(test_quantise)
sa_emulated_test(test_fma)

# Through an engine, against the reference and against the other instruction sets.
sa_emulated_test(test_attend SOURCES drawn.c)
sa_emulated_test(test_append)
sa_emulated_test(test_merge SOURCES drawn.c)
sa_emulated_test(test_reports SOURCES drawn.c)
sa_emulated_test(test_merge_keys SOURCES drawn.c)
sa_emulated_test(test_edges SOURCES drawn.c)
sa_emulated_test(test_properties SOURCES drawn.c)
sa_emulated_test(test_types SOURCES drawn.c)
sa_emulated_test(test_pages SOURCES drawn.c paged.c)
sa_emulated_test(test_copies SOURCES drawn.c paged.c)
sa_emulated_test(test_interlude SOURCES drawn.c paged.c)
sa_emulated_test(test_decode SOURCES drawn.c paged.c)
sa_emulated_test(test_abreast SOURCES drawn.c paged.c)
sa_emulated_test(test_masks SOURCES drawn.c paged.c sighted.c)
sa_emulated_test(test_special SOURCES drawn.c paged.c)
sa_emulated_test(test_terms SOURCES drawn.c)
sa_emulated_test(test_kinds SOURCES ${kinds})

# Keys split over threads, in the layout of four groups a pass.
sa_emulated_test(test_splits SOURCES drawn.c paged.c)

# The emulation itself.
sa_test(test_emulated)
target_compile_options(test_emulated PRIVATE ${emulation})
target_include_directories(test_emulated SYSTEM PRIVATE ${SIMDE_INCLUDE_DIR})
