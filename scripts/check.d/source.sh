# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Checks that read the sources; sourced by scripts/check, which runs each in the project's directory.

c_sources() { # [DIR...]
    [ $# -gt 0 ] || set -- include src tests perf
    find "$@" -name '*.[ch]' | sort
}

# Passes its input on and fails if there is any.
none() {
    local text
    text=$(cat)
    [ -z "$text" ] || { printf '%s\n' "$text" && return 1; }
}

# The lines of the files on stdin that match; there must be none. Comments do not count.
refuse() { # WHY PATTERN
    local file
    while read -r file; do
        without_comments "$file" | grep -nE -e "$2" | sed "s|^|$file:|; s|\$|    <- $1|"
    done | none
}

# The same number of lines; strings are taken for code.
without_comments() { # FILE
    awk '{
        line = $0; code = ""
        while (line != "") {
            if (inside) {
                at = index(line, "*/")
                if (!at) break
                line = substr(line, at + 2); inside = 0
            }
            block = index(line, "/*"); rest = index(line, "//")
            if (rest && (!block || rest < block) && substr(line, rest - 1, 1) != ":") { code = code substr(line, 1, rest - 1); break }
            if (!block) { code = code line; break }
            code = code substr(line, 1, block - 1); line = substr(line, block + 2); inside = 1
        }
        print code
    }' "$1"
}

# "file header" for every #include "..." of the files on stdin.
quoted_includes() {
    xargs -r sed -n -s -e '/^ *# *include *"/{F' -e 's/.*"\(.*\)".*/\1/p}' | paste -d ' ' - -
}

check_format() { # clang-format changes nothing; the shortest program is laid out for the header that quotes it
    c_sources | grep -vx -e tests/shortest.c -e tests/shortest_layer.c | xargs clang-format-14 --dry-run -Werror
}

check_licence() { # every source begins with its SPDX line
    local file bad=0
    while read -r file; do
        head -n 3 "$file" | grep -q 'SPDX-License-Identifier: MIT' && continue
        echo "$file: no SPDX line at the top"
        bad=1
    done < <({
        c_sources
        find . -path ./build -prune -o \( -name CMakeLists.txt -o -name '*.cmake' -o -name '*.cmake.in' -o -name '*.py' -o \
            -name '*.sh' \) -print
        find scripts .ci -type f
    } | sort -u)
    return $bad
}

check_length() { # no file of more than 800 lines
    find include src tests perf scripts -type f -regex '.*\.\([ch]\|py\|sh\|cmake\|txt\)' ! -path 'tests/data/*' -print0 |
        xargs -0 wc -l | awk '$2 != "total" && $1 > 800 { print $2 ": " $1 " lines"; bad = 1 } END { exit bad }'
}

check_shell() { # scripts are valid bash, and clean for shellcheck where that is installed
    local file bad=0
    while read -r file; do
        bash -n "$file" || bad=1
        ! command -v shellcheck >/dev/null || shellcheck -x -P scripts "$file" || bad=1
    done < <(find .ci scripts tests perf -type f -print0 | xargs -0 grep -lE '^#!/bin/(ba)?sh|^# shellcheck shell=' | sort)
    return $bad
}

# ---- who may know whom: DESIGN, "an arrow points only down" ----

# Level of a file of the library according to scripts/check.d/layers; a larger one is further down.
level_of() { # FILE BELOW src
    local module=${1%.[ch]}
    case $module in kernels/*) module=kernels ;; esac
    awk -v module="$module" '!/^#/ && NF { n++; for (i = 1; i <= NF; i++) if ($i == module) { print n; exit } }' \
        scripts/check.d/layers
}

check_layers() { # includes in the library point down
    local file header from to bad=0
    while read -r file header; do
        file=${file#src/}
        from=$(level_of "$file")
        to=$(level_of "$header")
        if [ -z "$from" ] || [ -z "$to" ]; then
            echo "src/$file includes \"$header\": one of them is not in scripts/check.d/layers"
            bad=1
        elif [ "$from" -gt "$to" ]; then
            echo "src/$file includes \"$header\", which stands above it in scripts/check.d/layers"
            bad=1
        fi
    done < <(find src/*.[ch] src/kernels -name '*.[ch]' | quoted_includes)
    return $bad
}

check_layer() { # libsa_layer sees the public headers, itself, and what asks for memory and sets the floating-point mode
    local file header bad=0
    while read -r file header; do
        [ -e "src/layer/$header" ] && continue
        case $header in memory.h | fpmode.h) continue ;; esac
        echo "$file includes \"$header\""
        bad=1
    done < <(c_sources src/layer | quoted_includes)
    return $bad
}

check_kernels() { # kernels know nothing but their contract
    local bad=0
    c_sources src/kernels | xargs grep -nE '^ *# *include' |
        grep -vE '"kernels/[a-z0-9_]+\.h"|<(math|stdbool|stddef|stdint|string|immintrin|arm_neon|sa/sa)\.h>' | none || bad=1
    c_sources src/kernels |
        refuse "kernels know no threads, errors or allocation" \
            '\b(malloc|free|alloca|pthread_[a-z_]+|omp_[a-z_]+|getenv) *\(|\berrno\b|_Thread_local' ||
        bad=1
    return $bad
}

check_pure() { # what can be run for machines nobody here has touches none
    printf '%s\n' src/{validate,plan,parts,cost,simulate,visibility}.[ch] |
        refuse "impure" '# *include *<(stdio|stdlib|pthread|omp|hwloc|unistd|sched|time|signal|sys/.*)\.h>|\b(getenv|time|clock) *\('
}

check_hwloc() { # only machine.c and bind.c see hwloc
    c_sources | grep -vx -e src/machine.c -e src/bind.c -e 'tests/.*' | refuse "hwloc" '# *include *[<"]hwloc'
}

check_openmp() { # only team.c has a parallel region
    c_sources include src | grep -v '^src/cli/' | grep -vx src/team.c | refuse "OpenMP" '# *pragma +omp|_Pragma *\( *"omp'
}

check_memory() { # only memory.c allocates
    c_sources src | grep -v '^src/cli/' | grep -vx src/memory.c |
        refuse "memory.c does that" '\b(malloc|calloc|realloc|reallocarray|free|aligned_alloc|posix_memalign|memalign|valloc|mmap|munmap|alloca|strdup|strndup|asprintf|vasprintf|getline|open_memstream) *\('
}

check_manners() { # the library does not print, stop the process or change its settings
    c_sources include src | grep -v '^src/cli/' |
        refuse "not in someone else's process" '\b(abort|exit|_exit|_Exit|quick_exit|atexit|assert|printf|puts|putchar|perror|raise|kill|signal|sigaction|setenv|unsetenv|putenv|setlocale|omp_set_[a-z_]+|(pthread|sched)_setaffinity(_np)?|fesetround|fesetenv|feenableexcept|longjmp|system|popen) *\(|\b(stdout|stderr)\b|# *include *<assert\.h>'
}

check_program() { # the program uses the public interface only
    local file header bad=0
    while read -r file header; do
        [ -e "src/cli/$header" ] && continue
        case $header in reference.h | bound.h | elements.h | peak.h | read_rate.h | bench_shape.h | bench_case.h | bench_stats.h | isa.h | standard.h) continue ;; esac
        echo "$file includes \"$header\""
        bad=1
    done < <(c_sources src/cli | quoted_includes)
    return $bad
}

check_reference() { # the float64 reference and its error bound share nothing with the library but the public header
    find tests -maxdepth 1 -name reference.c | grep -q .
    find tests -maxdepth 1 -name 'reference*.[ch]' -o -maxdepth 1 -name 'bound.[ch]' -o -maxdepth 1 -name 'elements.[ch]' |
        quoted_includes | grep -vE ' (reference|bound|elements)\.h$' | none
}
