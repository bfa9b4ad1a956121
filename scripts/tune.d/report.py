# SPDX-License-Identifier: MIT
"""What a person reads, and the CSV."""
import csv
import statistics
import textwrap

import configurations as conf
import recommend
import stats


WIDTH = 118


def cpus_text(cpus):
    """{0, 1, 2, 5} -> '0-2,5'"""
    ranges = []
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def time_text(seconds):
    for unit, factor in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            break
    return f"{seconds * factor:.3g} {unit}"


def percent(share, digits=1):
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def wrapped(title, text):
    """As `sa info` prints: a title of 12 columns, then lines that are not too long."""
    return textwrap.fill(f"{title:<12}{text}", WIDTH, subsequent_indent=" " * 12, break_long_words=False,
                         break_on_hyphens=False)


# ---- table ----

def comparison_of(results, configuration):
    """Against the default: in the finals if it was there, otherwise in the sweep."""
    stage = "finals" if results.rounds(configuration, "finals") else None
    return stats.compare(results.rounds(configuration, stage), results.rounds(conf.DEFAULT, stage),
                         max(1, len(results.finalists) - 2))


def mark(results, configuration):
    """How sure the difference is, in words."""
    if configuration == conf.DEFAULT:
        return ""
    if configuration in results.failed:
        return f"FAILED: {results.failed[configuration]}"
    comparison = comparison_of(results, configuration)
    if configuration in results.finalists and comparison.verdict != stats.UNKNOWN:
        return comparison.verdict
    if configuration in results.hopeless:
        return "far behind another, not measured again"
    if comparison.low <= 1 <= comparison.high:
        return "within noise"
    side = "behind" if comparison.low > 1 else "ahead"
    rounds = "1 round" if comparison.n == 1 else f"all {comparison.n} rounds"
    return f"{side} in {rounds}: too few to be sure"


def median_of(samples, get):
    values = [get(s) for s in samples if get(s) is not None]
    return statistics.median(values) if values else None


def throttled_share(samples):
    shares = [s.throttled for s in samples if s.throttled is not None]
    return statistics.fmean(shares) if shares else None


def row(results, configuration):
    samples = list(results.samples[configuration].values())
    comparison, effect = comparison_of(results, configuration), results.effect(configuration)
    binding = "OpenMP" if configuration.runtime_binding() else effect.binding
    cells = [configuration.label, str(effect.threads), binding, recommend.speed(comparison.median)]
    cells.append("" if configuration == conf.DEFAULT
                 else f"{1 / comparison.high:.2f} - {1 / comparison.low:.2f}")
    cells += [percent(stats.noise(results.rounds(configuration))), str(len(samples))]
    if any(s.throttled is not None for s in samples):
        cells.append(percent(throttled_share(samples), 0))
    if samples[0].latency:
        cells += [time_text(median_of(samples, lambda s, k=k: s.latency[k])) for k in ("median", "p99")]
    return cells + [mark(results, configuration)]


def heads(results):
    sample = next(iter(results.samples[conf.DEFAULT].values()))
    titles = ["configuration", "threads", "binding", "speed", "between", "noise", "rounds"]
    titles += ["throttled"] if sample.throttled is not None else []
    return titles + (["latency", "p99"] if sample.latency else []) + ["against the default"]


def table(results):
    """Fastest first."""
    rows = [heads(results)] + [row(results, c) for c in sorted(results.measured(), key=results.ratio)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = []
    for cells in rows:
        middle = "  ".join(f"{cell:>{w}}" for cell, w in list(zip(cells, widths))[1:-1])
        lines.append(f"{cells[0]:<{widths[0]}}  {middle}  {cells[-1]}".rstrip())
    return lines


NOTE = """\
speed: the default's time over this one's, round by round, all shapes counting the same; between: the interval that
holds its median with 95 % confidence (a sign test, shared out over all who were in the finals; with few rounds all
values); within noise: 1.00 lies in it. noise: distance of the quartiles of its rounds over the median"""


def notes(results):
    lines = [NOTE]
    if any(s.throttled is not None for s in results.samples[conf.DEFAULT].values()):
        lines.append("throttled: share of the quota's periods (100 ms) in which it was used up and all stood still")
    for candidate, other in results.same_as:
        lines.append(f"not measured: {candidate.label}: the engine makes the same of it as of: {other.label}")
    if results.untried:
        names = ", ".join(c.label for c in results.untried)
        lines.append(f"not measured: {names}: larger teams were far behind already")
    lines += [f"failed: {c.label}: {why}" for c, why in results.failed.items() if c not in results.samples]
    return [textwrap.fill(line, WIDTH) for line in lines]


# ---- recommendation ----

def remarks(results, chosen):
    """What the speed does not say about the chosen configuration."""
    samples = results.samples[chosen].values()
    lines = []
    throttled = throttled_share(samples)
    if throttled and throttled >= 0.01:
        share = percent(throttled, 0)
        lines.append(f"it used up the quota in {share} of its periods: calls then wait for the next one")
    if next(iter(samples)).latency and chosen != conf.DEFAULT:
        own, other = (median_of(results.samples[c].values(), lambda s: s.latency["p99"])
                      for c in (chosen, conf.DEFAULT))
        lines.append(f"99 of 100 calls took at most {time_text(own)}, with the default {time_text(other)}")
    return lines


def recommendation(found, set_here):
    lines = [f"recommendation: {found.headline}"]
    for i, reason in enumerate(found.reasons):
        lines.append(textwrap.fill(f"  {'because' if i == 0 else '    and'} {reason}", WIDTH,
                                   subsequent_indent=" " * 10))
    shell = recommend.environment_lines(found, set_here)
    if found.configuration == conf.DEFAULT and not shell:
        return lines + ["  nothing to set, in the environment or in sa_engine_options"]
    lines += ["  in the environment:", *(f"      {line}" for line in shell)] if shell else []
    if found.configuration == conf.DEFAULT:
        return lines
    either = "or" if found.configuration.export_lines() else "and" if shell else "only"
    option = recommend.option_line(found)
    return lines + ([f"  {either} in the program:", f"      {option}"] if option else
                    ["  (sa_engine_options cannot say this)"])


# ---- CSV ----

FIELDS = ("round", "stage", "configuration", "environment", "options", "threads", "binding", "kernel", "shape",
          "seconds", "throttled", "latency_median_s", "latency_p99_s")


def write_csv(path, results):
    """One line for each configuration, round and shape."""
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(FIELDS)
        for c, rounds in results.samples.items():
            for number, sample in rounds.items():
                options = " ".join(c.bench_arguments())
                shared = [number, results.stage_of[number], c.label, c.environment_text(), options,
                          sample.effect.threads, sample.effect.binding, sample.effect.kernel]
                rest = [sample.throttled, sample.latency.get("median"), sample.latency.get("p99")]
                for shape, seconds in sample.times.items():
                    out.writerow([*shared, shape, f"{seconds:.9g}", *("" if v is None else f"{v:.6g}" for v in rest)])
