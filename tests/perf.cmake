# SPDX-License-Identifier: MIT
# Do the benchmarks run, and do they verify? Timings decide nothing. Included by tests/CMakeLists.txt.

if(SA_BUILD_PERF OR SA_BUILD_PROGRAM)
  sa_test(test_read_rate)
  target_link_libraries(test_read_rate PRIVATE sa_peak)
  set_tests_properties(test_read_rate PROPERTIES LABELS perf)
  sa_test(test_gauge)
  target_sources(test_gauge PRIVATE ${PROJECT_SOURCE_DIR}/perf/bench_gauge.c)
  target_link_libraries(test_gauge PRIVATE sa_shapes)
  set_tests_properties(test_gauge PROPERTIES LABELS perf)
  sa_test(test_tile)
  target_sources(test_tile PRIVATE ${PROJECT_SOURCE_DIR}/perf/tile.c)
  target_include_directories(test_tile PRIVATE ${PROJECT_SOURCE_DIR}/perf)
  set_tests_properties(test_tile PROPERTIES LABELS perf)
endif()

if(SA_BUILD_PERF)
  set(smoke --repeats 1 --seconds 0.01 --threads 1,2 --quiet)
  add_test(NAME perf.bench COMMAND sa_bench --shapes smoke.txt ${smoke}
    --csv ${CMAKE_CURRENT_BINARY_DIR}/bench.csv --json ${CMAKE_CURRENT_BINARY_DIR}/bench.json)
  # Copies enough that calls find nothing in the caches; and the same without, which the table tells apart.
  add_test(NAME perf.copies COMMAND sa_bench ${smoke} --shape "cold heads=2 nq=1 nk=3000 d=64"
    --shape "cosy heads=2 nq=1 nk=3000 d=64 warm")
  set_tests_properties(perf.copies PROPERTIES TIMEOUT 180 LABELS perf
    PASS_REGULAR_EXPRESSION "memory  .*GB/s read.*\ncold  [^\n]*%  *[1-9][0-9]+  .*\ncosy  [^\n]*  warm  ")
  # A batch against its parts, by pages of int8 and of bf16.
  add_test(NAME perf.parts COMMAND sa_bench ${smoke} --shape "two heads=2 kv=1 lens=90,300 qlens=90,1 d=64 type=bf16 parts"
    --shape "six heads=2 lens=90x2,300x4 qlens=9x2,1x4 d=32 kv_type=int8 page=16 causal parts")
  set_tests_properties(perf.parts PROPERTIES TIMEOUT 180 LABELS perf
    PASS_REGULAR_EXPRESSION "\ntwo, 1 thread: [0-9.]+ x the sum of its prefills alone, .*\nsix, 2 threads: [0-9.]+ x the sum")
  add_test(NAME perf.callers COMMAND sa_bench --shapes smoke.txt ${smoke} --callers 1,4)
  set_tests_properties(perf.bench perf.callers PROPERTIES TIMEOUT 180 LABELS perf)

  add_test(NAME perf.calibrate COMMAND sa_calibrate --shapes smoke.txt --test smoke.txt --rounds 1)
  set_tests_properties(perf.calibrate PROPERTIES TIMEOUT 180 LABELS perf
    PASS_REGULAR_EXPRESSION "floats:.*not fitted:.*new, others: |do not tell") # which may be so for shapes that small
  add_test(NAME perf.calibrate-bf16 COMMAND sa_calibrate --shapes smoke.txt --as bf16 --rounds 1)
  set_tests_properties(perf.calibrate-bf16 PROPERTIES TIMEOUT 180 LABELS perf
    PASS_REGULAR_EXPRESSION "The weights in src/cost.c of .*new, fitted: ")

  # What cannot be printed is an error.
  foreach(program sa_bench sa_scale_point sa_calibrate)
    add_test(NAME perf.full.${program} COMMAND sh -c "\"$1\" --help >/dev/full; [ $? -eq 1 ]" sh $<TARGET_FILE:${program}>)
    set_tests_properties(perf.full.${program} PROPERTIES TIMEOUT 60 LABELS perf)
  endforeach()

  # A file that cannot be written is refused before anything is measured: nothing was printed yet.
  foreach(option csv json)
    add_test(NAME perf.refuses.${option} COMMAND sa_bench --shapes smoke.txt ${smoke} --${option} /nonexist/x)
    set_tests_properties(perf.refuses.${option} PROPERTIES TIMEOUT 60 LABELS perf PASS_REGULAR_EXPRESSION "^/nonexist/x: ")
  endforeach()
  add_test(NAME perf.refuses.folder COMMAND sa_bench --shapes smoke.txt ${smoke} --csv .)
  set_tests_properties(perf.refuses.folder PROPERTIES TIMEOUT 60 LABELS perf PASS_REGULAR_EXPRESSION "^\\.: ")
  # Shares of a read rate are those of shapes that memory limits.
  add_test(NAME perf.share_read COMMAND sa_bench ${smoke} --no-verify --shape "a nq=64 d=16" --json /dev/stderr)
  set_tests_properties(perf.share_read PROPERTIES TIMEOUT 60 LABELS perf
    PASS_REGULAR_EXPRESSION "\"share_read\": null, \"share_read_best\": null, \"share_read_cpu\": null, ")
  add_test(NAME perf.help COMMAND sa_bench --help)
  set_tests_properties(perf.help PROPERTIES LABELS perf PASS_REGULAR_EXPRESSION "layouts.txt .*callers-long.txt")

  # Shapes that the bench must refuse, so that a typing error is not measured as something else.
  foreach(line "a d=64" "a nq=5" "a nq=5 d=64 causla" "a nq=5 d=0" "a lens=1,x d=64" "a heads=3 kv=2 nq=5 d=64"
          "nq=5 d=64" "a nq=5 d=64 type=int8" "a nq=5 d=64 kv_type=f64" "a nq=5 d=64 o_type=int8" "a nq=5 d=64 page=0"
          "a nq=5 d=64 page=x" "a nq=5 d=64 parts" "a lens=9,9 qlens=1,9 d=64 parts")
    string(MAKE_C_IDENTIFIER "${line}" name)
    add_test(NAME perf.refuses.${name} COMMAND sa_bench --shape ${line})
    set_tests_properties(perf.refuses.${name} PROPERTIES PASS_REGULAR_EXPRESSION "^--shape: '" LABELS perf)
  endforeach()

  # Nor a file without shapes: those of the bench's own would be measured instead.
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/no-shapes.txt "# nothing yet\n\n")
  add_test(NAME perf.refuses.no_shapes COMMAND sa_bench --shapes ${CMAKE_CURRENT_BINARY_DIR}/no-shapes.txt)
  set_tests_properties(perf.refuses.no_shapes PROPERTIES TIMEOUT 60 LABELS perf
    PASS_REGULAR_EXPRESSION "no-shapes.txt: no shape in it")

  # The layer, if there is a CBLAS.
  if(TARGET sa_layer)
    add_test(NAME perf.layer COMMAND sa_layer_bench --shapes layers-smoke.txt ${smoke}
      --csv ${CMAKE_CURRENT_BINARY_DIR}/layer.csv --json ${CMAKE_CURRENT_BINARY_DIR}/layer.json)
    set_tests_properties(perf.layer PROPERTIES TIMEOUT 180 LABELS perf
      PASS_REGULAR_EXPRESSION "\ndecode-bf16  .*\nEvery shape was verified: errors of at most [0-9]+ %")
    add_test(NAME perf.layer.refuses.json COMMAND sa_layer_bench --shapes layers-smoke.txt ${smoke} --json /nonexist/x)
    set_tests_properties(perf.layer.refuses.json PROPERTIES TIMEOUT 60 LABELS perf PASS_REGULAR_EXPRESSION "^/nonexist/x: ")
    foreach(line "a heads=2 nq=5 d=64 model=0" "a nq=5 d=64 weights=int8" "a nq=5 d=64 ropes" "a nq=5 nk=4 d=64"
            "a nq=5 d=64 page=4" "a nq=5 d=64 kv_type=bf16" "a nq=5 d=64 softcap=5" "a nq=5 d=64 alibi" "rope nq=5")
      string(MAKE_C_IDENTIFIER "${line}" name)
      add_test(NAME perf.layer.refuses.${name} COMMAND sa_layer_bench --shape ${line})
      set_tests_properties(perf.layer.refuses.${name} PROPERTIES PASS_REGULAR_EXPRESSION "^--shape: '" LABELS perf)
    endforeach()
    add_test(NAME perf.layer.usage COMMAND sh -c "\"$1\" --treads 2; [ $? -eq 2 ]" sh $<TARGET_FILE:sa_layer_bench>)
    set_tests_properties(perf.layer.usage PROPERTIES LABELS perf)
  endif()

  # What the optimiser made of the kernels can only be judged where it was let loose.
  if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT SA_SANITIZE)
    add_test(NAME perf.disassemble COMMAND ${PROJECT_SOURCE_DIR}/scripts/disassemble ${PROJECT_BINARY_DIR})
    set_tests_properties(perf.disassemble PROPERTIES SKIP_RETURN_CODE 77 LABELS perf)
  endif()
endif()
