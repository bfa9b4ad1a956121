# SPDX-License-Identifier: MIT
"""python3 -m peers: the part of perf/peers/run that measures. The rest is imported where numpy is known to be."""
import signal
import sys

from peers import options


def main():
    chosen = options.parse(sys.argv[1:])
    if chosen.plan:
        options.print_plan(chosen)
        return 0
    from peers import compare, driver, export, plot, table
    measured = driver.run(chosen)
    compared = compare.compare(measured, chosen.chosen)
    print(table.render(measured, compared))
    if chosen.json:
        export.write_json(chosen.json, measured)
    if chosen.csv:
        export.write_csv(chosen.csv, compared)
    if any(c.ratio for c in compared):
        plot.draw(chosen.png, measured, compared)
        print(f"plot: {chosen.png}")
    wrong = any(result["status"] == "libsa wrong" for result in measured["results"])
    return 1 if wrong or not any(c.ratio for c in compared) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without the worker
    try:
        sys.exit(main())
    except (OSError, RuntimeError) as error:
        sys.exit(f"perf/peers/run: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
