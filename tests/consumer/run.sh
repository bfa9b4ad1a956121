#!/bin/bash
# SPDX-License-Identifier: MIT
set -euo pipefail

usage() {
    cat <<'END'
usage: tests/consumer/run.sh find_package|pkg_config|add_subdirectory BUILD_DIR

Builds the program at the top of sa.h, and where there is libsa_layer that of layer.h, the way another project would, with
the shared and with the static library, and checks what they print. BUILD_DIR is a finished build of libsa; the library of the other kind is built in
BUILD_DIR/consumer. ctest runs this as consumer.*; from there come, all optional, the environment variables
CMAKE (cmake), CMAKE_GENERATOR, CC (cc), CFLAGS, BUILD_TYPE (Release) and SA_SANITIZE.
END
}

fail() {
    echo "consumer: $*" >&2
    exit 1
}

case "${1-}" in -h | --help) usage && exit 0 ;; esac
[ $# -eq 2 ] || { usage >&2 && exit 2; }
mode=$1
build=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
source_dir=$(cd "$here/../.." && pwd)

cmake=${CMAKE:-cmake}
export CC=${CC:-cc} CFLAGS=${CFLAGS-}
if [ -n "${SA_SANITIZE-}" ]; then
    CFLAGS+=" -fsanitize=$SA_SANITIZE"
fi
mkdir -p "$build/consumer"
work=$(mktemp -d "$build/consumer/$mode.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Row 0 scores (9, 0, 0) / sqrt(4), row 1 (0, 9, 0) / 2, and only key 0 has a value, 1: e^4.5 / (e^4.5 + 2) and
# 1 / (e^4.5 + 2).
right="0.978265 0.010868"
# The last token's scores are all 0: the mean of (9, 0), (0, 9) and (0, 0).
layer_right="3.000000 3.000000"

check_program() { # RIGHT PROGRAM...
    local right=$1 printed
    shift
    printed=$("$@") || fail "$* failed: $printed"
    [ "$printed" = "$right" ] || fail "$* printed '$printed' instead of '$right'"
}

check_consumers() { # BUILD_DIR
    check_program "$right" "$1/consumer"
    [ ! -e "$1/layer_consumer" ] || check_program "$layer_right" "$1/layer_consumer"
}

configure() { # CMAKE_ARGUMENT...
    "$cmake" -DCMAKE_BUILD_TYPE="${BUILD_TYPE:-Release}" "$@" >"$work/configure.log" ||
        { cat "$work/configure.log" && fail "configuring failed: $*"; }
}

compile() { # DIR
    "$cmake" --build "$1" >"$work/build.log" || { cat "$work/build.log" && fail "building in $1 failed"; }
}

shared_libs_of() { # BUILD_DIR: ON or OFF
    case $(sed -n 's/^BUILD_SHARED_LIBS:[A-Z]*=//p' "$1/CMakeCache.txt") in
    ON | on | TRUE | true | YES | yes | 1) echo ON ;;
    *) echo OFF ;;
    esac
}

# Installs the library of one kind into a temporary prefix and moves that, so that nothing may rely on where it was
# built or installed first. Sets prefix and libdir.
install_library() { # ON|OFF
    local from=$build
    if [ "$(shared_libs_of "$build")" != "$1" ]; then
        from=$build/consumer/shared_$1
        configure -S "$source_dir" -B "$from" -DBUILD_SHARED_LIBS="$1" -DBUILD_TESTING=OFF -DSA_BUILD_PROGRAM=OFF \
            -DSA_BUILD_PERF=OFF -DSA_SANITIZE="${SA_SANITIZE-}"
        compile "$from"
    fi
    "$cmake" --install "$from" --prefix "$work/first" >"$work/install.log" || { cat "$work/install.log" && exit 1; }
    prefix=$work/prefix_$1
    mv "$work/first" "$prefix"
    libdir=$(dirname "$(find "$prefix" -name 'libsa.so' -o -name 'libsa.a')")
    if grep -rIlF -e "$source_dir" -e "$work/first" "$libdir/cmake" "$libdir/pkgconfig"; then
        fail "these files name a directory of the build"
    fi
}

try_find_package() { # ON|OFF
    install_library "$1"
    configure -S "$here" -B "$work/find_$1" -DCMAKE_PREFIX_PATH="$prefix"
    compile "$work/find_$1"
    check_consumers "$work/find_$1"
}

try_pkg_config() { # ON|OFF
    install_library "$1"
    try_module "$1" sa shortest "$right"
    [ ! -e "$libdir/pkgconfig/sa_layer.pc" ] || try_module "$1" sa_layer shortest_layer "$layer_right"
    [ ! -e "$libdir/libsa_layer.so" ] || check_layer_alone
}

# A program that opens libsa_layer by its path, as those in other languages do, need not say where libsa is.
check_layer_alone() {
    local needed
    needed=$(env -u LD_LIBRARY_PATH ldd "$libdir/libsa_layer.so")
    grep -qE 'libsa\.so\.[0-9]+ => /.*/prefix_' <<<"$needed" ||
        fail "libsa_layer does not find the libsa that is installed beside it"
}

try_module() { # ON|OFF MODULE PROGRAM RIGHT
    local flags
    flags=$(PKG_CONFIG_PATH=$libdir/pkgconfig:${PKG_CONFIG_PATH-} pkg-config --cflags --libs "$2")
    # shellcheck disable=SC2086 # flags are words
    $CC $CFLAGS "$here/../$3.c" $flags -o "$work/$3_$1"
    check_program "$4" env LD_LIBRARY_PATH="$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$work/$3_$1"
}

try_add_subdirectory() { # ON|OFF
    configure -S "$here" -B "$work/sub_$1" -DSA_SOURCE_DIR="$source_dir" -DBUILD_SHARED_LIBS="$1"
    compile "$work/sub_$1"
    check_consumers "$work/sub_$1"
}

case $mode in
find_package | pkg_config | add_subdirectory) ;;
*) usage >&2 && exit 2 ;;
esac
for shared in ON OFF; do
    "try_$mode" "$shared"
    echo "consumer: $mode with BUILD_SHARED_LIBS=$shared: correct"
done
