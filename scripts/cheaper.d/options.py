# SPDX-License-Identifier: MIT
"""The command line."""
import argparse
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

ABOUT = """Cheaper than n x n: what is lost? Compares windows, windows with sink keys, strided and top-k lists of blocks with
exact attention on real data: pairs computed, measured time, attention mass kept, error of the output. Prints one table
and draws one plot. Installs what is missing (Debian, Ubuntu) and builds; needs no arguments: without files it takes a
page of text in a sentence encoder (tests/data/text.safetensors)."""

MORE = """patterns:
  window:W    the W keys around the query; with --causal the last W up to it
  sink:W+S    the same, and the first S keys
  strided:N   blocks: its own and every Nth from there
  top:K       the K blocks with most of the exact weight, for each block of queries and kv head: nobody knows them without
              having computed everything, so this is the best that any list of K blocks can do. The time is that of
              the call with the lists ready
  means:K     K blocks: its own and those with the largest product of mean query and mean key, which is cheap to find

columns:
  pairs       (query, key) pairs computed, of those of the exact result
  time        median of a call; x: the exact one's over this one's
  mass        share of the exact softmax weights that lies on kept keys: mean of all rows, worst row
  error       |o - exact o| / |exact o| of a row: mean of all rows, worst row
  *           no other pattern here, top aside, computes as few pairs with a smaller mean error

writes into DIR: cheaper.csv, cheaper.png
exit status: 0 done, 1 a result was wrong or something failed, 2 usage

  scripts/cheaper
  scripts/cheaper Q.npy K.npy V.npy --causal --pattern window:512 --pattern sink:512+4 --pattern top:16
"""


def pattern(text):
    if not re.fullmatch(r"(window|strided|top|means):[1-9][0-9]{0,8}|sink:[1-9][0-9]{0,8}\+[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is none of window:W, sink:W+S, strided:N, top:K, means:K")
    return text


def number(low, high):
    def parse(text):
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {low} to {high}")
        return int(text)
    return parse


def seconds(text):
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]*)?|\.[0-9]+", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time in seconds")
    return float(text)


def make_parser():
    parser = argparse.ArgumentParser(
        prog="scripts/cheaper", description=ABOUT, epilog=MORE, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="one .safetensors or three .npy, as for sa run")
    add("--out", metavar="DIR", default=os.path.join(ROOT, "build", "cheaper"), help="default: build/cheaper")
    add("--pattern", action="append", type=pattern, metavar="P", default=[], help="again for more; default: a half, a "
        "quarter, an eighth and a sixteenth by each kind")
    add("--block", type=number(1, 1 << 20), metavar="N", help="tokens of a block (16; from 1,024 keys on 64)")
    add("--causal", action="store_true", help="in the exact result as well, a query sees no key behind itself")
    add("--layout", choices=["bshd", "bhsd"], default="bshd", help="of .npy: bhsd has heads before tokens")
    add("--threads", type=number(0, 1024), metavar="N", default=0, help="0, the default: as the engine chooses")
    add("--repeats", type=number(1, 100000), metavar="N", default=21, help="rounds at most (21)")
    add("--seconds", type=seconds, metavar="S", default=20.0, help="for the rounds of all patterns together (20)")
    add("--check-options", action="store_true", help=argparse.SUPPRESS)
    add("--program", help=argparse.SUPPRESS, default=os.path.join(ROOT, "build", "release", "perf", "cheaper"))
    return parser


def parse(arguments):
    parser = make_parser()
    options = parser.parse_args(arguments)
    if len(options.files) not in (0, 1, 3):
        parser.error(f"{len(options.files)} files, expected one .safetensors or three .npy")
    if len(options.pattern) > 64:
        parser.error(f"{len(options.pattern)} patterns, expected at most 64")
    options.files = options.files or [os.path.join(ROOT, "tests", "data", "text.safetensors")]
    return options
