#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: test_encode.sh SA DATA    `sa encode` from end to end on a tiny model, and what it refuses.
set -u
export LC_ALL=C
sa=$1
model=$2/tiny_bert
lines=$model/lines.txt
# shellcheck source=tests/expect.sh
. "${BASH_SOURCE%/*}/expect.sh"

# ---- what it does ----
expect 0 'lines +38, [0-9]+ tokens' "$sa" encode "$model" "$lines" --out "$dir/v.npy"
[ "$(stat -c %s "$dir/v.npy")" -eq $((128 + 38 * 40 * 4)) ] || fail "v.npy is not of 38 x 40 floats"
# The same bytes for any number of threads, from standard input, and without the last newline.
"$sa" encode "$model" "$lines" -o "$dir/one.npy" --threads 1 >/dev/null
"$sa" encode "$model" "$lines" -o "$dir/three.npy" --threads 3 >/dev/null
"$sa" encode "$model" -o "$dir/stdin.npy" <"$lines" >/dev/null
head -c -1 "$lines" | "$sa" encode "$model" -o "$dir/open.npy" >/dev/null
for other in one three stdin open; do cmp "$dir/v.npy" "$dir/$other.npy" || fail "bits of $other.npy differ"; done
expect 0 '^ 1.0000 +1  The animal' "$sa" encode "$model" "$lines" --similar "The animal didn't cross the street because it was too tired." --top 3
expect 0 '^ 1.0000 +24  a_b C\+\+' "$sa" encode "$model" "$lines" --similar "a_b C++ x->y \`\`code''"
expect 0 '"lines_cut": [1-9]' "$sa" encode "$model" "$lines" -o "$dir/j.npy" --json
expect 0 'lines +0, 0 tokens' "$sa" encode "$model" /dev/null -o "$dir/none.npy"
expect 0 'lines +1, 4 tokens; 1 as long' "$sa" encode "$model" <(echo "the animal was too tired") -o "$dir/cut.npy" --max-tokens 4
expect 0 usage "$sa" encode --help

# ---- what it refuses ----
refuse 2 'expected MODEL' "$sa" encode
refuse 2 'neither' "$sa" encode "$model" "$lines"
refuse 2 "top is '0'" "$sa" encode "$model" "$lines" --similar a --top 0
refuse 2 "max-tokens is '1'" "$sa" encode "$model" "$lines" -o "$dir/bad.npy" --max-tokens 1
refuse 2 'unknown option' "$sa" encode "$model" "$lines" -o "$dir/bad.npy" --nothing
refuse 1 'max-tokens is 25, the model has 24' "$sa" encode "$model" "$lines" -o "$dir/bad.npy" --max-tokens 25
refuse 1 'none.txt: No such file' "$sa" encode "$model" "$dir/none.txt" -o "$dir/bad.npy"
refuse 1 'config.json: No such file' "$sa" encode "$dir" "$lines" -o "$dir/bad.npy"
refuse 1 'cannot be written' "$sa" encode "$model" "$lines" -o "$dir/none/bad.npy"

# spoil PATTERN COMMAND...: the command changes a copy of the model in $dir/m, which is then refused for that reason.
spoil() {
    local pattern=$1
    shift
    rm -rf "$dir/m"
    cp -r "$model" "$dir/m"
    "$@"
    refuse 1 "$pattern" "$sa" encode "$dir/m" "$lines" -o "$dir/bad.npy"
}
# shellcheck disable=SC2317 # by spoil
in_config() { sed -i "$1" "$dir/m/config.json"; }
# shellcheck disable=SC2317
in_weights() { sed -i "$1" "$dir/m/model.safetensors"; }
spoil "config.json: hidden_size: expected a whole number" in_config 's/"hidden_size": 40/"hidden_size": "40"/'
spoil "config.json: .*expected" in_config 's/^ "num_attention_heads": 4/ "num_attention_heads": 7/'
spoil "config.json: hidden_act is 'relu', only 'gelu'" in_config 's/"gelu"/"relu"/'
spoil "config.json: model_type is 'roberta', only 'bert'" in_config 's/"bert"/"roberta"/'
spoil "config.json: .*line" in_config 's/}//'
spoil "intermediate.dense.weight': shape is \(72 x 40\), by config.json it is \(71 x 40\)" in_config 's/72/71/'
spoil "no tensor 'encoder.layer.2.attention.self.query.weight'" in_config 's/"num_hidden_layers": 2/"num_hidden_layers": 3/'
spoil "position_embeddings.weight': shape is \(24 x 40\)" in_config 's/24/23/'
spoil "vocab.txt: 136 lines, more than vocab_size 135" in_config 's/136/135/'
spoil "vocab.txt: no piece \[CLS\]" sed -i 's/\[CLS\]/[cls]/' "$dir/m/vocab.txt"
spoil "vocab.txt: No such file" rm "$dir/m/vocab.txt"
spoil "model.safetensors: No such file" rm "$dir/m/model.safetensors"
spoil "max_seq_length: expected a whole number" cp "$model/config.json" "$dir/m/sentence_bert_config.json"
spoil "no tensor 'encoder.layer.1.output.dense.weight'" in_weights 's/"encoder.layer.1.output.dense.weight"/"encoder.layer.1.output.dense.heavy_"/'
spoil "encoder.layer.0.attention.self.key.bias': dtype is 'I32'" in_weights 's/\(self.key.bias":{"dtype":"\)F32/\1I32/'
spoil "encoder.layer.0.attention.self.key.weight': shape is \(20 x 80\), by config.json it is \(40 x 40\)" \
    in_weights 's/\(self.key.weight":{"dtype":"F32","shape":\[\)40,40/\120,80/'
last=$(stat -c %s "$model/model.safetensors")
# shellcheck disable=SC2317
poison() { printf '%b' "$1" | dd of="$dir/m/model.safetensors" bs=1 seek=$((last - 8)) conv=notrunc status=none; }
spoil "tensor 'encoder.layer.1.output.LayerNorm.bias': element 38 is -?nan" poison '\xff\xff\xff\xff'
spoil "tensor 'encoder.layer.1.output.LayerNorm.bias': element 38 is inf" poison '\x00\x00\x80\x7f'

report
