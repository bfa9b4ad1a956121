# SPDX-License-Identifier: MIT
"""The command line. Run by itself it checks it and prints what the bash entry must provide: words of "build plot"."""
import argparse
import math
import sys
from pathlib import Path

PRESETS = ("prefill", "decode", "mixed", "callers")

DESCRIPTION = """\
Which OMP_NUM_THREADS, which binding, which engine options? Measures them for your own shapes and recommends
lines for your environment or your sa_engine_options - or to keep the default, if nothing is better beyond noise.
From a fresh clone it installs what is missing (Debian, Ubuntu) and builds; nothing else is needed.
"""

EPILOG = """\
how it works:
  Every measurement is one run of perf/bench over all shapes. Configurations are measured in rounds, A B C, C A B ...,
  and compared round by round, so that a disturbance hits all alike. First team sizes, then bindings (and AVX2 where
  the engine chose AVX-512) for the best of them, three rounds each; then the finals: the default, the default once
  more as a check, and the best few, in rounds of their own. Two of them differ only if the interval that holds the
  median of the ratios with 95 % confidence does not contain 1.

examples:
  scripts/tune_threads                                             # perf/shapes/mixed.txt, a minute and a half
  scripts/tune_threads --preset decode --plot
  scripts/tune_threads --shape 'mine heads=32 kv=8 nq=1 nk=4096 d=128 batch=8 causal'
  scripts/tune_threads --shapes my.txt --cpus 0-3 --quota 2.5      # as in a container that may use less
  scripts/tune_threads --preset callers --callers 8                # throughput and latency of 8 callers at once

Shapes are written as perf/README.md says, one a line.
exit status: 0 measured, 1 something failed or it was interrupted, 2 usage
"""


def cpu_list(text):
    """'0-3,6' -> {0, 1, 2, 3, 6}"""
    cpus = set()
    for item in text.split(","):
        first, dash, last = item.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise argparse.ArgumentTypeError(f"'{text}' is no list of CPUs such as 0-3,6")
        low, high = int(first), int(last or first)
        if not low <= high < 65536:
            raise argparse.ArgumentTypeError(f"'{item}' is no range of CPUs")
        cpus.update(range(low, high + 1))
    return cpus


def number(low, high, kind=float):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number from {low:g} to {high:g}")
        return value

    return parse


def count_list(text):
    return sorted({number(1, 1024, int)(item) for item in text.split(",")})


def readable(text):
    """A file of shapes; a bare name is one of the bench's own."""
    if "/" in text and not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"'{text}' is not a file")
    return text


def parser():
    p = argparse.ArgumentParser(prog="tune_threads", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    what = p.add_argument_group("what is computed (may be given together and several times)")
    what.add_argument("--preset", action="append", choices=PRESETS, default=[],
                      help="shapes of perf/shapes; the longest are left out, visibly, if the time is too short")
    what.add_argument("--shapes", action="append", metavar="FILE", type=readable, default=[],
                      help="your shapes, one a line")
    what.add_argument("--shape", action="append", metavar="LINE", default=[], help="one shape")
    what.add_argument("--callers", metavar="N", type=number(1, 1024, int), default=0,
                      help="N threads call one engine at once; tunes the throughput, shows the latency")
    where = p.add_argument_group("where it runs")
    where.add_argument("--cpus", metavar="LIST", type=cpu_list, help="only on these CPUs, e.g. 0-3,6")
    where.add_argument("--quota", metavar="CPUS", type=number(0.05, 4096),
                       help="under a CPU quota, in a control group made for the run; needs the right to make one")
    how = p.add_argument_group("how it is measured")
    how.add_argument("--threads", metavar="N,...", type=count_list,
                     help="team sizes (1, 2, 3, 4, 6, 8, 12 ... up to the hardware threads)")
    how.add_argument("--seconds", metavar="S", type=number(0, 1e6), default=90.0,
                     help="time to spend (90); three rounds of all and eight of the finals are made in any case")
    how.add_argument("--rounds", metavar="N", type=number(1, 1000, int),
                     help="rounds of the finals (what the time allows, 8 to 60)")
    out = p.add_argument_group("output")
    out.add_argument("--out", metavar="DIR", type=Path, help="where tune.csv and tune.png go (build/tune)")
    out.add_argument("--plot", action="store_true", help="also draw tune.png (installs python3-matplotlib)")
    out.add_argument("--quiet", action="store_true", help="no progress bar")
    p.add_argument("--build", metavar="DIR", type=Path,
                   help="measure what was built there; install and build nothing")
    return p


def parse(arguments):
    options = parser().parse_args(arguments)
    if not (options.preset or options.shapes or options.shape):
        options.preset = ["callers" if options.callers else "mixed"]
    return options


if __name__ == "__main__":
    wanted = parse(sys.argv[1:])
    print(*(["build"] if wanted.build is None else []), *(["plot"] if wanted.plot else []))
