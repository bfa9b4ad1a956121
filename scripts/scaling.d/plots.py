# SPDX-License-Identifier: MIT
"""The three pictures, as PNG and SVG."""
import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator  # noqa: E402

from text import short_bytes, short_n, short_time  # noqa: E402

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = {"full": "#0072B2", "causal": "#D55E00", "window": "#009E73", "sink": "#CC79A7", "matrix": "#555555"}
MARKERS = {"full": "o", "causal": "s", "window": "^", "sink": "v", "matrix": "D"}
STYLE = {"font.size": 10, "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True,
         "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "libsa", "svg.fonttype": "none",
         "legend.frameon": False, "legend.fontsize": 9}


def look(series, most_threads):
    """The largest team is drawn full, smaller ones pale and hollow; the baseline is dashed."""
    colour = COLOURS[series.kind]
    full = series.threads == most_threads
    return {"color": colour, "alpha": 1.0 if full else 0.6, "linestyle": "--" if series.kind == "matrix" else "-",
            "marker": MARKERS[series.kind], "markersize": 5, "linewidth": 1.6 if full else 1.1,
            "markerfacecolor": colour if full else "white", "label": series.label}


def curves(axes, points, value, most_threads):
    for series, found in points.items():
        drawn = [(p.n, value(p)) for p in found if value(p)]
        if drawn:
            axes.plot(*zip(*drawn), **look(series, most_threads))


def axis_of_tokens(axes, points):
    ns = [p.n for found in points.values() for p in found]
    axes.set_xscale("log", base=2)
    low, high = min(ns), max(ns)
    axes.set_xlim(low / 1.25, high * 1.25)
    step = 4 if high / low > 64 else 2
    ticks = [low]
    while ticks[-1] * step <= high:
        ticks.append(ticks[-1] * step)
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: short_n(round(n))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("tokens n (k = 1,024)")


def log_axis(axes, label, text):
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: text(y)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(label)


def binary_axis(axes, label):
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_locator(LogLocator(4, numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: short_bytes(y)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(label)


def slope(axes, points, exponent, text, factor, value):
    """A thin line of a known exponent, `factor` times the curve it is held against at the curve's middle."""
    if len(points) < 3:
        return
    middle, last = points[len(points) // 2], points[-1]
    xs = [middle.n, last.n]
    ys = [factor * value(middle) * (x / middle.n) ** exponent for x in xs]
    axes.plot(xs, ys, color="#999999", linewidth=1, linestyle=":")
    axes.annotate(text, (xs[1], ys[1]), xytext=(3, 0), textcoords="offset points", color="#777777", va="center")


def longest(points, test):
    """Of the series that pass, the longest; of those the largest team, which stands last and lowest."""
    return max((found for series, found in reversed(points.items()) if test(series)), key=len, default=[])


def slopes(axes, points, value):
    slope(axes, longest(points, lambda s: s.kind == "causal") or longest(points, lambda s: s.kind == "full"), 2, "n²",
          0.4, value)
    slope(axes, longest(points, lambda s: s.window), 1, "n", 0.4, value)


def mark_end(axes, points, ends, value):
    """Where the baseline ends: a cross on its last point, and why."""
    for series, found in points.items():
        if series.kind != "matrix" or not found or series not in ends:
            continue
        kind, _, first_missing = ends[series]
        why = {"memory": f"the matrix of n = {short_n(first_missing)} takes {short_bytes(4 * first_missing ** 2)}:\n"
               "more than may be used", "time": "ends here: out of time", "failed": "ends here: failed"}.get(kind)
        if why:
            last = found[-1]
            axes.plot([last.n], [value(last)], marker="x", markersize=11, markeredgewidth=2, color="black", zorder=5)
            yield why, last, value(last)


def annotate_end(axes, points, ends, value, offset):
    """One text for all teams, at the last of the crosses."""
    marks = list(mark_end(axes, points, ends, value))
    if marks:
        why, last, y = max(marks, key=lambda mark: mark[1].n)
        axes.annotate(f"n × n {why}" if why.startswith("ends") else why, (last.n, y), xytext=offset,
                      textcoords="offset points", fontsize=8.5, ha="right", va="center",
                      arrowprops={"arrowstyle": "-", "color": "#999999", "shrinkB": 6})


def save(figure, axes, folder, name, title):
    axes.set_title(title, fontsize=11, loc="left")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    paths = [os.path.join(folder, f"{name}.{kind}") for kind in ("png", "svg")]
    for path in paths:
        metadata = {"Date": None} if path.endswith("svg") else None
        figure.savefig(path, dpi=160, bbox_inches="tight", metadata=metadata)
    plt.close(figure)


def draw_time(points, ends, most_threads, folder, title):
    figure, axes = plt.subplots(figsize=(7.2, 4.6))
    curves(axes, points, lambda p: p.seconds, most_threads)
    axis_of_tokens(axes, points)
    log_axis(axes, "time of a call", short_time)
    slopes(axes, points, lambda p: p.seconds)
    annotate_end(axes, points, ends, lambda p: p.seconds, (-40, 12))
    save(figure, axes, folder, "time", f"Time, {title}")


def draw_peak(points, ends, most_threads, folder, title):
    figure, axes = plt.subplots(figsize=(7.2, 4.0))
    curves(axes, points, lambda p: p.share and 100 * p.share, most_threads)
    axis_of_tokens(axes, points)
    axes.set_ylim(0, max([100, *(105 * p.share for found in points.values() for p in found if p.share)]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0f} %"))
    axes.set_ylabel("share of the multiply-add peak")
    save(figure, axes, folder, "peak", f"Share of peak, {title}")


def thin_out(axes):
    """Curves that lie on each other are drawn from broad to narrow."""
    for i, curve in enumerate(axes.get_lines()):
        width = max(1.0, 5 - 1.8 * i)
        curve.set(linewidth=width, markersize=4 + 1.6 * width)


def draw_memory(points, ends, most_threads, folder, title, available):
    """One team: the memory of the others differs by their scratch, which cannot be seen."""
    shown = {s: found for s, found in points.items() if s.threads == most_threads and found}
    figure, axes = plt.subplots(figsize=(7.2, 4.6))
    curves(axes, shown, lambda p: p.extra, most_threads)
    thin_out(axes)
    axis_of_tokens(axes, shown)
    binary_axis(axes, "peak memory beyond the bare process")
    tensors = max(shown.values(), key=lambda found: found[-1].n)
    axes.plot([p.n for p in tensors], [p.tensors for p in tensors], color="#999999", linestyle=":", linewidth=1.4,
              label="q, k, v and o alone", zorder=1)
    axes.axhline(available, color="#999999", linewidth=1)
    axes.annotate(f"memory of the machine, {short_bytes(available)}", (0.99, available), xytext=(0, 3), ha="right",
                  xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=8.5, color="#777777")
    annotate_end(axes, shown, ends, lambda p: p.extra, (-60, -18))
    save(figure, axes, folder, "memory", f"Memory, {title}")


def draw_all(points, ends, machine, options, folder):
    points = {series: found for series, found in points.items() if found}
    most = max(series.threads for series in points)
    title = f"float32, d = {options.d}, {options.heads} head{'s' if options.heads > 1 else ''}"
    with plt.rc_context(STYLE):
        draw_time(points, ends, most, folder, title)
        draw_peak(points, ends, most, folder, title)
        draw_memory(points, ends, most, folder, title, machine.memory)


def versions():
    return f"matplotlib {matplotlib.__version__}"
