# SPDX-License-Identifier: MIT
"""The data of a whole layer, and rows of y in float64 to hold everyone's against."""
import collections
import functools

import numpy as np

from peers.reference import exact, visible_keys

# Of the root mean square of the row of y, which the mean over many keys has made small: float32 gives 3e-6 here, x or
# one of the matrices in TF32 7e-4 and more.
TOLERANCE = 1e-4
RANDOM_ROWS = 8

# As nn.MultiheadAttention has them: matrices [out, in]; outputs of w_qkv are those of q, of k, then of v.
Weights = collections.namedtuple("Weights", "w_qkv b_qkv w_o b_o")


def make_tensors(problem, seed):
    """x as [sequence][token][d_model], standard normal, and the weights, the same for all problems of a shape."""
    x = np.random.default_rng(seed).standard_normal((problem.batch, problem.n_q, problem.model), dtype=np.float32)
    return x, make_weights(problem.model, problem.widths(), problem.heads * problem.dv)


@functools.lru_cache(maxsize=1)
def make_weights(model, widths, n_inner):
    """Such that q, k and v are about standard normal."""
    rng = np.random.default_rng(0)

    def linear(n_out, n_in):
        w = rng.standard_normal((n_out, n_in), dtype=np.float32) / np.float32(n_in**0.5)
        return w, rng.standard_normal(n_out, dtype=np.float32) / 4
    return Weights(*linear(sum(widths), model), *linear(model, n_inner))


def sample_rows(problem):
    """(sequence, query): the corners, and some at random."""
    rng = np.random.default_rng(1)
    ends = [(b, i) for b in {0, problem.batch - 1} for i in {0, problem.n_q - 1}]
    return ends + [(int(rng.integers(problem.batch)), int(rng.integers(problem.n_q))) for _ in range(RANDOM_ROWS)]


def head_output(problem, weights, tokens, query, h):
    """One head for one query. Neither keys nor values are made: q . (W x + b) is (q W) . x + q . b, where the last term
    is the same for all keys; the weighted mean of W x + b is W times that of x, + b."""
    n_q, n_k, _ = problem.widths()
    kv_head = h // (problem.heads // problem.kv)
    q_rows = slice(h * problem.d, (h + 1) * problem.d)
    k_rows = slice(n_q + kv_head * problem.d, n_q + (kv_head + 1) * problem.d)
    v_rows = slice(n_q + n_k + kv_head * problem.dv, n_q + n_k + (kv_head + 1) * problem.dv)
    q = exact(weights.w_qkv[q_rows]) @ query + exact(weights.b_qkv[q_rows])
    s = tokens @ (q @ exact(weights.w_qkv[k_rows])) / np.sqrt(problem.d)
    p = np.exp(s - s.max())
    return exact(weights.w_qkv[v_rows]) @ (p @ tokens / p.sum()) + exact(weights.b_qkv[v_rows])


def reference_row(problem, x, weights, row):
    b, i = row
    tokens = exact(x[b, visible_keys(problem, i)])
    heads = [head_output(problem, weights, tokens, exact(x[b, i]), h) for h in range(problem.heads)]
    return exact(weights.w_o) @ np.concatenate(heads) + exact(weights.b_o)


class Reference:
    def __init__(self, problem, tensors):
        self.shape = (problem.batch, problem.n_q, problem.model)
        self.rows = [(row, reference_row(problem, *tensors, row)) for row in sample_rows(problem)]

    def error(self, y):
        """What is wrong with a result, as text; None: nothing."""
        if y.shape != self.shape:
            return f"result of shape {y.shape} instead of {self.shape}"
        if not np.isfinite(y).all():
            return "result with NaN or inf"
        for row, right in self.rows:
            error = np.abs(y[row] - right).max()
            if error > TOLERANCE * np.sqrt(np.mean(right**2)):
                return f"off by {error:.1e} in sequence {row[0]}, token {row[1]}"
        return None
