# SPDX-License-Identifier: MIT
"""Statistics of paired rounds. Pure: everything here works on numbers that somebody else measured."""
import math
import statistics
from dataclasses import dataclass

CONFIDENCE = 0.95
FASTER, SLOWER, SAME, UNKNOWN = "faster", "slower", "within noise", "too few rounds to tell"


@dataclass(frozen=True)
class Comparison:
    """Of two configurations: the ratio of their times, below 1 if the first is faster."""
    median: float
    low: float
    high: float
    n: int
    verdict: str


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values))


def round_ratio(times, others):
    """Of two runs over the same shapes; each shape counts the same, however long it takes."""
    shapes = times.keys() & others.keys()
    return geometric_mean(times[s] / others[s] for s in shapes) if shapes else None


def paired_ratios(rounds, others):
    """`rounds`: round number -> shape -> seconds. Ratios of the rounds in which both were measured."""
    ratios = [round_ratio(rounds[r], others[r]) for r in sorted(rounds.keys() & others.keys())]
    return [r for r in ratios if r is not None]


def tail(n, k):
    """Probability that fewer than k of n fair coins show heads."""
    return sum(math.comb(n, i) for i in range(k)) / 2 ** n


def median_interval(values, confidence):
    """Low, high and whether they hold the true median with that confidence: the values that a sign test cannot reject.
    It asks nothing of the distribution; with enough rounds it leaves out the outermost ones, outliers with them."""
    n, ordered = len(values), sorted(values)
    k = 1
    while 2 * (k + 1) <= n and 1 - 2 * tail(n, k + 1) >= confidence:
        k += 1
    return ordered[k - 1], ordered[n - k], 1 - 2 * tail(n, k) >= confidence


def compare(rounds, others, comparisons=1):
    """`comparisons`: how many are made together; each must be that much surer, or one of them would soon err."""
    ratios = paired_ratios(rounds, others)
    if not ratios:
        return Comparison(math.nan, math.nan, math.nan, 0, UNKNOWN)
    low, high, sure = median_interval(ratios, 1 - (1 - CONFIDENCE) / max(1, comparisons))
    verdict = UNKNOWN if not sure else FASTER if high < 1 else SLOWER if low > 1 else SAME
    return Comparison(statistics.median(ratios), low, high, len(ratios), verdict)


def rounds_needed(comparisons):
    """The fewest rounds in which a difference can show at all."""
    n = 1
    while 1 - 2 * tail(n, 1) < 1 - (1 - CONFIDENCE) / max(1, comparisons):
        n += 1
    return n


def scores(rounds):
    """Each round of one configuration as one number around 1: its times over the medians of the same shapes."""
    shapes = {shape for times in rounds.values() for shape in times}
    usual = {s: statistics.median(times[s] for times in rounds.values() if s in times) for s in shapes}
    return {r: round_ratio(times, usual) for r, times in rounds.items()}


def spread(values):
    """Distance of the quartiles over the median; None of fewer than three values."""
    if len(values) < 3:
        return None
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def noise(rounds):
    return spread(list(scores(rounds).values()))


def shape_ratios(rounds, others):
    """Shape -> median over the common rounds of the ratio of its times."""
    common = rounds.keys() & others.keys()
    shapes = {s for r in common for s in rounds[r].keys() & others[r].keys()}
    return {s: statistics.median(rounds[r][s] / others[r][s] for r in common
                                 if s in rounds[r] and s in others[r]) for s in sorted(shapes)}
