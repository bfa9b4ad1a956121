# SPDX-License-Identifier: MIT
"""The baseline, a process of its own: standard attention with the whole n x n matrix of a head, in NumPy. The products
are the BLAS library's; the softmax goes over the matrix once, in place, in pieces that fit the cache, with as many
threads. Prints one line of JSON with the fields of scale_point.

    matrix.py N D HEADS THREADS REPEATS SECONDS    or    matrix.py --blas
"""
import concurrent.futures
import ctypes
import json
import re
import sys
import time

import numpy

PIECE_FLOATS = 1 << 17


def highest_rss():
    with open("/proc/self/status", encoding="ascii") as status:
        return 1024 * int(re.search(r"VmHWM:\s*(\d+)", status.read()).group(1))


# ---------------------------------------------------------------- attention

def softmax_rows(scores, sums, begin, end):
    step = max(1, PIECE_FLOATS // scores.shape[1])
    for row in range(begin, end, step):
        piece = scores[row:min(row + step, end)]
        numpy.subtract(piece, piece.max(axis=1, keepdims=True), out=piece)
        numpy.exp(piece, out=piece)
        sums[row:row + len(piece)] = piece.sum(axis=1)


def attend_head(q, k, v, o, scores, pool, threads):
    """o = softmax(q k^T) v for a q that is scaled already."""
    n = len(q)
    sums = numpy.empty(n, numpy.float32)
    numpy.matmul(q, k.T, out=scores)
    edges = [n * i // threads for i in range(threads + 1)]
    list(pool.map(lambda i: softmax_rows(scores, sums, edges[i], edges[i + 1]), range(threads)))
    numpy.matmul(scores, v, out=o)
    numpy.divide(o, sums[:, None], out=o)


class Problem:
    def __init__(self, n, d, heads, threads):
        dice = numpy.random.default_rng(1)
        self.q, self.k, self.v = (dice.standard_normal((heads, n, d), numpy.float32) for _ in range(3))
        self.q *= numpy.float32(d ** -0.5)
        self.o = numpy.full((heads, n, d), numpy.nan, numpy.float32)
        self.scores = numpy.empty((n, n), numpy.float32)
        self.threads = threads
        self.pool = concurrent.futures.ThreadPoolExecutor(threads)

    def attend(self):
        for head in zip(self.q, self.k, self.v, self.o):
            attend_head(*head, self.scores, self.pool, self.threads)

    def is_right(self):
        """Some rows against float64; a BLAS library that does not suit the processor has been wrong before."""
        n = self.q.shape[1]
        if not numpy.isfinite(self.o).all():
            return False
        for head in {0, len(self.q) - 1}:
            k, v = self.k[head].astype(float), self.v[head].astype(float)
            for row in {0, n // 3, n // 2, n - 1}:
                weights = k @ self.q[head, row].astype(float)
                weights = numpy.exp(weights - weights.max())
                if not numpy.allclose(weights @ v / weights.sum(), self.o[head, row], rtol=1e-3, atol=1e-4):
                    return False
        return True


# ---------------------------------------------------------------- measuring

def timed(problem):
    begin = time.perf_counter()
    problem.attend()
    return time.perf_counter() - begin


def take_samples(problem, first, repeats, seconds):
    """As scale_point does: a call that takes longer than `seconds` is made once."""
    if first > seconds:
        return [first]
    samples, end = [], time.perf_counter() + seconds
    while len(samples) < repeats and (not samples or time.perf_counter() + first <= end):
        samples.append(timed(problem))
    return samples


def measure(n, d, heads, threads, repeats, seconds):
    Problem(64, 64, 1, threads).attend()  # the threads and buffers of the BLAS library are no part of what n costs
    before = highest_rss()
    problem = Problem(n, d, heads, threads)
    filled = highest_rss()
    first = timed(problem)
    after = highest_rss()
    if not problem.is_right():
        sys.exit("the baseline's result is WRONG: NumPy's BLAS library computes wrong products on this processor")
    samples = take_samples(problem, first, repeats, seconds)
    pairs = heads * n * n
    print(json.dumps({
        "threads": threads, "pairs": pairs, "flops": 4 * pairs * d, "tensor_bytes": 16 * heads * n * d,
        "workspace_bytes": 4 * n * n, "rss_before": before, "rss_filled": filled, "rss_after": after,
        "first_counts": first > seconds, "seconds": samples, "peak_flops": []}))


# ---------------------------------------------------------------- which BLAS library

def openblas_says(path, what):
    library = ctypes.CDLL(path)
    for name in (f"openblas_get_{what}", f"openblas_get_{what}64_", f"scipy_openblas_get_{what}",
                 f"scipy_openblas_get_{what}64_"):
        if hasattr(library, name):
            function = getattr(library, name)
            function.restype = ctypes.c_char_p
            return function().decode()
    return ""


def blas_name():
    numpy.ones((8, 8), numpy.float32) @ numpy.ones((8, 8), numpy.float32)
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        paths = {line.split(None, 5)[5].strip() for line in maps if len(line.split(None, 5)) == 6}
    for path in sorted(paths):
        if re.search(r"openblas[^/]*\.so", path):
            words = openblas_says(path, "config").split()[:2] + [openblas_says(path, "corename")]
            return " ".join(w for w in words if w) or "OpenBLAS"
    for path in sorted(paths):
        if match := re.search(r"/lib(mkl_rt|blis|flexiblas|blas|cblas)[^/]*\.so", path):
            return match.group(1)
    return "unknown"


if __name__ == "__main__":
    if sys.argv[1:] == ["--blas"]:
        print(json.dumps({"numpy": numpy.__version__, "blas": blas_name()}))
    else:
        measure(*map(int, sys.argv[1:6]), float(sys.argv[6]))
