# SPDX-License-Identifier: MIT
"""The picture: for each shape the peers as dots right of libsa's line, and libsa's share of the limit as bars."""
import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: E402

from peers import registry  # noqa: E402
from peers.compare import grouped, middle  # noqa: E402

# Okabe and Ito's colours, told apart by colour-blind readers too, and a shape each.
STYLES = [("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#e69f00", "v"), ("#56b4e9", "P"),
          ("#000000", "X"), ("#7f7f7f", "<")]
TICKS = [0.25, 0.5, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128]
ROW_INCHES, HEAD_INCHES, WIDTH_INCHES = 0.42, 1.9, 11
OFFSET = 0.11  # of a row between one peer and the next


def draw_ratios(axis, rows, styles):
    for y, group in enumerate(rows):
        timed = [c for c in group if c.ratio]
        for i, c in enumerate(timed):
            color, marker = styles[c.peer]
            low, median, high = c.ratio
            axis.errorbar(median, y + OFFSET * (i - (len(timed) - 1) / 2), xerr=[[median - low], [high - median]],
                          color=color, marker=marker, markersize=6, linestyle="none", elinewidth=1.2)
    low = min(c.ratio[0] for group in rows for c in group if c.ratio)
    high = max(c.ratio[2] for group in rows for c in group if c.ratio)
    axis.set_xscale("log")
    axis.set_xlim(min(0.9, low * 0.93), max(1.5, high * 1.08))
    axis.axvline(1, color="black", linewidth=1.2)
    axis.xaxis.set_major_locator(FixedLocator(thinned(TICKS, axis.get_xlim())))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("time of the peer / time of libsa (dot: median of the pairs, line: quartiles)")


def thinned(ticks, limits):
    """A wide axis has no room for the ticks between 0.5 and 1.5."""
    wide = limits[1] / limits[0] > 8
    return [x for x in ticks if limits[0] <= x <= limits[1] and not (wide and x in (0.7, 0.8, 0.9, 1.2))]


def draw_shares(axis, rows):
    for y, group in enumerate(rows):
        share = middle(group, "share")
        if share:
            axis.barh(y, 100 * share, height=0.6, color="#b0b0b0")
            axis.text(3, y, f"{100 * share:.0f} %", va="center", fontsize=9)
    axis.set_xlim(0, 100)
    axis.set_xlabel("libsa, % of peak or of read rate")


def draw_threads(axes, threads, groups, styles):
    names = [shape for n, shape in groups if n == threads]
    rows = [groups[threads, name] for name in names]
    draw_shares(axes[0], rows)
    draw_ratios(axes[1], rows, styles)
    axes[0].set_yticks(range(len(names)), names)
    axes[1].set_yticks(range(len(names)), [""] * len(names))
    for axis in axes:
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.grid(axis="x", color="#dddddd")
        axis.set_axisbelow(True)
        for y in range(1, len(names)):
            axis.axhline(y - 0.5, color="#eeeeee", linewidth=0.8, zorder=0)
    axes[1].set_title(f"{threads} thread{'s' if threads > 1 else ''}: right of the line libsa is faster", loc="left",
                      fontsize=11)


def legend(figure, styles, measured):
    versions = {w["peer"]: w["version"] for w in measured["workers"] if w["version"]}
    handles = [plt.Line2D([], [], color=color, marker=marker, linestyle="none", label=f"{peer} {versions[peer]}")
               for peer, (color, marker) in styles.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9)


def draw(path, measured, compared):
    timed = [c for c in compared if c.ratio]
    present = {c.peer for c in timed}
    styles = {peer: STYLES[i % len(STYLES)] for i, peer in enumerate(registry.PEERS) if peer in present}
    groups = {key: group for key, group in grouped(compared).items() if any(c.ratio for c in group)}
    teams = list(dict.fromkeys(threads for threads, _ in groups))
    heights = [sum(1 for n, _ in groups if n == threads) * ROW_INCHES + 1 for threads in teams]
    figure, axes = plt.subplots(len(teams), 2, squeeze=False, layout="constrained",
                                figsize=(WIDTH_INCHES, sum(heights) + HEAD_INCHES / 2),
                                gridspec_kw={"width_ratios": (1, 3.2), "height_ratios": heights})
    for pair, threads in zip(axes, teams):
        draw_threads(pair, threads, groups, styles)
    legend(figure, styles, measured)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
