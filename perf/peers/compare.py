# SPDX-License-Identifier: MIT
"""From samples to what is shown: quartiles of the pairs' ratios and libsa's share of the machine's limit."""
import dataclasses
import statistics

import numpy as np


@dataclasses.dataclass
class Comparison:
    """One peer on one shape. Triples are lower quartile, median, upper quartile; None if it was not timed."""
    shape: str
    peer: str
    threads: int
    status: str
    reason: str
    n_pairs: int = 0
    libsa_s: tuple = None
    peer_s: tuple = None
    ratio: tuple = None  # the peer's time over libsa's, pair by pair
    share: tuple = None  # libsa's rate over the limit measured around this peer's turn, lowest first
    decode: bool = False  # the limit: the memory's read rate; otherwise the multiply-add peak
    ratio_best: float = None  # shortest time over shortest time
    share_best: float = None  # shortest time against the highest limit
    best: bool = False  # the fastest peer of the shape


def quartiles(values):
    return tuple(float(x) for x in np.percentile(values, (25, 50, 75)))


def compare_one(result, shape):
    c = Comparison(result["shape"], result["peer"], result["threads"], result["status"], result.get("reason", ""),
                   decode=shape.is_decode())
    work, limits = (shape.kv_bytes(), result["reads"]) if c.decode else (shape.flops(), result["peaks"])
    if c.status == "timed":
        libsa, peer = np.array(result["libsa_s"]), np.array(result["peer_s"])
        c.n_pairs = len(libsa)
        c.libsa_s, c.peer_s, c.ratio = quartiles(libsa), quartiles(peer), quartiles(peer / libsa)
        c.share = quartiles(work / libsa / statistics.median(limits))
        c.ratio_best = float(peer.min() / libsa.min())
        c.share_best = float(work / libsa.min() / max(limits))
    return c


def compare(measured, shapes):
    by_name = {shape.name: shape for shape in shapes}
    compared = [compare_one(result, by_name[result["shape"]]) for result in measured["results"]]
    for group in grouped(compared).values():
        timed = [c for c in group if c.ratio]
        if timed:
            min(timed, key=lambda c: c.ratio[1]).best = True
    return compared


def grouped(compared):
    """(threads, shape) -> its comparisons, in the order measured."""
    groups = {}
    for c in compared:
        groups.setdefault((c.threads, c.shape), []).append(c)
    return groups


def middle(group, what):
    """libsa beside all peers of a shape: the median of their medians; None: never timed."""
    values = [getattr(c, what)[1] for c in group if c.ratio]
    return float(np.median(values)) if values else None
