# SPDX-License-Identifier: MIT
"""NumPy with its OpenBLAS: all n x n scores, the way attention is written from the formula."""
import math

import numpy as np

MAX_SCORES_BYTES = 4 << 30


class Peer:
    @staticmethod
    def environment(threads):
        # Its threads wait awake for 0.1 s after a product; 2^22 cycles are 1 to 2 ms.
        return {"OPENBLAS_NUM_THREADS": str(threads), "OPENBLAS_THREAD_TIMEOUT": "22"}

    def __init__(self, threads):
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        self.version = f"{np.__version__} ({blas['name']} {blas['version']})"

    def supports(self, problem):
        if problem.type != "f32":
            return "float32 only"
        if 4 * problem.batch * problem.heads * problem.n_q * problem.n_k > MAX_SCORES_BYTES:
            return f"scores of more than {MAX_SCORES_BYTES >> 30} GiB"
        return None

    def prepare(self, q, k, v, problem):
        """Query heads of a kv head stand below each other, so that a product is a matrix for each kv head."""
        groups = problem.heads // problem.kv
        rows = (problem.batch, problem.kv, groups * problem.n_q)
        queries = q.reshape(*rows, problem.d)
        keys = k.transpose(0, 1, 3, 2)
        scaled, scores = np.empty_like(queries), np.empty((*rows, problem.n_k), np.float32)
        by_query = scores.reshape(problem.batch, problem.kv, groups, problem.n_q, problem.n_k)
        o = np.empty((*rows, problem.dv), np.float32)
        mask = make_mask(problem)
        scale = np.float32(1 / math.sqrt(problem.d))

        def call():
            np.multiply(queries, scale, out=scaled)
            np.matmul(scaled, keys, out=scores)
            if mask is not None:
                np.add(by_query, mask, out=by_query)
            np.subtract(scores, scores.max(axis=-1, keepdims=True), out=scores)
            np.exp(scores, out=scores)
            np.matmul(scores, v, out=o)
            np.divide(o, scores.sum(axis=-1, keepdims=True), out=o)

        return call, lambda: o.reshape(problem.batch, problem.heads, problem.n_q, problem.dv)


def make_mask(problem):
    if problem.mask() == "none":
        return None
    mask = np.full((problem.n_q, problem.n_k), -np.inf, np.float32)
    for i in range(problem.n_q):
        low, high = problem.span(i)
        mask[i, low:max(low, high)] = 0
        mask[i, :min(problem.sink, high)] = 0
    return mask
