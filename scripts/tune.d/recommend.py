# SPDX-License-Identifier: MIT
"""From the finals to a recommendation. Pure."""
from dataclasses import dataclass, field

import configurations as conf
import stats

LEAST_GAIN = 0.01  # smaller gains, however sure, are not worth a line in anyone's environment
AS_GOOD = 0.05  # a smaller team that is within noise counts as equally fast if it is surely within this
HARDLY_SLOWER = 0.02  # or if it is slower beyond noise, but surely by less than this


@dataclass
class Recommendation:
    configuration: conf.Configuration
    headline: str
    reasons: list = field(default_factory=list)


def speed(ratio):
    return f"{1 / ratio:.2f}x"


def speeds(comparison):
    """'1.05x as fast (1.02x to 1.07x in 11 rounds)'"""
    return (f"{speed(comparison.median)} as fast ({speed(comparison.high)} to {speed(comparison.low)} in "
            f"{comparison.n} round{'s' if comparison.n > 1 else ''})")


def finals_of(results):
    return {c: results.rounds(c, "finals") for c in results.finalists if c not in results.failed}


def against(finals, other):
    """Everyone in the finals against one of them."""
    contenders = [c for c in finals if c not in (conf.DEFAULT, conf.AGAIN)]
    return {c: stats.compare(finals[c], finals[other], len(contenders)) for c in contenders if c != other}


def own_difference(finals):
    """The default against itself: (comparison, how far from 1 it came out)."""
    if conf.AGAIN not in finals:
        return None, 0.0
    comparison = stats.compare(finals[conf.AGAIN], finals[conf.DEFAULT])
    return comparison, abs(comparison.median - 1) if comparison.n else 0.0


def shapes_text(rounds, others):
    ratios = stats.shape_ratios(rounds, others)
    if len(ratios) < 2:
        return []
    best, worst = min(ratios, key=ratios.get), max(ratios, key=ratios.get)
    return [f"by shape from {speed(ratios[worst])} ({worst}) to {speed(ratios[best])} ({best})"]


def smaller_teams(finals, effects, chosen):
    """Who does the same with fewer threads, smallest team first: surely not much slower than the chosen one."""
    found = []
    for c, comparison in against(finals, chosen).items():
        limit = {stats.UNKNOWN: 0, stats.SLOWER: 1 + HARDLY_SLOWER}.get(comparison.verdict, 1 + AS_GOOD)
        if effects[c].threads < effects[chosen].threads and comparison.high <= limit:
            found.append((c, comparison))
    return sorted(found, key=lambda pair: effects[pair[0]].threads)


def smaller_text(finals, effects, chosen):
    for c, comparison in smaller_teams(finals, effects, chosen)[:1]:
        spared = effects[chosen].threads - effects[c].threads
        return [f"fewer threads are as good: {c.label} is {speeds(comparison)}, {comparison.verdict}, and leaves "
                f"{spared} more core{'s' if spared > 1 else ''} to others"]
    return []


def noise_text(comparison, difference):
    if not comparison or not comparison.n:
        return []
    text = f"the default measured twice in each round came out {speeds(comparison)} against itself"
    if comparison.verdict in (stats.FASTER, stats.SLOWER):
        text += f": the machine was not quiet, so nothing below {100 * difference:.1f} % counts"
    return [text]


def nearest_text(compared, ratios):
    if not compared:
        others = {c: r for c, r in ratios.items() if c not in (conf.DEFAULT, conf.AGAIN)}
        best = min(others, key=others.get, default=None)
        return [f"the best of the others, {best.label}, is {speed(others[best])} as fast" if best
                else "nothing else could be measured"]
    c = min(compared, key=lambda c: compared[c].median)
    verdict = compared[c].verdict
    why = {stats.FASTER: f"faster, but by less than {100 * LEAST_GAIN:.0f} % or than the noise",
           stats.SAME: "a difference within noise"}.get(verdict, verdict)
    return [f"the best of the others, {c.label}, is {speeds(compared[c])}: {why}"]


def keep_default(finals, effects, compared, ratios, finished):
    undecided = any(c.verdict == stats.UNKNOWN for c in compared.values()) or not (finished or compared)
    lead = "too few rounds to tell anything else" if undecided else "nothing was faster beyond noise"
    compared_self, difference = own_difference(finals)
    found = Recommendation(conf.DEFAULT, f"keep the default: {lead}")
    found.reasons = nearest_text(compared, ratios) + noise_text(compared_self, difference)
    if conf.DEFAULT in finals:
        found.reasons += smaller_text(finals, effects, conf.DEFAULT)
    return found


def recommend(finals, effects, ratios=None, finished=True):
    """`finals`: configuration -> round -> shape -> seconds; `effects`: configuration -> Effect; `ratios`: of the sweep,
    configuration -> time over the default's; `finished`: False if the finals were cut short or never came."""
    compared = against(finals, conf.DEFAULT) if conf.DEFAULT in finals else {}
    compared_self, difference = own_difference(finals)
    gain = max(LEAST_GAIN, difference)
    winners = [c for c, r in compared.items() if r.verdict == stats.FASTER and 1 - r.median >= gain]
    if not winners:
        return keep_default(finals, effects, compared, ratios or {}, finished)
    best = min(winners, key=lambda c: compared[c].median)
    found = Recommendation(best, best.label)
    found.reasons = [f"{speeds(compared[best])} as the default ({conf.count_text(effects[conf.DEFAULT].threads)}), "
                     "beyond noise"]
    found.reasons += shapes_text(finals[best], finals[conf.DEFAULT])
    found.reasons += noise_text(compared_self, difference) + smaller_text(finals, effects, best)
    equals = [c.label for c, r in against(finals, best).items() if r.verdict == stats.SAME]
    if equals:
        found.reasons.append(f"within noise of it: {'; '.join(equals)}")
    return found


def environment_lines(recommendation, set_here=()):
    """What goes into a shell, which may be nothing: what is set now and should not be is unset."""
    kept = {name for name, _ in recommendation.configuration.variables()}
    exports = recommendation.configuration.export_lines() or []
    return [f"unset {name}" for name in set_here if name not in kept] + exports


def option_line(recommendation):
    fields = recommendation.configuration.option_fields()
    if fields is None:
        return None
    return "sa_engine_options options = {" + ", ".join(["sizeof options", *fields]) + "};"
