#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs scripts/cheaper on small inputs: its figures against NumPy's, what it writes, errors.
# usage: test_cheaper.sh PATH_OF_CHEAPER
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
main=$here/../scripts/cheaper.d/main.py
program=$1
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# shellcheck source=scripts/setup.sh
. "$here/../scripts/setup.sh"
if ! python=$(plot_python); then
    echo "SKIPPED: no Python here has NumPy and matplotlib"
    exit 77
fi

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

cheaper() { "$python" -B "$main" --program "$program" --repeats 1 --threads 1 --out "$out/run" "$@"; }

status_of() { # COMMAND...
    local status=0
    "$@" >"$out/stdout" 2>"$out/stderr" || status=$?
    echo $status
}

npy=("$here/data/animal_layer3_q.npy" "$here/data/animal_layer3_k.npy" "$here/data/animal_layer3_v.npy")

test_figures() { # Windows, lists and choices, pairs, mass and error, as NumPy finds them.
    "$python" -B "$here/test_cheaper.py" "$program" "${npy[@]}"
}

test_whole_run() {
    cheaper "$here/data/animal.safetensors" --block 4 >"$out/table"
    grep -qE '^\* exact +100\.0 % .* 1\.00 +1\.0000 +1\.0000 +0\.0000 +0\.000$' "$out/table" ||
        fail "no line of the exact result"
    grep -qE '^  top 1 block +25\.0 %' "$out/table" || fail "no line of the best block"
    ! grep -q '^\* top' "$out/table" || fail "what is known afterwards only is recommended"
    [ "$(wc -l <"$out/run/cheaper.csv")" -eq $(($(grep -cE '^[* ] [a-z0-9].* % ' "$out/table") + 1)) ] ||
        fail "cheaper.csv and the table have not the same patterns"
    [ "$(head -c 4 "$out/run/cheaper.png" | tail -c 3)" = PNG ] || fail "cheaper.png is no picture"
}

# A NaN in the input is told, not measured.
test_no_numbers() {
    { head -c 128 "${npy[2]}" && printf '\0\0\xc0\x7f' && tail -c +133 "${npy[2]}"; } >"$out/v.npy"
    [ "$(status_of cheaper "${npy[0]}" "${npy[1]}" "$out/v.npy")" -eq 1 ] || fail "NaN was measured"
    grep -q '^cheaper: the exact result holds NaN' "$out/stderr" || fail "NaN is not named"
}

test_usage() {
    [ "$(status_of cheaper --pattern window)" -eq 2 ] || fail "--pattern window: not refused"
    [ "$(status_of cheaper a b)" -eq 2 ] || fail "two files: not refused"
    [ "$(status_of "$here/../scripts/cheaper" --help)" -eq 0 ] || fail "--help fails"
    [ "$(status_of cheaper "$out/none.safetensors")" -eq 1 ] || fail "no file"
    grep -q '^cheaper: .*none.safetensors' "$out/stderr" || fail "the missing file is not named"
    [ "$(status_of "$program")" -eq 2 ] || fail "the program without files: not refused"
    local pattern
    for pattern in window window:0 sink:4 window:4+1 sink:4+ top:x best:4; do
        [ "$(status_of "$program" "${npy[@]}" --pattern "$pattern")" -eq 2 ] || fail "--pattern $pattern: not refused"
    done
}

for name in figures whole_run no_numbers usage; do
    "test_$name"
    echo "$name: passed"
done
