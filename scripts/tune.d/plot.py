# SPDX-License-Identifier: MIT
"""tune.png: every round of every configuration as a dot, so that the noise is seen beside the difference."""
import configurations as conf
import recommend
import stats

COLOURS = {"sweep": "#9aa5b1", "finals": "#1f5fa8", "chosen": "#c2410c"}


def available():
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def speeds_of(results, configuration, final):
    """Of each round; the default's own are relative to its median, which shows its noise."""
    rounds = {r: t for r, t in results.rounds(configuration).items() if (results.stage_of[r] == "finals") == final}
    if configuration == conf.DEFAULT:
        every = stats.scores(results.rounds(configuration))
        return [1 / every[r] for r in rounds]
    return [1 / r for r in stats.paired_ratios(rounds, results.rounds(conf.DEFAULT))]


def draw_rows(axes, results, chosen):
    order = sorted(results.measured(), key=results.ratio, reverse=True)
    for y, c in enumerate(order):
        for final, colour, size in ((False, COLOURS["sweep"], 14), (True, COLOURS["finals"], 22)):
            values = speeds_of(results, c, final)
            axes.scatter(values, [y + (0.16 if final else -0.16)] * len(values), s=size, color=colour, alpha=0.65,
                         linewidths=0, zorder=3)
        axes.plot([1 / results.ratio(c)] * 2, [y - 0.34, y + 0.34], linewidth=2.5, zorder=4,
                  color=COLOURS["chosen"] if c == chosen else "black")
    axes.set_yticks(range(len(order)), [c.label for c in order])
    axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel("speed: the default's time in the same round over this one's\n"
                    "(dots of the default: its median time over that of the round)")
    axes.grid(axis="x", color="#e5e7eb", zorder=0)


def draw_legend(axes):
    for label, colour in (("a round of the sweep", "sweep"), ("a round of the finals", "finals")):
        axes.scatter([], [], s=22, color=COLOURS[colour], label=label)
    axes.plot([], [], color="black", linewidth=2.5, label="median")
    axes.plot([], [], color=COLOURS["chosen"], linewidth=2.5, label="recommended")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.5 / axes.figure.get_figheight() - 0.06), ncols=4,
                frameon=False, fontsize=8)


def write(path, results, found, title):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    height = 1.9 + 0.42 * len(results.measured())
    figure, axes = pyplot.subplots(figsize=(9.5, height), layout="constrained")
    draw_rows(axes, results, found.configuration)
    draw_legend(axes)
    axes.set_title(f"{title}\nrecommended: {found.headline}", fontsize=9, loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
