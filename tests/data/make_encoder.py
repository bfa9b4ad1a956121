#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the fixtures of `sa encode`; see README.md. Needed only to make them again.

tiny_bert/ is a folder as Hugging Face lays it out: a BERT of random weights with a vocabulary that is cut out of
all-MiniLM-L6-v2's, lines of text, and what BertTokenizer and BertModel make of them. layer3.safetensors holds the true
weights of that model's attention in layer 3, and what it makes of the sentence about the animal.
"""

import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read by transformers when it is imported

import numpy as np
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from make_fixtures import SENTENCE, load, metadata, write_safetensors

HERE = Path(__file__).resolve().parent
TINY = HERE / "tiny_bert"
LONGEST = 24
LINES = [
    SENTENCE, "", " ", ".", "a", "Two  spaces\tand a tab ", "UPPER lower MiXeD", "don't can't 'quoted'",
    "naïve café Ångström Žižek señor über", "nai\u0308ve cafe\u0301 A\u030angstro\u0308m q\u0323\u0307", "İstanbul ΣΟΦΟΣ Ёлка",
    "漢字とかな", "中文文本，标点。", "한국어", "豈", "mixed文text", "שָׁלוֹם", "सन्धि", "👍 :-)",
    "zero\u200bwidth soft\u00adhyphen bell\x07 escape\x1b[0m", "no\u00a0break\u2003em\u2028line \u3000 next\x85",
    "replacement \ufffd nul\x00", "$1,234.56 + 7% = £8", "a_b C++ x->y ``code''", "\u2018curly\u2019 \u2014 dash \u00a7 \u00b6",
    "[CLS] in [SEP] text[MASK][mask] [ MASK ]", "b" * 100, "b" * 101, "é" * 100, "é" * 101, "unaffable unaffablex",
    "word " * 21, "word " * 22, "word " * 23, "word " * 200, "文" * 30, "!" * 30, "carriage\r",
]


def write_vocabulary(tokenizer):
    """What the lines need, and only half of the pieces of some words, so that others are [UNK]."""
    words = tokenizer.get_vocab()
    keep = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    for line in LINES:
        keep.update(tokenizer.tokenize(line))
    keep -= {"##x", "文"}
    pieces = sorted(keep, key=words.get)
    (TINY / "vocab.txt").write_text("".join(piece + "\n" for piece in pieces), encoding="utf-8")
    return len(pieces)


def make_tiny(tokenizer):
    TINY.mkdir(exist_ok=True)
    n = write_vocabulary(tokenizer)
    config = BertConfig(vocab_size=n, hidden_size=40, num_hidden_layers=2, num_attention_heads=4, intermediate_size=72,
                        max_position_embeddings=LONGEST, type_vocab_size=2, layer_norm_eps=1e-12)
    torch.manual_seed(7)
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * (0.3 if parameter.dim() > 1 else 0.5))
    keys = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
            "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "hidden_act", "model_type")
    text = json.dumps({key: getattr(config, key) for key in keys}, indent=1)
    (TINY / "config.json").write_text(text + "\n", encoding="utf-8")
    tensors = {name: x.numpy() for name, x in model.state_dict().items() if x.is_floating_point()}
    write_safetensors(TINY / "model.safetensors", tensors, {"made_by": "make_encoder.py: random numbers"})
    return model.double()


def write_expected(model):
    """The lines, their numbers of pieces, and their vectors in float64 rounded to float32."""
    tokenizer = BertTokenizerFast(vocab=str(TINY / "vocab.txt"), do_lower_case=True)
    ids, vectors = [], []
    for line in LINES:
        inputs = tokenizer(line, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.no_grad():
            mean = model(**inputs).last_hidden_state[0].mean(0).numpy()
        ids.append(" ".join(str(x) for x in inputs["input_ids"][0].tolist()))
        vectors.append(mean / np.linalg.norm(mean))
    with open(TINY / "lines.txt", "w", encoding="utf-8", newline="") as file:
        file.write("".join(line + "\n" for line in LINES))
    (TINY / "ids.txt").write_text("".join(line + "\n" for line in ids), encoding="utf-8")
    np.save(TINY / "vectors.npy", np.stack(vectors).astype(np.float32))


def make_layer(tokenizer, model):
    """Weights as the model names them; x is the attention's input, y its output before it is added to x."""
    attention = model.encoder.layer[3].attention
    kept = {}
    hooks = [attention.self.register_forward_pre_hook(lambda module, inputs: kept.update(x=inputs[0])),
             attention.output.dense.register_forward_hook(lambda module, inputs, output: kept.update(y=output))]
    inputs = tokenizer(SENTENCE, return_tensors="pt")
    with torch.no_grad():
        model(**inputs)
    for hook in hooks:
        hook.remove()
    tensors = {name: x.detach().numpy() for name, x in attention.named_parameters() if "LayerNorm" not in name}
    tensors.update({name: x[0].numpy().copy() for name, x in kept.items()})
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    write_safetensors(HERE / "layer3.safetensors", tensors, {**metadata(SENTENCE, tokens), "layout": "weights [out, in]; x, y [tokens, d]"})


def main():
    tokenizer, model = load()
    write_expected(make_tiny(tokenizer))
    make_layer(tokenizer, model)


if __name__ == "__main__":
    main()
