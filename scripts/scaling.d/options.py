# SPDX-License-Identifier: MIT
"""The command line."""
import argparse
import os
import re

from grid import GOAL_TOKENS, KINDS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

ABOUT = """Measures time, share of the machine's peak and peak memory of libsa against the number of tokens n, which
doubles from point to point, next to attention with the whole n x n matrix; fits the exponents, draws plots and writes
a report. Installs what is missing (Debian, Ubuntu) and builds; needs no arguments. Each point is verified against
float64 and runs in a process of its own."""

MORE = f"""The cheapest next point of all series is measured first, as long as what it is expected to take fits into
--seconds; time is kept back for the causal series with most threads to reach {GOAL_TOKENS:,} tokens. After an
interruption (Ctrl-C) the same command goes on where it was, and a larger --seconds or --max-n adds to what is there.
A changed library, machine or OpenMP environment starts points of its own.

writes into DIR: REPORT.md, results.csv, time, peak and memory as .png and .svg, points.jsonl (what was measured)
exit status: 0 done, 1 a point failed or was wrong, 2 usage, 130 interrupted

  scripts/scaling                                          # five minutes
  scripts/scaling --seconds 1800                           # longer sequences, more of them
  scripts/scaling --series causal --threads 0 --min-n 65536 --max-n 262144    # only the long end
  scripts/scaling --d 128 --heads 8 --out build/scaling128
"""


def positive(text):
    if not re.fullmatch(r"[1-9][0-9]{0,9}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 on")
    return int(text)


def seconds(text):
    if not re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time in seconds")
    return float(text)


def size(text):
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMGT]?)", text)
    if not match or float(match.group(1)) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 512M or 16G")
    return int(float(match.group(1)) * 1024 ** " KMGT".index(match.group(2) or " "))


def threads(text):
    if not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", text) or max(map(int, text.split(","))) > 1024:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list such as 1,2; 0 is the engine's own choice")
    return [int(t) for t in text.split(",")]


def series(text):
    kinds = list(dict.fromkeys(text.split(",")))
    for kind in kinds:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"'{kind}' is none of {', '.join(KINDS)}")
    return kinds


def make_parser():
    parser = argparse.ArgumentParser(
        prog="scripts/scaling", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="series:\n" + "\n".join(f"  {kind:8} {text}" for kind, text in KINDS.items()) + "\n\n" + MORE)
    add = parser.add_argument
    add("--out", metavar="DIR", default=os.path.join(ROOT, "build", "scaling"), help="default: build/scaling")
    add("--seconds", "--budget", type=seconds, metavar="S", default=300.0,
        help="time for all points together, those of earlier runs included (300)")
    add("--series", type=series, metavar="NAME,...", default=["full", "causal", "window", "matrix"],
        help="default: full,causal,window,matrix")
    add("--min-n", type=positive, metavar="N", default=1024, help="shortest sequence (1024)")
    add("--max-n", type=positive, metavar="N", default=1 << 27, help="longest sequence; default: as time and memory "
        "allow")
    add("--threads", type=threads, metavar="N,...", default=[1, 0], help="0: the engine's own choice (1,0)")
    add("--d", type=positive, metavar="N", default=64, help="dimensions of a head (64)")
    add("--heads", type=positive, metavar="N", default=1, help="heads (1)")
    add("--window", type=positive, metavar="N", default=1024, help="keys that a window shows (1024)")
    add("--sink", type=positive, metavar="N", default=16, help="keys that stay visible in the series sink (16)")
    add("--repeats", type=positive, metavar="N", default=9, help="samples of a point at most (9)")
    add("--point-seconds", type=seconds, metavar="S", default=0.5,
        help="time for the samples of a point; a longer call is made once (0.5)")
    add("--max-memory", type=size, metavar="SIZE", help="for one point; default: nine tenths of what is available")
    add("--fresh", action="store_true", help="start again; the old points are kept as points.jsonl.old")
    add("--report", action="store_true", help="measure nothing: report what has been measured")
    add("--quiet", action="store_true", help="no progress")
    add("--check-options", action="store_true", help=argparse.SUPPRESS)
    add("--program", help=argparse.SUPPRESS, default=os.path.join(ROOT, "build", "release", "perf", "scale_point"))
    return parser


def parse(arguments):
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.max_n < options.min_n:
        parser.error(f"--max-n {options.max_n} is below --min-n {options.min_n}")
    if options.d > 576:
        parser.error(f"--d {options.d}: the library serves 1 to 576")
    if options.report and options.fresh:
        parser.error("--fresh leaves nothing to --report")
    return options
