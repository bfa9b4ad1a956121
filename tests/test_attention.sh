#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: test_attention.sh SA DATA    Every kind of attention that `sa run` takes, on the real input: against float64, and
# against other ways to ask for the same, which give the same bytes.
# shellcheck disable=SC2317 # functions that are called by their names
set -u
sa=$1
data=$2
# shellcheck source=tests/expect.sh
. "${BASH_SOURCE%/*}/expect.sh"

qkv=("$data/animal_layer3_q.npy" "$data/animal_layer3_k.npy" "$data/animal_layer3_v.npy")
archive=$data/animal.safetensors
heads=12 n=16 d=32

# ---- files ----
# npy NAME DESCR SHAPE <BYTES: an array of these elements, each given in hexadecimal digits.
npy() {
    {
        printf '\x93NUMPY\1\0\x76\0%-117s\n' "{'descr': '$2', 'fortran_order': False, 'shape': ($3), }"
        printf '%b' "$(tr -d ' \n' | sed 's/../\\x&/g')"
    } >"$dir/$1.npy"
}

# each COUNT FUNCTION: what it prints for 0 .. COUNT - 1.
each() { for ((i = 0; i < $1; i++)); do "$2" "$i"; done; }
# matrix FUNCTION: what it prints for every query and key.
matrix() { for ((i = 0; i < n; i++)); do for ((j = 0; j < n; j++)); do "$1" "$i" "$j"; done; done; }

# Elements; floats are powers of two, -2^-(i mod 8), as bits.
i32() { printf '%02x 00 00 00 ' "$1"; }
i64() { printf '%02x 00 00 00 00 00 00 00 ' "$1"; }
f32() { printf '00 00 %02x %02x ' $((128 * ((127 - $1 % 8) % 2))) $((128 + (127 - $1 % 8) / 2)); }
f16() { printf '00 %02x ' $((128 + (15 - $1 % 8) * 4)); }
zero() { printf '00 00 00 00 '; }
minus_infinity() { printf '00 00 80 ff '; }
below() { printf '%02x ' $(($2 <= $1)); }
below_uint8() { printf '%02x ' $((($2 <= $1) * ($1 + 1))); }
bias_below() { if [ "$2" -le "$1" ]; then zero; else minus_infinity; fi; }
by_query() { f32 "$1"; }
by_head() { f32 "$h"; }
by_key() { f32 "$2"; }
key_later() { i32 $(($1 + 100)); }
key_later_i64() { i64 $(($1 + 100)); }
far() { printf '00 00 00 80 '; }
backwards() { i32 $((7 - $1)); }
half() { i64 $(($1 / 8)); }

# ---- the same in two ways ----
# bytes NAME OPTION...: runs it over the arrays, all of it checked, into NAME.npy.
bytes() {
    local name=$1
    shift
    expect 0 'check .*: good' "$sa" run "${qkv[@]}" -o "$dir/$name.npy" --check "$@"
}

# same WHAT OPTIONS OPTIONS: both give the same bytes; a word of the options that ends in .npy is a file of ours.
same() {
    local first second
    read -ra first <<<"${2//@/$dir/}"
    read -ra second <<<"${3//@/$dir/}"
    bytes one "${first[@]}"
    bytes two "${second[@]}"
    cmp "$dir/one.npy" "$dir/two.npy" || fail "$1: '$2' and '$3' differ"
}

# other OPTIONS OPTIONS: they do not give the same bytes.
other() {
    local first second
    read -ra first <<<"${1//@/$dir/}"
    read -ra second <<<"${2//@/$dir/}"
    bytes one "${first[@]}"
    bytes two "${second[@]}"
    cmp -s "$dir/one.npy" "$dir/two.npy" && fail "'$1' and '$2' are the same"
}

# ---- what happens to scores ----
each $heads f32 | npy h32 '<f4' "$heads,"
each $heads f16 | npy h16 '<f2' "$heads,"
each $heads minus_infinity | npy no_sinks '<f4' "$heads,"
each $heads zero | npy flat '<f4' "$heads,"
other "--softcap 2" ""
other "--alibi @h32.npy" ""
other "--sinks @h32.npy" ""
same "slopes of 16 bits" "--alibi @h32.npy" "--alibi @h16.npy"
same "sinks of 16 bits" "--sinks @h32.npy" "--sinks @h16.npy"
same "sinks that are none" "--sinks @no_sinks.npy" ""
same "distances that do not count" "--alibi @flat.npy --causal" "--causal"
expect 0 'check .*: good' "$sa" run "$archive" -o "$dir/o.safetensors" --check --softcap 5 --alibi "$dir/h32.npy" \
    --sinks "$dir/h16.npy" --causal --dtype bf16 --page-size 3 --lse "$dir/l.safetensors" --row-max "$dir/m.safetensors"
grep -q 'layer3.row_max' "$dir/m.safetensors" || fail "m.safetensors has no layer3.row_max"

# Token by token, as in one prefill.
for options in "--softcap 3 --sinks $dir/h16.npy" "--alibi $dir/h32.npy --kv-int8 --page-size 3 --prompt 4"; do
    # shellcheck disable=SC2086
    expect 0 'rows against float64: .*: good' "$sa" decode "${qkv[@]}" --check $options
    # shellcheck disable=SC2086
    expect 0 '"different": 0' "$sa" decode "$archive" --check --json $options
done

# ---- row maxima: with one key a row they are the log-sum-exp ----
bytes one --row-max "$dir/m.npy" --lse "$dir/l.npy" --kv-lens 1
cmp "$dir/m.npy" "$dir/l.npy" || fail "of one key, the largest score is not the log-sum-exp"
bytes one --row-max "$dir/m.npy" --lse "$dir/l.npy"
cmp -s "$dir/m.npy" "$dir/l.npy" && fail "the largest score is the log-sum-exp"

# ---- bias ----
matrix by_key | npy keys '<f4' "$n, $n"
each $n f32 | npy row '<f4' "$n,"
each $n f16 | npy row16 '<f2' "1, $n"
matrix by_query | npy queries '<f4' "1, $n, $n"
each $n f32 | npy column '<f4' "$n, 1"
{ for ((h = 0; h < heads; h++)); do each $n f32; done; } | npy rows '<f4' "1, $heads, 1, $n"
each $heads f32 | npy heads '<f4' "$heads, 1, 1"
{ for ((h = 0; h < heads; h++)); do matrix by_head; done; } | npy all '<f4' "1, $heads, $n, $n"
matrix zero | npy zeros '<f4' "$n, $n"
matrix bias_below | npy hides '<f4' "$n, $n"
zero | npy scalar '<f4' ""
same "a bias of zeros" "--bias @zeros.npy" ""
same "a bias of one zero" "--bias @scalar.npy" ""
same "a bias of -inf" "--bias @hides.npy" "--bias @zeros.npy --causal"
same "a bias by key" "--bias @row.npy" "--bias @keys.npy"
same "a bias by key, 16 bits" "--bias @row.npy" "--bias @row16.npy"
same "a bias by key and head" "--bias @row.npy" "--bias @rows.npy"
same "a bias by query" "--bias @column.npy --lse @l.npy" "--bias @queries.npy --lse @l.npy"
same "a bias by head" "--bias @heads.npy" "--bias @all.npy"
same "fewer keys than the bias has" "--bias @row.npy --kv-lens 11" "--bias @keys.npy --kv-lens 11"
other "--bias @row.npy" "--bias @column.npy"

# Two batch items of 8 tokens, each with its own bias, against one with the bias of the second.
batch=()
second=()
for t in q k v; do
    sed '1s/(16, 12, 32), }  /(2, 8, 12, 32), }/' "$data/animal_layer3_$t.npy" >"$dir/batch_$t.npy"
    { sed '1s/(16, 12, 32), }/(8, 12, 32), } /' "$data/animal_layer3_$t.npy" | head -c 128 && tail -c $((8 * heads * d * 4)) "$dir/batch_$t.npy"; } >"$dir/second_$t.npy"
    batch+=("$dir/batch_$t.npy")
    second+=("$dir/second_$t.npy")
done
each 8 f32 | npy of_second '<f4' "8,"
{ each 8 zero && each 8 f32; } | npy of_batch '<f4' "2, 1, 1, 8"
expect 0 'check .*: good' "$sa" run "${batch[@]}" -o "$dir/one.npy" --check --bias "$dir/of_batch.npy"
expect 0 'check .*: good' "$sa" run "${second[@]}" -o "$dir/two.npy" --check --bias "$dir/of_second.npy"
cmp <(tail -c $((8 * heads * d * 4)) "$dir/one.npy") <(tail -c +129 "$dir/two.npy") || fail "the second bias of a batch differs"

# ---- what a query sees ----
check_sight() {
    matrix below | npy mask '|b1' "$n, $n"
    matrix below_uint8 | npy mask8 '|u1' "1, 1, $n, $n"
    same "a mask that is causal" "--mask @mask.npy" "--causal"
    same "a mask of uint8" "--mask @mask8.npy" "--causal"
    same "a mask and a window" "--mask @mask.npy --window 3,-1" "--causal --window 3,0"
    each $n i32 | npy i32 '<i4' "$n,"
    each $n i64 | npy i64 '<i8' "1, $n"
    each $n key_later | npy later '<i4' "$n,"
    each $n key_later_i64 | npy later64 '<i8' "$n,"
    same "positions as they are anyway" "--q-pos @i32.npy --k-pos @i64.npy --causal" "--causal"
    same "positions, all later" "--q-pos @later64.npy --k-pos @later.npy --window 2,1" "--window 2,1"
    same "queries beyond the keys" "--q-pos @later.npy --window 95,-1" "--q-offset 100 --window 95,-1"
    same "a prefix of everything" "--causal --prefix $n" ""
    same "a prefix of the first key" "--causal --prefix 1" "--causal"
    other "--causal --prefix 5" "--causal"
    each $n half | npy halves '<i8' "$n,"
    bytes one --doc-ids "$dir/halves.npy"
    expect 0 'check .*: good' "$sa" run "${batch[@]}" -o "$dir/two.npy" --check
    cmp <(tail -c +129 "$dir/one.npy") <(tail -c +129 "$dir/two.npy") || fail "two documents are not two sequences"
    # Two items with positions of their own: the second's keys stand the other way round.
    each 8 backwards | npy backwards '<i4' "8,"
    { each 8 i32 && each 8 backwards; } | npy each_way '<i4' "2, 8"
    expect 0 'check .*: good' "$sa" run "${batch[@]}" -o "$dir/one.npy" --check --causal --k-pos "$dir/each_way.npy"
    expect 0 'check .*: good' "$sa" run "${second[@]}" -o "$dir/two.npy" --check --causal --k-pos "$dir/backwards.npy"
    cmp <(tail -c $((8 * heads * d * 4)) "$dir/one.npy") <(tail -c +129 "$dir/two.npy") || fail "the second positions of a batch differ"
    expect 0 'check .*: good' "$sa" run "$archive" -o "$dir/o.safetensors" --check --mask "$dir/mask8.npy" --doc-ids "$dir/halves.npy" \
        --k-pos "$dir/later.npy" --window 8,-1 --q-pos "$dir/later.npy" --kv-int8 --page-size 3 --bias "$dir/row16.npy"
}

# served OPTION...: the engine takes them.
served() { ! "$sa" run "${qkv[@]}" -o "$dir/served.npy" "$@" 2>&1 | grep -q 'this version does not take'; }
matrix below | npy mask '|b1' "$n, $n"
each $n i32 | npy i32 '<i4' "$n,"
if served --mask "$dir/mask.npy" && served --causal --k-pos "$dir/i32.npy" && served --causal --prefix 5 && served --doc-ids "$dir/i32.npy"; then
    check_sight
fi

# ---- weights and key mass ----
row=$((n * 4))
bytes one --weights "$dir/w.npy" --rows "0-$((n - 1))" --key-mass "$dir/km.npy" --causal
bytes two --weights "$dir/few.npy" --rows 5,0,10-12 --causal
[ "$(stat -c %s "$dir/few.npy")" -eq $((128 + heads * 5 * row)) ] || fail "few.npy has another size"
cmp <(tail -c +129 "$dir/few.npy" | head -c $((5 * row))) <(for r in 5 0 10 11 12; do
    tail -c +129 "$dir/w.npy" | tail -c +$((r * row + 1)) | head -c "$row"
done) || fail "rows of weights are not in the order of --rows"
expect 0 '16 of weights, the key mass' "$sa" run "$archive" -o "$dir/o.safetensors" --check --weights "$dir/w.safetensors" --rows 3 \
    --key-mass "$dir/km.safetensors" --sinks "$dir/h32.npy" --dtype f16 --page-size 3
grep -q 'layer3.weights' "$dir/w.safetensors" || fail "w.safetensors has no layer3.weights"
grep -q 'layer3.key_mass' "$dir/km.safetensors" || fail "km.safetensors has no layer3.key_mass"
expect 0 '"key_mass": true' "$sa" run "${batch[@]}" -o "$dir/o.npy" --check --json --key-mass "$dir/km.npy" --kv-lens 8,3

printf '00 00 c0 7f' | npy nan '<f4' "1,"
bytes of_nan --bias "$dir/nan.npy" # as it has to be

# ---- look ----
look() { "$sa" look "$archive" --token it --layer 3 --head 1 "$@"; }
expect 0 'the weights add up to 1;' look
expect 0 'the weights add up to 0\.[0-9]+;' look --sinks "$dir/h32.npy"
expect 0 '2  animal +0\.[0-5]' look --softcap 1
cmp <(look --bias "$dir/hides.npy") <(look --causal) || fail "look: a bias of -inf and --causal differ"
expect 0 '2  animal +0\.6768' look --bias "$dir/heads.npy"

if served --mask "$dir/mask.npy" && ! cmp <(look --mask "$dir/mask.npy") <(look --causal); then
    fail "look: a causal mask and --causal differ"
fi

# ---- refusals ----
each 5 f32 | npy five '<f4' "5,"
each 10 f32 | npy five_dims '<f4' "1, 1, 1, 1, 10"
each 5 i32 | npy five32 '<i4' "5,"
each $n far | npy far '<i4' "$n,"
printf '00 00 00 00 01 00 00 00' | npy wide '<i8' "1,"
run=("$sa" run "${qkv[@]}" -o "$dir/bad.npy")
refuse 2 "'--mask' needs a value" "${run[@]}" --mask
refuse 2 "'-o' needs a value" "$sa" run "${qkv[@]}" -o
refuse 1 'none.npy: No such file' "${run[@]}" --bias "$dir/none.npy"
refuse 1 'five.npy: shape \(5\) does not broadcast to \(1 x 12 x 16 x 16\)' "${run[@]}" --bias "$dir/five.npy"
refuse 1 'five_dims.npy: shape .* does not broadcast' "${run[@]}" --bias "$dir/five_dims.npy"
refuse 1 'of_batch.npy: shape .* does not broadcast' "${run[@]}" --bias "$dir/of_batch.npy"
refuse 1 "five32.npy: descr is '<i4', expected '<f4'" "${run[@]}" --bias "$dir/five32.npy"
refuse 1 "five.npy: descr is '<f4', expected '.b1' \(bool\) or '.u1'" "${run[@]}" --mask "$dir/five.npy"
refuse 1 'five.npy: shape \(5\), expected \(12\): query heads' "${run[@]}" --alibi "$dir/five.npy"
refuse 1 'heads.npy: shape \(12 x 1 x 1\), expected \(12\)' "${run[@]}" --sinks "$dir/heads.npy"
refuse 1 'alibi_slopes' "${run[@]}" --alibi "$dir/no_sinks.npy"
refuse 1 "five.npy: descr is '<f4', expected '<i4' \(int32\) or '<i8'" "${run[@]}" --q-pos "$dir/five.npy"
refuse 1 'five32.npy: shape \(5\), expected \(16\) or \(1 x 16\): \[batch,\] queries' "${run[@]}" --q-pos "$dir/five32.npy"
refuse 1 'five32.npy: shape \(5\), expected \(16\) or \(1 x 16\): \[batch,\] keys' "${run[@]}" --k-pos "$dir/five32.npy"
refuse 1 'five32.npy: shape \(5\), expected' "${run[@]}" --doc-ids "$dir/five32.npy"
refuse 1 'far.npy: element 0 is -2147483648, expected -1073741824 to 1073741824' "${run[@]}" --k-pos "$dir/far.npy"
refuse 1 'wide.npy: element 0 is 4294967296, expected -2147483648' "${run[@]}" --doc-ids "$dir/wide.npy"
refuse 1 'five32.npy: the queries are the last' "$sa" run "${qkv[0]}" "${second[@]:1}" -o "$dir/bad.npy" --doc-ids "$dir/five32.npy"
refuse 1 'rows: there is no query 16' "${run[@]}" --weights "$dir/bad_w.npy" --rows 3,16
refuse 2 'rows is missing' "${run[@]}" --weights "$dir/bad_w.npy"
refuse 2 'weights is missing' "${run[@]}" --rows 3
for rows in '' 3- -3 5-3 3,,4 '3,' 1-99999999999999999999 0-65536 x; do
    refuse 2 'rows is ' "${run[@]}" --weights "$dir/bad_w.npy" --rows "$rows"
done
refuse 2 'are the same file' "${run[@]}" --key-mass "$dir/bad.npy"
refuse 1 'five.npy: shape \(5\), expected \(12\): query heads' "$sa" decode "${qkv[@]}" --sinks "$dir/five.npy"
refuse 1 'five.npy: shape \(5\), expected \(12\)' "$sa" look "$archive" --token it --alibi "$dir/five.npy"
refuse 2 'prefix lifts' "$sa" look "$archive" --token it --prefix 3
for cap in 0 -1 nan inf 1e39 1.8e38 x; do refuse 2 'softcap is .*, expected a finite number above 0' "${run[@]}" --softcap "$cap"; done
refuse 2 'prefix lifts' "${run[@]}" --prefix 3
refuse 2 'prefix is' "${run[@]}" --causal --prefix -3

report
