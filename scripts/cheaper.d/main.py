# SPDX-License-Identifier: MIT
"""Runs the measuring program, prints its table, writes it as CSV and draws it. scripts/cheaper runs it."""
import csv
import json
import os
import subprocess
import sys

import options as command_line

COLUMNS = ("kind", "size", "sinks", "block", "pairs", "share", "seconds", "seconds_min", "spread", "samples",
           "mass_mean", "mass_min", "error_mean", "error_max", "best")


class CheaperError(Exception):
    pass


def command(options):
    words = [options.program, *options.files, "--layout", options.layout, "--threads", str(options.threads),
             "--repeats", str(options.repeats), "--seconds", str(options.seconds)]
    words += ["--causal"] if options.causal else []
    words += ["--block", str(options.block)] if options.block else []
    for pattern in options.pattern:
        words += ["--pattern", pattern]
    return words


def measure(options):
    try:
        done = subprocess.run(command(options), capture_output=True, text=True, check=False)
    except OSError as error:
        raise CheaperError(f"{options.program}: {error.strerror}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise CheaperError(lines[-1].removeprefix("sa: ") if lines else f"exit status {done.returncode}")
    return json.loads(done.stdout)


def mark_best(found):
    """Those that no other one beats in pairs and error at once, of those that can be had."""
    possible = [p for p in found if p["kind"] != "top"]
    for p in found:
        p["best"] = p in possible and not any(
            q["share"] <= p["share"] and q["error_mean"] <= p["error_mean"] and
            (q["share"], q["error_mean"]) != (p["share"], p["error_mean"]) for q in possible)


def plural(n, word):
    return f"{n} {word}{'' if n == 1 else 's'}"


def label(pattern):
    kind, size = pattern["kind"], pattern["size"]
    return {"exact": "exact", "window": f"window of {size}", "strided": f"own and every {size}. block",
            "sink": f"window of {size}, {plural(pattern['sinks'], 'sink')}", "top": f"top {plural(size, 'block')}",
            "means": f"{plural(size, 'block')} by means"}[kind]


def short_time(seconds):
    for unit, factor in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    return ""


def describe(result):
    heads = f"{result['heads']} heads" if result["heads"] == result["kv_heads"] else (
        f"{result['heads']}:{result['kv_heads']} heads")
    many = f"{result['sequences']} sequences of up to" if result["sequences"] > 1 else "one sequence of"
    return (f"{many} {result['longest']} keys, {heads} of d = {result['d']}"
            f"{', causal' if result['causal'] else ''}; blocks of {result['block']}")


def print_table(result):
    found = result["patterns"]
    print(f"{describe(result)}; {plural(result['threads'], 'thread')}, {result['isa']}, "
          f"{result['cpu']}\n")
    print(f"  {'':26} {'pairs':>8} {'time':>9} {'x':>6}  {'mass':>7} {'worst':>7}  {'error':>7} {'worst':>7}")
    for p in found:
        print(f"{'*' if p['best'] else ' '} {label(p):26} {100 * p['share']:6.1f} % {short_time(p['seconds']):>9} "
              f"{found[0]['seconds'] / p['seconds']:6.2f}  {p['mass_mean']:7.4f} {p['mass_min']:7.4f}  "
              f"{p['error_mean']:7.4f} {p['error_max']:7.3f}")


def print_noise(result):
    noisy = sum(p["spread"] > 0.2 for p in result["patterns"])
    if noisy:
        print(f"the times of {noisy} of {len(result['patterns'])} are noisy, their quartiles more than a fifth apart; "
              "the shortest are in the .csv")


def write_csv(result, path):
    with open(path, "w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for p in result["patterns"]:
            writer.writerow([{**p, "block": result["block"], "best": int(p["best"])}[c] for c in COLUMNS])


def run(options):
    result = measure(options)
    mark_best(result["patterns"])
    os.makedirs(options.out, exist_ok=True)
    table, picture = (os.path.join(options.out, f"cheaper.{kind}") for kind in ("csv", "png"))
    print_table(result)
    write_csv(result, table)
    import plot  # noqa: PLC0415: takes a second, and --help should not
    plot.draw(result, describe(result), picture)
    print("\n* no other pattern here computes as few pairs with a smaller mean error; top is known afterwards only")
    print_noise(result)
    print(f"{table}\n{picture}")


def main():
    options = command_line.parse(sys.argv[1:])
    if options.check_options:
        return 0
    try:
        run(options)
        return 0
    except CheaperError as error:
        print(f"cheaper: {error}", file=sys.stderr)
    except OSError as error:
        print(f"cheaper: {error.filename or options.out}: {error.strerror}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
