# SPDX-License-Identifier: MIT
"""REPORT.md and results.csv."""
import csv
import os
import platform
import textwrap

import fit
from text import digits, short_bytes, short_time

DISTURBED = 0.03  # share of the machine that others took; scheduling noise stays below

COLUMNS = ("kind", "threads", "d", "heads", "window", "sink", "n", "samples", "seconds_median", "seconds_min",
           "seconds_max", "gflops", "peak_gflops", "share_of_peak", "rss_peak_bytes", "rss_beyond_base_bytes",
           "tensor_bytes", "scratch_bytes", "pairs", "error_of_bound", "others", "date")


def csv_row(series, p):
    return (series.kind, series.threads, series.d, series.heads, series.window, series.sink, p.n, p.samples,
            f"{p.seconds:.6g}", f"{p.best:.6g}", f"{p.worst:.6g}", f"{p.rate / 1e9:.5g}",
            f"{p.peak / 1e9:.5g}" if p.peak else "", f"{p.share:.4f}" if p.share else "", p.rss, p.extra, p.tensors,
            p.scratch, p.record["pairs"], "" if p.error is None else p.error,
            "" if p.others is None else f"{p.others:.4f}", p.record["date"])


def write_csv(path, points):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(csv_row(series, p) for series, found in points.items() for p in found)


def table(head, rows):
    """Numbers to the right, the first column to the left."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


# ---------------------------------------------------------------- parts

def setup(machine, points, plots_version):
    dates = sorted(p.record["date"] for found in points.values() for p in found)
    program, blas = machine.program, machine.blas
    described = "\n".join("    " + line for line in program["describe"].rstrip().splitlines())
    rows = [
        ("processor", program["cpu"]), ("memory", short_bytes(machine.memory)),
        ("system", f"{machine.distribution or 'Linux'}; {machine.system}; transparent huge pages "
         f"{machine.huge_pages}"),
        ("library", f"libsa {program['version']}, kernel {program['isa']}, SHA-256 of the file "
         f"{machine.library_hash}…"),
        ("compiler", f"{program['compiler']}, {program['flags']}"),
        ("baseline", f"NumPy {blas['numpy']} with {blas['blas']}"),
        ("scripts", f"Python {platform.python_version()}, {plots_version}"),
        ("measured", f"{dates[0]} to {dates[-1]}"),
    ]
    return "## Setup\n\n| | |\n|---|---|\n" + "".join(f"| {a} | {b} |\n" for a, b in rows) + f"\n{described}\n"


METHOD = """
Every point, a length and a team of threads, is measured in a process of its own on standard normal q, k and v ({heads},
d = {d}, float32), whose first result is checked against float64: rows at the edges of tiles and some at random within
the error bound of the library, all elements for sanity.
Times are medians of up to {repeats} calls in {seconds:g} s after that first call; a call longer than that is made once,
and the checked call is the sample.
"Of peak" is 2 · visible pairs · 2d flops by that time, over the single-precision multiply-add peak of as many threads,
measured between the calls of the same process (for the baseline: in the other processes).
Memory is the highest resident set (VmHWM) after the calls, less that of the same process before its tensors.
The baseline computes softmax(q kᵀ) v with the n × n matrix in memory: both products by BLAS, the softmax in place, in
pieces that fit the cache, on as many threads; it masks nothing, so it stands next to "full".
"""


def method(options):
    heads = "1 head" if options.heads == 1 else f"{options.heads} heads"
    text = METHOD.format(heads=heads, d=options.d, repeats=options.repeats, seconds=options.point_seconds)
    return "## Method\n\n" + textwrap.fill(" ".join(text.split()), 118) + "\n"


def percent(share):
    return "–" if share is None else f"{100 * share:.0f} %"


def result_row(series, p):
    spread = (p.worst - p.best) / p.seconds if p.samples > 1 else None
    error = "–" if p.error is None else f"{p.error:.4f}"
    return (f"{p.n:,}", short_time(p.seconds), percent(spread), str(p.samples), digits(p.rate / 1e9), percent(p.share),
            short_bytes(p.rss), short_bytes(p.extra), error, percent(p.others))


def warning(points):
    disturbed = sum((p.others or 0) > DISTURBED for p in points)
    if not disturbed:
        return ""
    return (f"\n**The machine was not quiet: others took more than {100 * DISTURBED:.0f} % of it during {disturbed} "
            f"of {len(points)} points.**\n")


def results(points):
    head = ("n", "time", "range", "samples", "GFLOP/s", "of peak", "peak RSS", "beyond base", "error", "others")
    text = ("## Results\n\nRange: slowest less fastest sample, by the median. Error: the largest found, by its bound. "
            "Others: what else\nran took of the machine's processor time.\n")
    text += warning([p for found in points.values() for p in found])
    for series, found in points.items():
        if found:
            text += f"\n### {series.label}\n\n" + table(head, [result_row(series, p) for p in found])
    return text


def power_text(power):
    if power is None:
        return "too few points"
    return f"{power.exponent:.3f} ± {power.margin:.3f}"


def fit_row(series, found):
    time = fit.power([(p.n, p.seconds) for p in found])
    memory = fit.power([(p.n, p.extra) for p in found])
    used = f"{time.points} from n = {time.first_n:,}" if time else "–"
    return series.label, f"{series.growth}", power_text(time), power_text(memory), used


def memory_row(series, found):
    line = fit.line([(p.n, p.extra) for p in found])
    if line is None or series.kind == "matrix":
        return None
    tensors = found[-1].tensors / found[-1].n
    return (series.label, f"{line.slope:.1f} B", f"{tensors:.0f} B", f"{100 * (line.slope / tensors - 1):+.2f} %",
            short_bytes(line.constant), short_bytes(found[-1].scratch))


def fits(points):
    shown = [(series, found) for series, found in points.items() if found]
    head = ("", "in theory", "time ~ n^", "memory ~ n^", "points")
    text = ("## Fits\n\nExponents: least squares through the logarithms of the larger half of n, with the 95 % "
            "interval of Student's t.\n\n" + table(head, [fit_row(*pair) for pair in shown]))
    lines = [row for row in (memory_row(*pair) for pair in shown) if row]
    if lines:
        head = ("memory = a n + b", "a", "q, k, v, o", "a beyond these", "b", "scratch, as planned")
        text += ("\nMemory beyond the base, fitted over all n with relative weights, next to what the inputs and the "
                 "output take themselves:\n\n" + table(head, lines))
    return text


PICTURES = """## Plots

![time](time.png)

![share of peak](peak.png)

![memory](memory.png)

The same as [time.svg](time.svg), [peak.svg](peak.svg) and [memory.svg](memory.svg); the numbers in
[results.csv](results.csv), every sample in [points.jsonl](points.jsonl).
"""


def ended_by(ends):
    """Series by what ended them."""
    grouped = {}
    for series, (kind, text, _) in ends.items():
        grouped.setdefault({"max-n": text}.get(kind, f"{kind} ({text})"), []).append(series.label)
    return grouped


def left_out(ends, machine, failures, others):
    lines = [f"- Longest n by {why}: {'; '.join(who)}." for why, who in ended_by(ends).items()]
    if not any(name in machine.blas["blas"].lower() for name in ("openblas", "mkl", "blis")):
        lines.append(f"- The baseline's BLAS, {machine.blas['blas']}, is not known to be a fast one.")
    lines += [f"- FAILED: {label}, n = {n:,}: {why}." for label, n, why in failures]
    if others:
        lines.append(f"- {others} points in points.jsonl are of other builds, machines or settings; not shown.")
    lines.append("- The plot of memory shows the largest team only.")
    return "## What was left out, and why\n\n" + "\n".join(lines) + "\n"


def write(folder, options, machine, points, ends, failures, others, plots_version):
    parts = ["# Scaling of exact self-attention with the number of tokens\n", setup(machine, points, plots_version),
             method(options), results(points), fits(points), PICTURES, left_out(ends, machine, failures, others)]
    path = os.path.join(folder, "REPORT.md")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts))
    write_csv(os.path.join(folder, "results.csv"), points)
    return path
