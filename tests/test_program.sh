#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: test_program.sh SA DATA MIXES    The sa program from end to end, on the real input.
set -u
sa=$1
data=$2
# shellcheck source=tests/expect.sh
. "${BASH_SOURCE%/*}/expect.sh"

q=$data/animal_layer3_q.npy k=$data/animal_layer3_k.npy v=$data/animal_layer3_v.npy
archive=$data/animal.safetensors

# ---- run ----
expect 0 'check .*64 rows.*: good' "$sa" run "$q" "$k" "$v" -o "$dir/o.npy" --lse "$dir/lse.npy" --check
[ "$(stat -c %s "$dir/o.npy")" = "$(stat -c %s "$q")" ] || fail "o.npy has another size than q"
expect 0 'check .*: good' "$sa" run "$archive" -o "$dir/o.safetensors" --lse "$dir/l.safetensors" --check --causal
expect 0 'check .*: good' "$sa" run "$q" "$k" "$v" -o "$dir/w.npy" --check --window 3,2 --sink-keys 1 --scale 0.5 --q-offset 2 --kv-lens 11
expect 0 '"good": true' "$sa" run "$q" "$k" "$v" -o "$dir/j.npy" --check --json
expect 0 '"share_of_peak"' "$sa" run "$q" "$k" "$v" -o "$dir/j.npy" --json --threads 1
if command -v python3 >/dev/null; then
    "$sa" run "$q" "$k" "$v" -o "$dir/j.npy" --json 2>/dev/null | python3 -m json.tool >/dev/null || fail "run --json is no JSON"
    "$sa" info --json | python3 -m json.tool >/dev/null || fail "info --json is no JSON"
fi
# A file read as heads first is 16 heads of 12 tokens: the same numbers come back in the same layout.
expect 0 '16 query heads' "$sa" run "$q" "$k" "$v" -o "$dir/h.npy" --check --layout bhsd
# One thread and two, another instruction set: the same bytes.
"$sa" run "$q" "$k" "$v" -o "$dir/a.npy" --threads 1 >/dev/null
"$sa" run "$q" "$k" "$v" -o "$dir/b.npy" --threads 2 >/dev/null
SA_MAX_ISA=generic "$sa" run "$q" "$k" "$v" -o "$dir/c.npy" >/dev/null
for other in b c o; do cmp "$dir/a.npy" "$dir/$other.npy" || fail "bits of $other.npy differ"; done
expect 0 'libsa: 1 seqs' env SA_VERBOSE=1 "$sa" run "$q" "$k" "$v" -o "$dir/a.npy"

# ---- types, int8, pages ----
expect 0 'check .*: good' "$sa" run "$archive" -o "$dir/f32.safetensors" --dtype f32 --check
cmp "$dir/f32.safetensors" <("$sa" run "$archive" -o "$dir/x.safetensors" >/dev/null; cat "$dir/x.safetensors") ||
    fail "--dtype f32 changes float32"
expect 0 'types +q bf16, k bf16, v bf16, o bf16' "$sa" run "$archive" -o "$dir/bf16.safetensors" --dtype bf16 --check
expect 0 'check .*: good' "$sa" run "$q" "$k" "$v" -o "$dir/f16.npy" --dtype f16 --check
[ "$(stat -c %s "$dir/f16.npy")" -eq $((128 + 16 * 12 * 32 * 2)) ] || fail "f16.npy is not of 16 bits"
expect 0 'q f16, k f32, v f16, o f16' "$sa" run "$dir/f16.npy" "$k" "$dir/f16.npy" -o "$dir/x.npy" --check
expect 0 'q f32, k f16, v f32, o f32' "$sa" run "$q" "$dir/f16.npy" "$v" -o "$dir/x.npy" --check --causal --lse "$dir/l.npy"
grep -q "'<f4', .*(12, 16)" <(head -c 128 "$dir/l.npy") || fail "l.npy is not of 12 heads, 16 tokens in float32"
# A file of BF16 q, k and v: twice the bits of the result above, in a file of their own.
bytes=$((16 * 12 * 32 * 2))
tensor() { printf '"a.%s":{"dtype":"BF16","shape":[16,12,32],"data_offsets":[%d,%d]}' "$1" $(($2 * bytes)) $((($2 + 1) * bytes)); }
header="{$(tensor q 0),$(tensor k 1),$(tensor v 2)}"
{ printf '%b\0\0\0\0\0\0' "$(printf '\\x%02x\\x%02x' $((${#header} % 256)) $((${#header} / 256)))" &&
    printf '%s' "$header" && tail -c $((3 * bytes)) "$dir/bf16.safetensors"; } >"$dir/qkv.safetensors"
expect 0 'q bf16, k bf16, v bf16, o bf16' "$sa" run "$dir/qkv.safetensors" -o "$dir/x.safetensors" --check
expect 0 'q f32, k f32, v f32, o f32' "$sa" run "$dir/qkv.safetensors" -o "$dir/x.safetensors" --dtype f32 --check
expect 0 'q f16, k f16, v f16, o f16' "$sa" run "$archive" -o "$dir/f16.safetensors" --dtype f16 --f16-pairs --check
expect 0 'q f32, k i8, v i8, o f32; a scale .*, f16' "$sa" run "$archive" -o "$dir/i8.safetensors" --kv-scales f16 --check --causal
# Pages of any size, one of them too large to be filled: the same bytes, whatever the type and the layout.
for options in "--dtype f16" "--dtype f16 --f16-pairs --causal" "--kv-int8 --dtype bf16 --layout bhsd" "--causal"; do
    # shellcheck disable=SC2086
    "$sa" run "$archive" -o "$dir/whole.safetensors" $options >/dev/null || fail "run $options"
    for size in 1 3 16 50; do
        # shellcheck disable=SC2086
        expect 0 "pages of $size token" "$sa" run "$archive" -o "$dir/paged.safetensors" $options --page-size $size
        cmp "$dir/whole.safetensors" "$dir/paged.safetensors" || fail "bits differ with pages of $size: $options"
    done
done

# ---- decode ----
expect 0 'against one prefill: the same bits' "$sa" decode "$data/text.safetensors" --check
expect 0 'rows against float64: .*: good' "$sa" decode "$q" "$k" "$v" --check --kv-int8 --page-size 3 --layout bhsd
expect 0 'a prompt of 5 tokens, 4 steps' "$sa" decode "$archive" --check --prompt 5 --steps 4 --dtype bf16 --page-size 16
expect 0 'no share of the memory' "$sa" decode "$archive" --check --dtype f16 --threads 1 --scale 2 --kv-scales f16
# What was not measured has no number.
for key in machine_bytes_per_second share_of_read_rate; do expect 0 "\"$key\": null" "$sa" decode "$archive" --json; done
expect 0 '"different": 0' "$sa" decode "$dir/qkv.safetensors" --check --prompt 15 --json
if command -v python3 >/dev/null; then
    "$sa" decode "$archive" --check --json 2>/dev/null | python3 -m json.tool >/dev/null || fail "decode --json is no JSON"
fi
sed '1s/(16, 12, 32), }/(8, 24, 32), } /' "$q" >"$dir/narrow.npy"

# ---- refusals ----
head -c 3000 "$q" >"$dir/short.npy"
refuse 1 'short.npy' "$sa" run "$dir/short.npy" "$k" "$v" -o "$dir/bad.npy"
refuse 1 'No such file' "$sa" run "$dir/none.npy" "$k" "$v" -o "$dir/bad.npy"
refuse 1 'cannot be written' "$sa" run "$q" "$k" "$v" -o "$dir/none/bad.npy"
refuse 1 'kv-lens' "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --kv-lens 17
refuse 1 'npy' "$sa" run "$archive" "$k" "$v" -o "$dir/bad.npy"
refuse 2 'expected' "$sa" run "$q" "$k" -o "$dir/bad.npy"
refuse 2 '-o is missing' "$sa" run "$q" "$k" "$v"
refuse 2 'window' "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --window 3
refuse 2 'layout' "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --layout sbhd
for scale in nan -inf 1e39 -1.8e38 0 1e-50 x; do
    refuse 2 "scale is '$scale', expected a finite number other than 0, below 2.127 in size" \
        "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --scale "$scale"
done
refuse 2 "scale is '1.8e38'" "$sa" decode "$archive" --scale 1.8e38
expect 0 speed "$sa" decode "$archive" --scale 1.7e38
refuse 2 "unknown option '--nothing'" "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --nothing
refuse 2 "'--causal=1': takes no value" "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --causal=1
refuse 2 "'--lse' needs a value" "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --lse
refuse 2 "'-o' needs a value" "$sa" run "$q" "$k" "$v" -o
refuse 2 "unknown option '-x'" "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" -x
expect 0 'SA_MAX_ISA is ignored' env SA_MAX_ISA=AVX2 "$sa" info
! SA_MAX_ISA=avx2 "$sa" info | grep ignored || fail "SA_MAX_ISA=avx2 is ignored"
refuse 2 "unknown option '--topology'" "$sa" info --topology "core:4 pu:1"
refuse 2 "'--shape' needs a value" "$sa" plan --shape
refuse 2 "unknown option '--tokens'" "$sa" look "$archive" --tokens it
refuse 2 "unknown option '--topp'" "$sa" encode "$dir" --topp 3
refuse 1 'bad.npy and .*bad.npy are the same file' "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --lse "$dir/../${dir##*/}/./bad.npy"
refuse 2 '-o would replace .*, which is read' "$sa" run "$archive" -o "$archive"
cp "$q" "$dir/own.npy" && ln -s own.npy "$dir/link.npy"
refuse 2 '--lse would replace .*own.npy' "$sa" run "$dir/own.npy" "$k" "$v" -o "$dir/bad.npy" --lse "$dir/link.npy"
refuse 2 '--sink-keys lifts the left limit' "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --sink-keys 4 --window=-1,0
# What is written is of the kind that was read, whatever it is called.
refuse 2 '-o is .*bad.npy, .* as \.safetensors' "$sa" run "$archive" -o "$dir/bad.npy"
refuse 2 '--lse is .*bad.safetensors, .* as \.npy' "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --lse "$dir/bad.safetensors"
refuse 1 'cannot hold bf16' "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --dtype bf16
refuse 2 "dtype is 'f64'" "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --dtype f64
refuse 2 "page-size is '0'" "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --page-size 0
refuse 2 "kv-scales is 'int8'" "$sa" run "$q" "$k" "$v" -o "$dir/bad.npy" --kv-scales int8
refuse 2 "page-size is '0'" "$sa" decode "$archive" --page-size 0
refuse 2 "dtype is 'i8'" "$sa" decode "$archive" --dtype i8
refuse 2 "prompt is '-1'" "$sa" decode "$archive" --prompt -1
refuse 2 'steps is .0' "$sa" decode "$archive" --steps 0
refuse 2 "unknown option '-o'" "$sa" decode "$archive" -o "$dir/bad.npy"
refuse 2 'expected' "$sa" decode "$q" "$k"
refuse 1 'prompt is 17' "$sa" decode "$archive" --prompt 17
refuse 1 'no token is left' "$sa" decode "$archive" --prompt 16
refuse 1 'only 11 tokens are left' "$sa" decode "$archive" --prompt 5 --steps 12
refuse 1 '8 queries, but 16 keys' "$sa" decode "$dir/narrow.npy" "$k" "$v"
refuse 1 'not a multiple' "$sa" decode "$k" "$dir/narrow.npy" "$dir/narrow.npy"
refuse 1 'expected 3 or 4' "$sa" decode "$q" "$k" "$dir/lse.npy"
refuse 2 'no command' "$sa" dance
# Names in files and on the command line do nothing to a terminal.
evil='"\u001b[31mevil.q":{"dtype":"F32","shape":[1,1,1],"data_offsets":[0,4]}'
{ printf '%b' "\\x$(printf %x $((${#evil} + 2)))\0\0\0\0\0\0\0" && printf '{%s}0000' "$evil"; } >"$dir/evil.safetensors"
escape=$(printf '\033')
for command in run decode look; do
    out=()
    [ $command != run ] || out=(-o "$dir/bad.safetensors")
    refuse 1 '\?\[31mevil' "$sa" $command "$dir/evil.safetensors" "${out[@]}"
    ! "$sa" $command "$dir/evil.safetensors" "${out[@]}" 2>&1 | grep -q "$escape" || fail "$command prints an escape sequence"
done
one='"dtype":"F32","shape":[1,1,1],"data_offsets":'
words='"__metadata__":{"tokens":"[\"\\u001b[31mword\"]"},'
for name in a '\u001b[31mevil'; do
    fine="{$words\"$name.q\":{${one}[0,4]},\"$name.k\":{${one}[4,8]},\"$name.v\":{${one}[8,12]}}"
    { printf '%b' "\\x$(printf %x ${#fine})\0\0\0\0\0\0\0" && printf '%s000000000000' "$fine"; } >"$dir/${#name}.safetensors"
    words=
done
expect 0 '"\?\[31mword" \(token 0\)' "$sa" look "$dir/1.safetensors" --token 0
! "$sa" look "$dir/1.safetensors" --token 0 | grep -q "$escape" || fail "look prints an escape sequence of a word"
refuse 1 "tensor '\?\[31mevil.[kqv]': a control character" "$sa" look "$dir/14.safetensors" --token 0
refuse 2 "no command '\?\[31mdance'" "$sa" "${escape}[31mdance"
refuse 2 "layout is '\?\[31m'" "$sa" decode "$archive" --layout "${escape}[31m"
refuse 1 "no layer \?\[31m" "$sa" look "$archive" --layer "${escape}[31m"
expect 2 'usage' "$sa"

# ---- plan ----
mixes=$3
server="package:2 numa:1 l3:8 core:12 pu:1"
for mix in "$mixes"/*.txt; do
    expect 0 '192 threads in 16 groups' "$sa" plan --topology "$server" "$mix"
done
expect 0 'uniform-causal +49152 .* 1\.000 +0\.0 %' "$sa" plan --topology "$server" "$mixes/uniform-causal.txt" \
    --png "$dir/plan.png" --svg "$dir/plan.svg" --csv "$dir/plan.csv"
[ "$(head -c 4 "$dir/plan.png" | tail -c 3)" = PNG ] || fail "plan.png is no PNG"
grep -q '</svg>' "$dir/plan.svg" || fail "plan.svg is no SVG"
[ "$(awk -F, 'NF == 17' "$dir/plan.csv" | wc -l)" -eq 2 ] || fail "plan.csv has not two lines of 17 fields"
[ "$(awk -F, 'NR > 1 && $17 != ""' "$dir/plan.csv")" = "" ] || fail "plan.csv has a time that was not measured"
expect 0 '^all, one after another +72' "$sa" plan --threads 2 --shape 'a heads=4 nq=1000 d=64' --shape 'b heads=4 nq=70 d=64'
expect 0 'too small for the team' "$sa" plan --shape 'tiny nq=8 d=8' --png "$dir/plan.png"
expect 0 '24 threads in 6 groups' "$sa" plan --topology 'l3:6 core:4 pu:1' --speeds 8x1.0,16x0.55 "$mixes/serving.txt"
expect 0 'longest item alone' "$sa" plan --topology 'core:64 pu:1' --shape 'one nq=640 d=64'
expect 0 'decoding: --at [0-9.]+,[0-9.]+$' "$sa" plan --threads 2 --shape 'a heads=2 nq=200 d=64' --measure \
    --csv "$dir/measured.csv"
awk -F, 'NR == 2 && $17 > 0 { good = 1 } END { exit !good }' "$dir/measured.csv" || fail "measured.csv has no time"
expect 0 'does not compute' "$sa" plan --topology "$server" --threads 20 --isa avx512 --shape 'a nq=100 d=8'
expect 0 'by the cost model of avx2' env SA_MAX_ISA=generic "$sa" plan --topology "$server" --isa avx2 --shape 'a nq=5 d=8'
refuse 1 'isa is avx2, but this machine computes with generic' env SA_MAX_ISA=generic "$sa" plan --isa avx2 --shape 'a nq=5 d=8'
expect 0 'generic, avx2, avx512, avx512_bf16, amx_bf16:' "$sa" plan --help
refuse 1 'topology' "$sa" plan --topology 'nonsense' --shape 'a nq=5 d=8' --csv "$dir/bad.csv"
refuse 1 'topology' "$sa" plan --topology "$dir/none.xml" --shape 'a nq=5 d=8' --csv "$dir/bad.csv"
refuse 1 'speeds' "$sa" plan --topology 'core:4 pu:1' --speeds 3x1 --shape 'a nq=5 d=8'
refuse 1 'none.txt' "$sa" plan "$dir/none.txt"
refuse 1 'cannot be written' "$sa" plan --shape 'a nq=5 d=8' --svg "$dir/none/bad.svg"
expect 0 'computes 2.00 times as fast .* v 0.50 times' "$sa" plan --topology 'core:64 pu:1' --at 2,0.5 --shape 'a nq=640 d=64'
for at in 2 '2,' ',2' '0,1' '1,0' '1,-1' '1,inf' '1,2,3' 'x,1' 'nan,1'; do
    refuse 2 'two speeds' "$sa" plan --shape 'a nq=5 d=8' --at "$at"
done
refuse 2 'not with --at' "$sa" plan --shape 'a nq=5 d=8' --at 1,1 --measure
refuse 2 'no batch' "$sa" plan
refuse 2 'speeds' "$sa" plan --shape 'a nq=5 d=8' --speeds 2x,1
refuse 2 "unknown key" "$sa" plan --shape 'a nq=5 d=8 heds=3'
echo '# nothing yet' >"$dir/none.txt"
refuse 1 "none.txt: no shape in it" "$sa" plan "$dir/none.txt"
refuse 2 'measure' "$sa" plan --shape 'a nq=5 d=8' --topology 'core:2' --measure

# ---- info, look, help ----
expect 0 'kernel' "$sa" info
expect 0 'not avx2: |generic, 4 floats' env SA_MAX_ISA=generic "$sa" info
expect 0 'layer3 .*head +1 +to animal +0\.6768' "$sa" look "$archive" --token it
expect 0 '2  animal +0\.6768' "$sa" look "$archive" --token it --layer 3 --head 1 --png "$dir/look.png" --svg "$dir/look.svg"
expect 0 'largest difference [0-9.]+e-0[67]' "$sa" look "$archive" --token 10 --layer 5 --head 11
expect 0 'not an explanation' "$sa" look "$archive" --token it --layer 3 --top 4
# The weight is not what counts: beside it stand |a v| and how far the output moves.
expect 0 ' 0  \[CLS\] +0\.1273 +0\.0194 +0\.1677  #' "$sa" look "$archive" --token it --layer 4 --head 1
expect 0 'without animal \(weight 0\.0815\) .* by 0\.3631; without \[CLS\] \(0\.1273\) by 0\.1677' \
    "$sa" look "$archive" --token it --layer 4 --head 1
expect 0 'on animal, is also the one without which .* moves most' "$sa" look "$archive" --token it --layer 3 --head 1
expect 0 '1\.0000 +[0-9.]+ +no row' "$sa" look "$archive" --token 0 --layer 4 --head 1 --causal
"$sa" look "$archive" --token it --layer 4 --head 1 | sed '/explanation/d' | grep -qE '.{101}' &&
    fail "look prints more than 100 columns"
wide='"dtype":"F32","shape":[1,1,577],"data_offsets":'
wide="{\"a.q\":{${wide}[0,2308]},\"a.k\":{${wide}[2308,4616]},\"a.v\":{${wide}[4616,6924]}}"
{
    printf '%b' "\\x$(printf %x ${#wide})\0\0\0\0\0\0\0" && printf %s "$wide" && head -c 6924 /dev/zero
} >"$dir/wide.safetensors"
refuse 1 'd is at most 576' "$sa" look "$dir/wide.safetensors" --token 0
[ "$(head -c 4 "$dir/look.png" | tail -c 3)" = PNG ] || fail "look.png is no PNG"
grep -q '<svg' "$dir/look.svg" || fail "look.svg is no SVG"
refuse 1 "no token 'elephant'" "$sa" look "$archive" --token elephant --layer 3 --head 1
refuse 1 'no layer 9' "$sa" look "$archive" --token it --layer 9 --head 1
refuse 1 'no head 12' "$sa" look "$archive" --token it --layer 3 --head 12
expect 0 'no --token: the last word, "tired"' "$sa" look "$archive"
expect 0 'another one in 23 of 72 heads; in the rows of all tokens, in 252 of 1152' "$sa" look "$archive" --token it
expect 0 '>animal +\.08 ' "$sa" look "$archive" --token it
expect 0 '  --layer 3 --head 1 .*, animal$' "$sa" look "$archive" --token it
refuse 1 'no head 12' "$sa" look "$archive" --token it --head 12
refuse 2 'is no folder' "$sa" look "$archive" --text it
for command in "" run decode look plan info; do expect 0 usage "$sa" $command --help; done
expect 0 '^sa [0-9]' "$sa" --version

# ---- standard output that takes nothing ----
# shellcheck disable=SC2317 # by refuse
full() { "$@" >/dev/full; }
# shellcheck disable=SC2317
closed() { "$@" >&-; }
for command in "" run decode look plan info; do
    # shellcheck disable=SC2086 # the empty one is none
    refuse 1 '^sa: standard output: No space left' full "$sa" $command --help
done
refuse 1 '^sa: standard output: No space left' full "$sa" info --json
refuse 1 '^sa: standard output: No space left' full "$sa" look "$archive"
refuse 1 '^sa: standard output: Bad file' closed "$sa" --version
refuse 2 'no command' full "$sa" dance
refuse 1 '^sa: standard output: Bad file' closed "$sa" run "$q" "$k" "$v" -o "$dir/closed.npy"

report
