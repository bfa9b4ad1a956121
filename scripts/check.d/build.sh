# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Checks that build, and that look at what was built; sourced by scripts/check, which made
# the directory $work.
# shellcheck disable=SC2154

check_gcc() { # builds without a warning (preset release)
    setup_build release
}

check_clang() { # builds without a warning (preset clang)
    setup_build clang
}

fast_math='-Ofast|-ffast-math|-funsafe-math-optimizations|-ffinite-math-only|-fassociative-math|-freciprocal-math'
fast_math+='|-fno-(signed-zeros|trapping-math|math-errno)|-ffp-contract=(fast|on)|-mdaz-ftz|-mrecip'

check_flags() { # nothing is compiled or linked with fast-math, the library never contracts by itself
    local bad=0
    check_gcc
    [ -e build/release/build.ninja ] || die "this check needs build/release made with ninja: remove it and start again"
    ninja -C build/release -t commands >"$work/commands"
    grep -q sa_objects.dir "$work/commands"
    grep -noE -e "$fast_math|crtfastmath" "$work/commands" | none || bad=1
    grep ' -c .*/sa_objects\.dir/\|/sa_objects\.dir/.* -c ' "$work/commands" | grep -v -e '-ffp-contract=off' | none || bad=1
    c_sources | xargs grep -nE -e '(optimize|fp_contract|FP_CONTRACT|float_control)\b.*["(]' | none || bad=1
    return $bad
}

library_objects() { # BUILD_DIR
    find "$1"/src/CMakeFiles/sa_objects.dir -name '*.o' | sort
}

layer_objects() { # BUILD_DIR
    find "$1"/src/layer/CMakeFiles/sa_layer_objects.dir -maxdepth 1 -name '*.o' | sort
}

mapped_symbols() { # MAP
    sed -n '/global:/,/local:/s/^ *\(sa_[a-z0-9_]*\);.*/\1/p' "$1" | sort
}

same_exports() { # HEADER MAP LIBRARY
    diff <(sed -n 's/^SA_API .*\b\(sa_[a-z0-9_]*\)(.*/\1/p' "$1" | sort) <(mapped_symbols "$2")
    diff <(mapped_symbols "$2") <(nm -D --defined-only "$3" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort)
}

check_exports() { # header, symbol map and shared library name the same functions
    check_gcc
    same_exports include/sa/sa.h src/install/libsa.map build/release/src/libsa.so
    same_exports include/sa/layer.h src/install/libsa_layer.map build/release/src/layer/libsa_layer.so
}

check_blas() { # libsa needs no BLAS
    check_gcc
    readelf -d build/release/src/libsa.so | grep -iE 'NEEDED.*(blas|blis|mkl|layer)' | none
}

# Lines "object symbol" for what the library's objects ask of others. Checked variants of the C library's functions
# (__memcpy_chk, __isoc99_sscanf) count as the plain ones.
imported_symbols() { # BUILD_DIR
    local object name
    for object in $(library_objects "$1") $(layer_objects "$1"); do
        name=$(basename "$object" .c.o)
        case $object in */sa_layer_objects.dir/*) name=layer/$name ;; esac
        nm -u "$object" | awk -v object="$name" '$2 !~ /^sa_/ {
            name = $2
            if (name != "__stack_chk_fail") sub(/_chk$/, "", name)
            if (name != $2) sub(/^__/, "", name)
            sub(/^__isoc[0-9]+_/, "", name)
            print object, name
        }'
    done
}

check_imports() { # every object asks only for the functions scripts/check.d/imports grants it
    check_gcc
    imported_symbols build/release | awk '
        FNR == NR { if (!/^#/ && NF) { rule[++n] = "^(" $1 ")$"; for (i = 2; i <= NF; i++) granted[n, $i] = 1; next } next }
        {
            ok = 0
            for (r = 1; r <= n && !ok; r++) ok = ((r, $1) in granted || (r, "*") in granted) && $2 ~ rule[r]
            if (!ok) { print $1 ".c uses " $2 ": not granted in scripts/check.d/imports"; bad = 1 }
        }
        END { exit bad || FNR < 10 }' scripts/check.d/imports -
}

check_state() { # kernels have no variables of their own
    check_gcc
    library_objects build/release | grep /kernels/ | xargs size -A |
        awk '/:$/ { file = $1 } /^\.t?(data|bss) / && $2 > 0 { print file, $0; bad = 1 } END { exit bad }'
}

check_kernel_code() { # no register spills in hot loops, no instruction above the kernel's instruction set, both compilers
    local build status
    check_gcc
    check_clang
    for build in build/release build/clang; do
        status=0
        scripts/disassemble $build || status=$?
        [ $status -eq 0 ] || [ $status -eq 77 ] || return $status # 77: nothing to look at on this machine
    done
}

check_fast_math() { # loading the library does not set flush-to-zero: no crtfastmath.o in it
    check_gcc
    nm build/release/src/libsa.so | grep set_fast_math | none
}

check_aarch64() { # the library's objects compile for 64-bit Arm
    local dir file includes bad=0 flags="-std=c11 -O3 -fPIC -fopenmp -fvisibility=hidden -ffp-contract=off -fno-strict-aliasing
        -Wall -Wextra -Wpedantic -Wshadow -Wundef -Wdouble-promotion -Wconversion -Wno-sign-conversion -Werror
        -D_GNU_SOURCE -Iinclude -Isrc"
    dir=$work/aarch64
    # hwloc's headers, this machine's, are the same on every 64-bit processor; its library is not needed for objects.
    mkdir -p "$dir/include"
    includes=$(pkg-config --variable=includedir hwloc)
    cp -r "$includes"/hwloc* "$dir/include/"
    [ ! -e "$includes/$(gcc -print-multiarch)/hwloc" ] || cp -r "$includes/$(gcc -print-multiarch)/hwloc" "$dir/include/"
    for file in src/*.c src/kernels/{table,generic}.c; do
        # shellcheck disable=SC2086 # flags are words
        aarch64-linux-gnu-gcc $flags -I"$dir/include" -c "$file" -o "$dir/$(basename "$file" .c).o" || bad=1
    done
    return $bad
}

# ---- the test suite ----

run_tests() { # PRESET [CTEST_ARGUMENT...]
    local preset=$1
    shift
    setup_build "$preset"
    ctest --preset "$preset" --no-tests=error -j "$(nproc)" "$@" </dev/null
}

check_gcc_tests() { # the test suite passes
    run_tests release
}

check_clang_tests() { # the test suite passes
    run_tests clang
}

check_sanitize_tests() { # the test suite passes under the address, leak and undefined-behaviour sanitizers
    ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
        run_tests sanitize
}

check_races() { # calls from many threads, teams that come and go, forks: no data race that the thread sanitizer finds
    local archer tests=(team seats fork options splits abreast attend copies decode merge append_calls layer_calls layer_fork)
    tests=("${tests[@]/#/test_}")
    # Archer tells it what waits for what in clang's OpenMP runtime, which was not built for it.
    archer=$(realpath "$(clang-14 -print-resource-dir)/../../libarcher.so")
    [ -e "$archer" ] || die "no libarcher.so where clang-14 has its libraries"
    setup_build races "${tests[@]}"
    OMP_TOOL_LIBRARIES=$archer TSAN_OPTIONS=ignore_noninstrumented_modules=1:die_after_fork=0 \
        ctest --preset races --no-tests=error -j "$(nproc)" -R "^($(tr ' ' '|' <<<"${tests[*]}"))\$" </dev/null
}
