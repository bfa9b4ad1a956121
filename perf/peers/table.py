# SPDX-License-Identifier: MIT
"""The table, and below it in words what a number alone would not tell."""
import statistics

from peers.compare import grouped, middle
from peers.layer_reference import TOLERANCE as LAYER_TOLERANCE
from peers.reference import TOLERANCE

LEGEND = """\
A peer's figure is its time over libsa's, the median of pairs of calls in turns: above 1 libsa is faster. +-:
distance of the quartiles over the median. *: the fastest peer. libsa, of limit: its time and its share of the
multiply-add peak of the same run, beside all peers (median), only visible (query, key) pairs and, of a whole layer, the
products with its weights counting as work; with an r, where few queries meet many keys, of the rate at which memory is
read, for the bytes of k and v. At best: its shortest time against the highest limit."""
CPUS_MARGIN = 0.2
QUIET = 0.05


def format_seconds(seconds):
    for unit, factor in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    return ""


def plural(threads):
    return f"{threads} thread{'s' if threads > 1 else ''}"


# ---- the table ----

def cell(c):
    if c is None:
        return ""
    if not c.ratio:
        return "-" if c.status == "unsupported" else c.status.upper()
    spread = 100 * (c.ratio[2] - c.ratio[0]) / c.ratio[1]
    return f"{c.ratio[1]:.2f} +-{spread:2.0f} %{'*' if c.best else ' '}"


def row(shape, group, peers):
    time, share = middle(group, "libsa_s"), middle(group, "share")
    best = max((c.share_best for c in group if c.ratio), default=0)
    read = " r" if group[0].decode else ""
    libsa = [format_seconds(time), f"{100 * share:.0f} %{read}", f"{100 * best:.0f} %{read}"] if time else [""] * 3
    by_peer = {c.peer: c for c in group}
    return [shape, *libsa, *(cell(by_peer.get(peer)) for peer in peers)]


def align(rows):
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return ["  ".join([r[0].ljust(widths[0])] + [text.rjust(width) for text, width in zip(r[1:], widths[1:])]).rstrip()
            for r in rows]


def heading(measured, threads):
    workers = [w for w in measured["workers"] if w["threads"] == threads and w["libsa"]]
    peaks = [peak for w in workers for peak in w["peaks"]]
    if not workers:
        return plural(threads)
    libsa = workers[0]["libsa"]
    reads = [read for w in workers for read in w["reads"]]
    memory = f", memory read at {statistics.median(reads) / 1e9:.1f} GB/s" if reads else ""
    return (f"{plural(threads)}: libsa {libsa['version']} ({libsa['isa']}); peak {statistics.median(peaks) / 1e9:.0f} "
            f"GFLOP/s{memory}; {measured['cpu']}, {measured['cores']} CPUs")


def render_threads(measured, groups, threads):
    mine = {shape: group for (n, shape), group in groups.items() if n == threads}
    peers = list(dict.fromkeys(c.peer for group in mine.values() for c in group))
    rows = [["shape", "libsa", "of limit", "at best", *(f"{peer} " for peer in peers)]]
    rows += [row(shape, group, peers) for shape, group in mine.items()]
    return [heading(measured, threads), "", *(align(rows) if mine else []), *summary(mine), ""]


def summary(groups):
    best = [c for group in groups.values() for c in group if c.best]
    if not best:
        return []
    least = min(best, key=lambda c: c.ratio[1])
    median = statistics.median(c.ratio[1] for c in best)
    return ["", f"Against the fastest peer of each shape: median {median:.2f}, least {least.ratio[1]:.2f} "
                f"({least.shape}, {least.peer})."]


# ---- the words ----

def versions(measured):
    known = {w["peer"]: w["version"] for w in measured["workers"] if w["version"]}
    if not known:
        return []
    tolerances = ", ".join(f"{value:g} ({name})" for name, value in [*TOLERANCE.items(), ("layer", LAYER_TOLERANCE)])
    return ["Peers: " + ", ".join(f"{peer} {version}" for peer, version in known.items()) + ".",
            f"Everything timed, libsa too, was within {tolerances} of a float64 reference before."]


def absent(measured):
    return [f"{w['peer']}, {plural(w['threads'])}: SKIPPED, {w['reason']}" for w in measured["workers"] if w["reason"]]


def reasons(compared):
    """Those that apply to several shapes are told once."""
    told = {}
    for c in compared:
        if c.reason:
            told.setdefault((c.peer, c.status, c.reason), []).append(c.shape)
    return [f"{peer}: {'-' if status == 'unsupported' else status.upper()}, {reason}: "
            f"{', '.join(dict.fromkeys(shapes))}" for (peer, status, reason), shapes in told.items()]


def threads_kept(measured):
    """Who computed with more processors than it was given, or left threads awake."""
    notes = {}
    for result in measured["results"]:
        if result["status"] != "timed":
            continue
        who = f"{result['peer']}, {plural(result['threads'])}"
        awake = f"{who}: threads stay awake for a while after a call; ms of pause before each sample"
        if result["peer_cpus"] > result["threads"] + CPUS_MARGIN:
            notes.setdefault(f"{who}: USED MORE PROCESSORS", []).append(f"{result['peer_cpus']:.1f}")
        if result["awake_s"] < 0:
            notes.setdefault(f"{who}: THREADS STAY AWAKE beside libsa", []).append(result["shape"])
        elif result["pause_s"]:
            notes.setdefault(awake, []).append(f"{1e3 * result['pause_s']:.0f}")
    return [f"{note}: {', '.join(dict.fromkeys(values))}" for note, values in notes.items()]


def disturbance(measured):
    share = f"Meanwhile others used {100 * measured['others']:.0f} % of the machine's processor time."
    return [share + (" THE MACHINE WAS NOT QUIET: read the ratios only." if measured["others"] > QUIET else "")]


def render(measured, compared):
    groups = grouped(compared)
    lines = [line for threads in dict.fromkeys(w["threads"] for w in measured["workers"])
             for line in render_threads(measured, groups, threads)]
    notes = absent(measured) + reasons(compared) + threads_kept(measured)
    return "\n".join([*lines, LEGEND, *versions(measured), *notes, *disturbance(measured)])
