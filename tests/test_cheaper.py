#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The measuring program of scripts/cheaper against n x n matrices in NumPy. usage: test_cheaper.py PROGRAM Q K V"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np


def seen_by_window(p, j, size, sinks, causal):
    left = size - 1 if causal else size // 2
    return ((j >= p - left) & (j <= p + size - 1 - left)) | (j < sinks) & (not causal or j <= p)


def best(scores, n, kept, limit):
    """`kept` and those with the largest scores of 0 .. limit, up to n."""
    kept = list(kept)
    for c in sorted(range(limit + 1), key=lambda c: -scores[c]):
        if len(kept) < n and c not in kept:
            kept.append(c)
    return kept


def blocks_of(kind, size, b, own, limit, mass, means):
    if kind == "strided":
        return [c for c in range(limit + 1) if c in own or (c - own[-1]) % size == 0]
    return best(mass[b], size, [], limit) if kind == "top" else best(means[b], size, own, limit)


def seen_by_blocks(case, kind, size, head):
    """[n_q, n_k]: the keys of the chosen blocks; causality is left to the caller. kv heads choose for their group."""
    q, k, block, causal = case["q"], case["k"], case["block"], case["causal"]
    n_q, n_k, offset, group = len(q), len(k), len(k) - len(q), q.shape[1] // k.shape[1]
    heads = range(head // group * group, head // group * group + group)
    n_blocks = -(-n_k // block)
    seen = np.zeros((n_q, n_k), bool)
    spans = [slice(c * block, (c + 1) * block) for c in range(n_blocks)]
    for b in range(-(-n_q // block)):
        rows = slice(b * block, min((b + 1) * block, n_q))
        own = list(range((offset + rows.start) // block, (offset + rows.stop - 1) // block + 1))
        limit = own[-1] if causal else n_blocks - 1
        mass = {b: [sum(case["weights"][h][rows, s].sum() for h in heads) for s in spans]}
        queries = sum(q[rows, h].sum(0) for h in heads)
        means = {b: [queries @ k[s, head // group].mean(0) for s in spans]}
        for c in blocks_of(kind, size, b, own, limit, mass, means):
            seen[rows, spans[c]] = True
    return seen


def softmax(scores, seen):
    p = np.exp(np.where(seen, scores, -np.inf) - scores.max(1, keepdims=True))
    total = p.sum(1, keepdims=True)
    return p / np.where(total > 0, total, 1)


def expected(case, kind, size, sinks):
    q, k, v, causal = case["q"], case["k"], case["v"], case["causal"]
    group, pairs, mass, error = q.shape[1] // k.shape[1], 0, [], []
    p, j = np.arange(len(q))[:, None] + len(k) - len(q), np.arange(len(k))[None, :]
    for h in range(q.shape[1]):
        behind = (j <= p) | (not causal)
        if kind in ("window", "sink"):
            seen = seen_by_window(p, j, size, sinks, causal) & behind
        else:
            seen = seen_by_blocks(case, kind, size, h) & behind
        weights, scores = case["weights"][h], case["scores"][h]
        exact, o = weights @ v[:, h // group], softmax(scores, seen) @ v[:, h // group]
        pairs += seen.sum()
        mass.append((weights * seen).sum(1))
        error.append(np.linalg.norm(o - exact, axis=1) / np.linalg.norm(exact, axis=1))
    return {"pairs": pairs, "mass_mean": np.mean(mass), "mass_min": np.min(mass), "error_mean": np.mean(error),
            "error_max": np.max(error)}


def make_case(q, k, v, block, causal):
    group = q.shape[1] // k.shape[1]
    scores = [q[:, h] @ k[:, h // group].T / q.shape[2] ** 0.5 for h in range(q.shape[1])]
    behind = (np.arange(len(k))[None, :] <= np.arange(len(q))[:, None] + len(k) - len(q)) | (not causal)
    return {"q": q, "k": k, "v": v, "block": block, "causal": causal, "scores": scores,
            "weights": [softmax(s, behind) for s in scores]}


def run(program, tensors, block, causal, patterns):
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, f"{name}.npy") for name in "qkv"]
        for path, tensor in zip(paths, tensors):
            np.save(path, tensor.astype("<f4"))
        words = [program, *paths, "--repeats", "1", "--threads", "1", "--block", str(block)]
        words += ["--causal"] * causal + [w for p in patterns for w in ("--pattern", p)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["patterns"][1:]


PATTERNS = ["window:1", "window:4", "window:7", "window:99", "sink:3+2", "sink:4+1", "strided:1", "strided:2",
            "strided:3", "top:1", "top:2", "top:3", "top:99", "means:1", "means:2", "means:3", "means:99"]


def check(program, name, tensors, block, causal):
    case = make_case(*(t.astype(float) for t in tensors), block, causal)
    for pattern, found in zip(PATTERNS, run(program, tensors, block, causal, PATTERNS), strict=True):
        wanted = expected(case, found["kind"], found["size"], found["sinks"])
        for key, value in wanted.items():
            if not abs(found[key] - value) <= 2e-5 * max(1, abs(value)):
                sys.exit(f"{name}, {pattern}: {key} is {found[key]}, NumPy has {value}")


def main():
    program, *paths = sys.argv[1:]
    q, k, v = (np.load(path) for path in paths)
    for causal in (False, True):
        check(program, f"real, causal {causal}", (q, k, v), 4, causal)
        check(program, f"blocks that do not fit, causal {causal}", (q, k, v), 3, causal)
        check(program, f"fewer queries and heads, causal {causal}", (q[5:], k[:, :4], v[:, :4, :20]), 3, causal)


if __name__ == "__main__":
    main()
