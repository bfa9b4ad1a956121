# SPDX-License-Identifier: MIT
"""cheaper.png: error of the output against pairs computed and against measured time, a curve for each kind."""
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: E402

# Okabe and Ito's colours, which colour-blind readers tell apart.
LOOKS = {"window": ("#0072B2", "o", "window"), "sink": ("#D55E00", "s", "window with sinks"),
         "strided": ("#009E73", "^", "strided blocks"), "top": ("#555555", "D", "best blocks (known afterwards)"),
         "means": ("#CC79A7", "v", "blocks by means")}
STYLE = {"font.size": 10, "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True,
         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 9}


def curves(axes, patterns, cost):
    for kind, (colour, marker, text) in LOOKS.items():
        drawn = sorted((p for p in patterns if p["kind"] == kind), key=lambda p: p["share"])
        if not drawn:
            continue
        x, mean, worst = zip(*((cost(p), p["error_mean"], p["error_max"]) for p in drawn))
        axes.plot(x, mean, color=colour, marker=marker, markersize=5, linewidth=1.6, label=text)
        axes.plot(x, worst, color=colour, marker=marker, markersize=3, linewidth=0.8, linestyle=":", alpha=0.5)


def shape(axes, label, patterns):
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g} %"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    errors = [p[which] for p in patterns for which in ("error_mean", "error_max") if p[which] > 0]
    if errors:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))


def draw(result, title, path):
    exact, patterns = result["patterns"][0], result["patterns"][1:]
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), sharey=True)
        curves(left, patterns, lambda p: p["share"])
        curves(right, patterns, lambda p: p["seconds"] / exact["seconds"])
        shape(left, "pairs computed, of the exact result's", patterns)
        shape(right, "time, of the exact result's", patterns)
        left.set_ylabel("relative error: mean (full), worst row (dotted)")
        if patterns:
            right.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        left.set_title(f"What cheaper attention loses: {title}", fontsize=11, loc="left")
        figure.savefig(path, dpi=160, bbox_inches="tight")
        plt.close(figure)
