#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs scripts/scaling on tiny sizes: a whole run, a run that is interrupted and goes on, what ends a series, errors.
# Usage: test_scaling.sh PATH_OF_SCALE_POINT
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
main=$here/../scripts/scaling.d/main.py
program=$1
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
unset OMP_NUM_THREADS OMP_PROC_BIND OMP_PLACES GOMP_CPU_AFFINITY SA_MAX_ISA

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

scaling() { # [OPTION...]: lengths from 64 to 512, hundredths of a second each
    "$python" -B "$main" --program "$program" --min-n 64 --max-n 512 --window 64 --point-seconds 0.01 --seconds 200 \
        --threads 1,2 --quiet "$@"
}

status_of() { # COMMAND...
    local status=0
    "$@" >"$out/stdout" 2>"$out/stderr" || status=$?
    echo $status
}

# Every key once, every line whole. Prints how many.
count_points() { # FILE
    "$python" - "$1" <<'END'
import json, sys
with open(sys.argv[1], encoding="ascii") as file:
    keys = [json.dumps([record["setting"], record["key"]], sort_keys=True) for record in map(json.loads, file)]
assert len(set(keys)) == len(keys), "a point was measured twice"
print(len(keys))
END
}

expect_points() { # FILE NUMBER
    local n
    n=$(count_points "$1")
    [ "$n" -eq "$2" ] || fail "$1 has $n points, not $2"
}

test_whole_run() {
    scaling --out "$out/whole" --series full,causal,window,sink,matrix
    expect_points "$out/whole/points.jsonl" 40 # 5 series, 2 teams, 4 lengths
    [ "$(wc -l <"$out/whole/results.csv")" -eq 41 ] || fail "results.csv has not a line a point and a head"
    local name
    for name in time peak memory; do
        [ "$(head -c 4 "$out/whole/$name.png" | tail -c 3)" = PNG ] || fail "$name.png is no picture"
        grep -q '</svg>' "$out/whole/$name.svg" || fail "$name.svg is not whole"
        grep -q "($name.png)" "$out/whole/REPORT.md" || fail "REPORT.md does not show $name.png"
    done
    grep -q '^| causal, 2 threads | 2 | -\?[0-9]' "$out/whole/REPORT.md" || fail "REPORT.md has no exponent"
}

test_same_command_measures_nothing() {
    cp "$out/whole/points.jsonl" "$out/before"
    scaling --out "$out/whole" --series full,causal,window,sink,matrix
    cmp "$out/before" "$out/whole/points.jsonl" || fail "a finished run was measured again"
    scaling --out "$out/whole" --report
    cmp "$out/before" "$out/whole/points.jsonl" || fail "--report measured"
}

# Points of another library are kept, not shown: of the whole run the baseline is left, of a series nothing.
test_another_library() {
    mkdir "$out/other"
    sed 's/"library": "[0-9a-f]*"/"library": "0"/' "$out/whole/points.jsonl" >"$out/other/points.jsonl"
    cmp -s "$out/whole/points.jsonl" "$out/other/points.jsonl" && fail "the points do not name their library"
    [ "$(status_of scaling --out "$out/other" --report)" -eq 0 ] || fail "a report of the baseline alone"
    [ "$(wc -l <"$out/other/results.csv")" -eq 9 ] || fail "the baseline's 2 teams, 4 lengths are not what is reported"
    [ "$(status_of scaling --out "$out/other" --report --series full)" -eq 1 ] || fail "a report of another library"
    grep -q 'the 32 points there are of another library' "$out/stderr" || fail "the others are not named"
}

# Stopped by a signal after a few points, and then as if a line had been half written.
test_interruption() {
    local store=$out/stopped/points.jsonl pid status=0 kept
    # Not the function: the signal is for Python, and the shell around a function would not pass it on.
    local -a command=("$python" -B "$main" --program "$program" --out "$out/stopped" --min-n 64 --max-n 512
        --series "full,causal,matrix" --threads "1,2" --point-seconds 0.01 --seconds 200 --quiet)
    "${command[@]}" 2>"$out/stderr" &
    pid=$!
    while [ ! -e "$store" ] || [ "$(wc -l <"$store")" -lt 3 ]; do
        kill -0 $pid 2>/dev/null || fail "it ended before it could be stopped: $(cat "$out/stderr")"
        sleep 0.01
    done
    kill -TERM $pid
    wait $pid || status=$?
    [ $status -eq 130 ] || fail "interrupted: status $status, not 130"
    grep -q 'the same command goes on' "$out/stderr" || fail "it does not say how to go on"
    kept=$(count_points "$store")
    [ "$kept" -lt 24 ] || fail "it was not stopped"
    cp "$store" "$out/before"
    printf '{"setting": {"libr' >>"$store"
    "${command[@]}" >/dev/null
    expect_points "$store" 24
    cmp -n "$(stat -c %s "$out/before")" "$out/before" "$store" || fail "points from before were touched"
}

# Another kernel is another machine as far as points are concerned.
test_settings_do_not_mix() {
    SA_MAX_ISA=generic scaling --out "$out/stopped" --series full --max-n 128 >/dev/null
    expect_points "$out/stopped/points.jsonl" 28
    grep -q '^- 1[0-9]* points in points.jsonl are of other' "$out/stopped/REPORT.md" ||
        fail "old points are not told of"
}

test_memory_ends_a_series() {
    scaling --out "$out/memory" --series causal,matrix --max-memory 512K
    grep -q '^- Longest n by memory.*n × n matrix, 2 threads' "$out/memory/REPORT.md" ||
        fail "REPORT.md does not say that the matrix was too large"
}

test_fresh() {
    scaling --out "$out/memory" --series causal --max-n 128 --fresh
    expect_points "$out/memory/points.jsonl" 4
}

# A point that fails is named, ends its series, and is measured next time.
test_failure() {
    cat >"$out/liar" <<END
#!/bin/bash
case "\$*" in *nq=256*) echo "bench: causal is WRONG" >&2 && exit 1 ;; esac
exec "$program" "\$@"
END
    chmod +x "$out/liar"
    [ "$(status_of scaling --program "$out/liar" --out "$out/failed" --series causal)" -eq 1 ] ||
        fail "a wrong point passed"
    grep -q 'n = 256: bench: causal is WRONG' "$out/stderr" || fail "the wrong point is not named"
    grep -q '^- FAILED: causal, 1 thread, n = 256' "$out/failed/REPORT.md" ||
        fail "REPORT.md does not tell of the failure"
    expect_points "$out/failed/points.jsonl" 4
    scaling --out "$out/failed" --series causal
    expect_points "$out/failed/points.jsonl" 8
}

test_usage() {
    [ "$(status_of scaling --series all)" -eq 2 ] || fail "--series all: not refused"
    [ "$(status_of scaling --max-n 32)" -eq 2 ] || fail "--max-n below --min-n: not refused"
    [ "$(status_of "$here/../scripts/scaling" --help)" -eq 0 ] || fail "--help fails"
    [ "$(status_of scaling --out "$out/none" --report)" -eq 1 ] || fail "a report of nothing"
    [ "$(status_of scaling --program "$out/none.exe" --out "$out/none")" -eq 1 ] || fail "no program"
    grep -q '^scaling: .*none.exe: No such file' "$out/stderr" || fail "the missing program is not named"
    [ "$(status_of "$program")" -eq 2 ] || fail "scale_point without a shape: not refused"
    [ "$(status_of "$program" --shape 'a nq=64 d=64' --threads x)" -eq 2 ] ||
        fail "scale_point --threads x: not refused"
    [ "$(status_of "$program" --shape 'a nq=64')" -eq 2 ] || fail "scale_point without d: not refused"
}

for name in whole_run same_command_measures_nothing another_library interruption settings_do_not_mix memory_ends_a_series \
    fresh failure usage; do
    "test_$name"
    echo "$name: passed"
done
