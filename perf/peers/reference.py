# SPDX-License-Identifier: MIT
"""The data, and rows of the result in float64 to hold everyone's against."""
import numpy as np

from peers import elements

# Of the weighted mean of |v|. Float32 gives 1e-7 to 1e-5 here, bfloat16 or TF32 inside 1e-3 and a wrong mask 1e-1: what
# is within it did the same work in the same precision. In 16 bits o is rounded, and peers round the weights as well.
TOLERANCE = {"f32": 1e-4, "bf16": 2e-2, "f16": 4e-3}
RANDOM_ROWS = 16


def make_tensors(problem, seed):
    """q, k, v of a problem as [sequence][head][token][d], standard normal, rounded to its type."""
    rng = np.random.default_rng(seed)
    sizes = ((problem.heads, problem.n_q, problem.d), (problem.kv, problem.n_k, problem.d),
             (problem.kv, problem.n_k, problem.dv))
    return tuple(elements.rounded(rng.standard_normal((problem.batch, *size), dtype=np.float32), problem.type)
                 for size in sizes)


def sample_rows(problem):
    """(sequence, head, query): the corners, and some at random."""
    rng = np.random.default_rng(1)
    ends = [(b, h, i) for b in {0, problem.batch - 1} for h in {0, problem.heads - 1} for i in {0, problem.n_q - 1}]
    return ends + [(int(rng.integers(problem.batch)), int(rng.integers(problem.heads)), int(rng.integers(problem.n_q)))
                   for _ in range(RANDOM_ROWS)]


def visible_keys(problem, i):
    low, high = problem.span(i)
    return np.r_[0:min(problem.sink, low, high), low:max(low, high)]


def exact(array):
    return elements.to_float32(array).astype(np.float64)


def reference_row(problem, q, k, v, row):
    """(o, weighted mean of |v|), both of d_v elements."""
    b, h, i = row
    kv_head = h // (problem.heads // problem.kv)
    keys = visible_keys(problem, i)
    if len(keys) == 0:
        return np.zeros(problem.dv), np.zeros(problem.dv)
    s = exact(k[b, kv_head, keys]) @ exact(q[b, h, i]) / np.sqrt(problem.d)
    p = np.exp(s - s.max())
    p /= p.sum()
    values = exact(v[b, kv_head, keys])
    return p @ values, p @ np.abs(values)


class Reference:
    def __init__(self, problem, tensors):
        self.tolerance = TOLERANCE[problem.type]
        self.shape = (problem.batch, problem.heads, problem.n_q, problem.dv)
        self.rows = [(row, *reference_row(problem, *tensors, row)) for row in sample_rows(problem)]

    def error(self, o):
        """What is wrong with a result, as text; None: nothing."""
        if o.shape != self.shape:
            return f"result of shape {o.shape} instead of {self.shape}"
        o = elements.to_float32(o)
        if not np.isfinite(o).all():
            return "result with NaN or inf"
        for row, right, scale in self.rows:
            error = np.abs(o[row] - right)
            if (error > self.tolerance * scale).any():
                return f"off by {error.max():.1e} in sequence {row[0]}, head {row[1]}, query {row[2]}"
        return None
