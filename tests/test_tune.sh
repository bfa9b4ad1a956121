#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: test_tune.sh PROJECT BUILD run|quota|plot    scripts/tune_threads from end to end, on tiny sizes.
set -u
project=$1
tune=$project/scripts/tune_threads
build=$2
part=$3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# run STATUS ARGUMENT...: its output goes to $dir/out and $dir/err.
run() {
    local status=$1 got
    shift
    "$tune" --build "$build" --out "$dir/out dir" --quiet "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    [ "$got" -eq "$status" ] || fail "exit $got instead of $status: $* ($(cat "$dir/out" "$dir/err"))"
}

has() { grep -qE -- "$2" "$dir/$1" || fail "no '$2' in $1: $(cat "$dir/$1")"; }

# A usage error: status 2, the last line of standard error says what, nothing on standard output.
refuse() { # PATTERN ARGUMENT...
    local pattern=$1
    shift
    run 2 "$@"
    tail -n 1 "$dir/err" | grep -qE -- "$pattern" || fail "no '$pattern' for: $* ($(cat "$dir/err"))"
    [ ! -s "$dir/out" ] || fail "printed by $*: $(cat "$dir/out")"
}

skip() {
    echo "skipped: $*"
    exit 77
}

tiny=(--shape 'tiny heads=2 nq=40 d=16 causal' --shape 'one heads=4 kv=2 nq=1 nk=90 d=8' --seconds 0)

test_run() {
    local n
    n=$(grep -cv '^ *\(#\|$\)' "$project/perf/shapes/smoke.txt")
    # One round says nothing, and that is what it must say.
    run 0 --shapes smoke.txt --seconds 0 --rounds 1
    has out '^recommendation: keep the default: too few rounds'
    has out '^  because '
    has out '^default .* 1\.00x '
    has out "^shapes +$n: plain, "
    [ ! -s "$dir/err" ] || fail "on standard error, with --quiet: $(cat "$dir/err")"
    local csv="$dir/out dir/tune.csv"
    head -n 1 "$csv" | grep -q '^round,stage,configuration,.*,shape,seconds,' || fail "CSV header: $(head -n 1 "$csv")"
    grep -q '^1,threads,default,' "$csv" || fail "no round of the default: $(cat "$csv")"
    [ $((($(wc -l <"$csv") - 1) % n)) -eq 0 ] || fail "not $n shapes a run in the CSV"

    run 0 "${tiny[@]}" --rounds 8 --threads 1 --cpus "$(first_cpu)"
    has out "CPUs $(first_cpu) \(--cpus\)"
    has out '^recommendation: '
    run 0 "${tiny[@]}" --rounds 1 --callers 2
    has out 'latency +p99'
    OMP_NUM_THREADS=1 run 0 "${tiny[@]}" --rounds 1
    has out '^set here +OMP_NUM_THREADS=1'
    has out '^as set here '
    run 0 --preset callers --seconds 0 --rounds 1 --threads 1
    has out '^left out .*prefill-1024.*--seconds keeps more'

    refuse "'tiny': d is missing" --shape 'tiny nq=5'
    refuse "not a file" --shapes /nowhere/shapes.txt
    refuse "no list of CPUs" --cpus 0-
    refuse "may not be used here" --cpus 65535
    refuse "not a number" --quota none
    refuse "invalid choice" --preset all
    refuse "unrecognized" --nothing
    run 0 --help
    has out 'usage: tune_threads'
}

first_cpu() { taskset -cp $$ | sed 's/.*: \([0-9]*\).*/\1/'; }

test_quota() {
    "$tune" --build "$build" --out "$dir/out dir" --quiet "${tiny[@]}" --rounds 1 --threads 1 --quota 1 \
        >"$dir/out" 2>"$dir/err"
    local status=$?
    ! grep -q 'not permitted here' "$dir/err" || skip "$(cat "$dir/err")"
    [ "$status" -eq 0 ] || fail "exit $status: $(cat "$dir/err")"
    has out '^in +a control group of its own with a quota of 1 CPU'
    has out ' throttled '
    has out '^recommendation: '
    local group
    group=$(sed -n 's/^in .*: //p' "$dir/out")
    [ ! -e "$group" ] || fail "left behind: $group"
}

test_plot() {
    "$tune" --build "$build" --out "$dir/out dir" --quiet "${tiny[@]}" --rounds 1 --plot >"$dir/out" 2>"$dir/err"
    local status=$?
    ! grep -q 'matplotlib is missing' "$dir/err" || skip "the plot: python3-matplotlib is missing"
    [ "$status" -eq 0 ] || fail "exit $status: $(cat "$dir/err")"
    [ "$(head -c 4 "$dir/out dir/tune.png" | tail -c 3)" = PNG ] || fail "tune.png is no PNG"
}

case $part in
run) test_run ;;
quota) test_quota ;;
plot) test_plot ;;
*) fail "there is no part '$part'" ;;
esac
[ "$failures" -eq 0 ] && echo "all as expected"
exit $((failures > 0))
