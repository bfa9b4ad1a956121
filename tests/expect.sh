# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What tests of the program share; sourced, and ended with `report`. $dir is a directory for their files.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# expect STATUS PATTERN COMMAND...: the exit status, and a line of its output (both streams) that matches.
expect() {
    local status=$1 pattern=$2 out got
    shift 2
    out=$("$@" 2>&1 </dev/null)
    got=$?
    [ "$got" -eq "$status" ] || fail "exit $got instead of $status: $* ($out)"
    grep -aqE -- "$pattern" <<<"$out" || fail "no '$pattern' in the output of: $* ($out)"
}

# refuse STATUS PATTERN COMMAND...: one line on standard error, nothing on the other, no file left behind.
refuse() {
    expect "$@"
    shift 2
    [ "$("$@" 2>&1 >/dev/null </dev/null | wc -l)" -eq 1 ] || fail "not one line: $*"
    [ -z "$(find "$dir" -name 'bad*')" ] || fail "left behind by $*: $(find "$dir" -name 'bad*')"
}

report() {
    [ "$failures" -eq 0 ] && echo "all as expected"
    exit $((failures > 0))
}
