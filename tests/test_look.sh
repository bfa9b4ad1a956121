#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: test_look.sh SA DATA    `sa look` on a tiny model, from end to end, and what it refuses.
set -u
export LC_ALL=C
sa=$1
model=$2/tiny_bert
text="The animal didn't cross the street because it was too tired."
# shellcheck source=tests/expect.sh
. "${BASH_SOURCE%/*}/expect.sh"

look() { "$sa" look "$model" --text "$text" "$@"; }

# ---- what it does ----
expect 0 'no --token: the last word, "tired"' look
expect 0 '^"tired" \(token 13\)' look
expect 0 '^ +layer0 +layer1$' look --token it
expect 0 '^head 3  ' look --token it
expect 0 'another one in [0-9] of 8 heads; in the rows of all tokens, in [0-9]+ of 128$' look --token it
expect 0 'another one in [0-4] of 4 heads; in the rows of all tokens, in [0-9]+ of 64$' look --token it --layer 1
expect 0 'the first of them|further away|moves more' look --token it --head 2
expect 0 'layer1, head 2: where the attention of "it" \(token 10 of 16\) goes' look --token it --layer 1 --head 2
expect 0 '^>    10  it   ' look --token IT --layer layer1 --head 2
expect 0 'the weights add up to 1;' look --token 5 --layer 0 --head 0
expect 0 '"The" stands 1 more time.*, token 1$' look --token The --layer 0 --head 0
expect 0 'wrote .*look.png, .*look.svg' look --png "$dir/look.png" --svg "$dir/look.svg"
[ "$(head -c 4 "$dir/look.png" | tail -c 3)" = PNG ] || fail "look.png is no PNG"
expect 0 'wrote .*head.svg' look --layer 1 --head 2 --svg "$dir/head.svg" --range 3,9
for word in didn street because; do grep -q '</svg>' "$dir/head.svg" || fail "no $word in head.svg"; done
look --token it | sed '/explanation/d' | grep -qE '.{101}' && fail "look prints more than 100 columns"
# An ideograph is two columns wide, so what stands beside it begins one character further left.
at() { "$sa" look "$model" --text '中 it' --layer 0 --head 0 | grep -oP "^.{9}$1 *0" | LC_ALL=C.UTF-8 wc -m; }
[ "$(at 中)" -eq $(($(at it) - 1)) ] || fail "behind an ideograph $(at 中) characters, behind 'it' $(at it)"
expect 0 usage "$sa" look --help

# ---- what it refuses ----
refuse 2 'text is missing' "$sa" look "$model"
refuse 2 'is no folder' "$sa" look "$model/config.json" --text it
refuse 2 'expected the folder' "$sa" look --text it
refuse 2 'a model has its own rules' look --causal
refuse 2 'a model has its own rules' look --softcap 3
refuse 1 'has no word' "$sa" look "$model" --text ''
refuse 1 'has no word' "$sa" look "$model" --text $' \t\n'
refuse 1 'has 23 word pieces, the model takes 22' "$sa" look "$model" --text "$(yes word | head -n 23 | tr '\n' ' ')"
expect 0 'token 22' "$sa" look "$model" --text "$(yes word | head -n 22 | tr '\n' ' ')" --token 22
refuse 1 "no token 'elephant'" look --token elephant
# Words that the vocabulary does not know are all [UNK]: only the one that stands there is found.
# shellcheck disable=SC2317 # by expect and refuse
unknown() { "$sa" look "$model" --text "The 猫 animal, 狗 elephants and 猫 it" --layer 0 --head 0 --token "$1"; }
for word in elephant 犬 phants lephant 'Elephants' 9999 '猫 it 狗' 'the 狗'; do refuse 1 "no token '$word'" unknown "$word"; done
expect 0 '"\[UNK\]" \(token 5 of ' unknown 狗
expect 0 '"\[UNK\]" \(token 6 of ' unknown elephants
expect 0 '", *" \(token 4 of ' unknown ', 狗'
expect 0 '"猫" stands 1 more time; .* token 2$' unknown 猫
expect 0 '"\[UNK\]" \(token 2 of ' unknown '[UNK]'
expect 0 '"and" \(token 7 of ' unknown 7
refuse 1 "no token '16' among its 16" look --token 16
refuse 1 'no layer 2; the first one is layer0, the last layer1' look --layer 2
refuse 1 'no layer 2;' look --token it --layer 2 --head 1
refuse 1 'layer1 has 4 heads, no head 4' look --token it --layer 1 --head 4
refuse 1 'have 4 heads, no head 4' look --token it --head 4
refuse 1 'config.json: No such file' "$sa" look "$dir" --text it
refuse 1 'none/config.json: No such file' "$sa" look "$dir/none" --text it
refuse 1 'cannot be written' look --layer 1 --head 2 --png "$dir/none/bad.png"
refuse 1 'range is 3,16' look --layer 1 --head 2 --png "$dir/bad.png" --range 3,16

report
