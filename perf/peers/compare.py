# SPDX-License-Identifier: MIT
"""From samples to what is shown: quartiles of the pairs' ratios and libsa's share of the peak."""
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
    share: tuple = None  # libsa's flop/s over the peak measured around this peer's turn, lowest first
    ratio_best: float = None  # shortest time over shortest time
    share_best: float = None  # shortest time against the highest peak
    best: bool = False  # the fastest peer of the shape


def quartiles(values):
    return tuple(float(x) for x in np.percentile(values, (25, 50, 75)))


def compare_one(result, flops):
    c = Comparison(result["shape"], result["peer"], result["threads"], result["status"], result.get("reason", ""))
    if c.status == "timed":
        libsa, peer = np.array(result["libsa_s"]), np.array(result["peer_s"])
        c.n_pairs = len(libsa)
        c.libsa_s, c.peer_s, c.ratio = quartiles(libsa), quartiles(peer), quartiles(peer / libsa)
        c.share = quartiles(flops / libsa / statistics.median(result["peaks"]))
        c.ratio_best = float(peer.min() / libsa.min())
        c.share_best = float(flops / libsa.min() / max(result["peaks"]))
    return c


def compare(measured, shapes):
    flops = {shape.name: shape.flops() for shape in shapes}
    compared = [compare_one(result, flops[result["shape"]]) for result in measured["results"]]
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
