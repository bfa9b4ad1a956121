#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What the other scripts share: installs the packages that are missing, configures and builds. They source it:
#
#     . "$(dirname "$0")/setup.sh"
#     setup_packages "${build_packages[@]}"
#     setup_build release
#
# Called by itself it does both for the preset release.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Packages of Debian and Ubuntu, and after the colon how to see, on any system, that what is in them is there already:
# a command, or a module known to pkg-config with its oldest version.
build_packages=(
    "gcc: command gcc"
    "libc6-dev: header stdio.h"
    "cmake: command cmake"
    "ninja-build: command ninja"
    "pkg-config: command pkg-config"
    "libhwloc-dev: module hwloc 2.9" # threads and cores: the library
    "check: module check 0.15"       # tests
    "libsimde-dev: header simde/x86/avx512.h" # tests: AVX-512 on processors without
    "python3: command python3"       # tests: scripts/disassemble
    "libjansson-dev: module jansson 2.13" # JSON: the program
    "libcairo2-dev: module cairo 1.16"    # pictures: the program
    "libutf8proc-dev: module libutf8proc 2.5" # what characters are: the program
    "libopenblas-dev: module openblas 0.3" # products: the layer
)
# shellcheck disable=SC2034 # for scripts/scaling and scripts/cheaper, and scripts/test that tries them
plot_packages=(
    "python3-matplotlib: python matplotlib" # and with it NumPy
)
# shellcheck disable=SC2034 # for scripts/check
check_packages=(
    "clang-14: command clang-14"
    "libomp-14-dev: none"
    "libclang-rt-14-dev: none"
    "clang-format-14: command clang-format-14"
    "gcc-aarch64-linux-gnu: command aarch64-linux-gnu-gcc"
)
oldest_cmake=3.25

say() { printf '== %s\n' "$*"; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# ---- packages ----

is_debian() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }

package_installed() { # PACKAGE
    is_debian && [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# The Python that has NumPy and matplotlib: one that stands first in the path need not be the system's.
plot_python() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import numpy, matplotlib' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

probe() { # command NAME | header NAME | module NAME VERSION | python MODULE | none
    case $1 in
    command) "$2" --version >/dev/null 2>&1 ;;
    header) [ -e "/usr/include/$2" ] ;;
    module) command -v pkg-config >/dev/null && pkg-config --exists "$2 >= $3" ;;
    python) python3 -c "import $2" 2>/dev/null ;;
    *) false ;;
    esac
}

missing_packages() { # "PACKAGE: PROBE"...
    local need
    for need in "$@"; do
        # shellcheck disable=SC2086 # a probe is words
        package_installed "${need%%:*}" || probe ${need#*:} || echo "${need%%:*}"
    done
}

# How to become root: nothing, sudo without a password, sudo that asks, or "no".
root_command() {
    if [ "$(id -u)" -eq 0 ]; then
        echo env
    elif sudo -n true 2>/dev/null; then
        echo "sudo -n env"
    elif command -v sudo >/dev/null && [ -t 0 ] && [ -t 2 ]; then
        echo "sudo env"
    else
        echo no
    fi
}

install_packages() { # PACKAGE...
    local as_root log status=0
    as_root=$(root_command)
    if [ "$as_root" = no ]; then
        echo "These packages are missing: $*"
        echo "Installing them needs root. Please run this, then start again:"
        echo
        if command -v sudo >/dev/null; then
            echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
        else
            echo "    su -c 'apt-get update && apt-get install -y --no-install-recommends $*'"
        fi
        exit 1
    fi
    say "installing $*"
    log=$(mktemp)
    {
        $as_root DEBIAN_FRONTEND=noninteractive apt-get update &&
            $as_root DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
    } >"$log" 2>&1 </dev/null || status=$?
    [ $status -eq 0 ] || tail -n 30 "$log" >&2
    rm -f "$log"
    [ $status -eq 0 ] || die "apt-get failed (its last words are above); is there a network?"
}

setup_packages() { # "PACKAGE: PROBE"...
    local missing
    missing=$(missing_packages "$@" | xargs)
    if [ -n "$missing" ] && is_debian; then
        # shellcheck disable=SC2086 # they are words
        install_packages $missing
    elif [ -n "$missing" ]; then
        echo "This is neither Debian nor Ubuntu, and what these packages of theirs hold was not found here:"
        echo "    $missing"
        die "please install what your system calls them, then start again"
    fi
    check_cmake
}

check_cmake() {
    local version
    version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
    [ "$(printf '%s\n' $oldest_cmake "$version" | sort -V | head -n 1)" = $oldest_cmake ] ||
        die "cmake $oldest_cmake or newer is needed, $(command -v cmake) is $version (Debian 12 and Ubuntu 24.04 have it)"
}

# ---- building ----

# Quiet unless something goes wrong.
run_logged() { # LOG COMMAND...
    local log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null || {
        tail -n 60 "$log" >&2
        die "this failed, see $log: $*"
    }
}

setup_build() { # PRESET [TARGET...]
    local preset=$1 build=$project/build/$1
    shift
    mkdir -p "$build"
    # A tree that was configured before keeps its generator.
    if [ ! -e "$build/CMakeCache.txt" ]; then
        export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja}
    fi
    say "building in build/$preset"
    (
        cd "$project"
        run_logged "$build/configure.log" cmake --preset "$preset"
        run_logged "$build/build.log" cmake --build --preset "$preset" --parallel "$(nproc)" ${1:+--target "$@"}
    )
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    if [ $# -gt 0 ]; then
        sed -n '4,10s/^# \{0,1\}//p' "$0"
        exit 0
    fi
    setup_packages "${build_packages[@]}"
    setup_build release
fi
