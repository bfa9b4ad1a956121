# SPDX-License-Identifier: MIT
"""Long-sequence experiments: measures what is missing, draws and reports what there is. scripts/scaling runs it."""
import os
import signal
import sys

import options as command_line
from grid import make_series
from machine import Machine, MachineError, available_memory
from plan import Limits, Plan, Timing
from points import collect, stored
from progress import Progress
from runner import PointFailed, measure
from store import Store, StoreError


def timing(record):
    return Timing(sorted(record["seconds"])[len(record["seconds"]) // 2], record["wall"])


class Experiment:
    def __init__(self, options):
        self.options = options
        self.machine = Machine(options.program)
        os.makedirs(options.out, exist_ok=True)
        self.store = Store(os.path.join(options.out, "points.jsonl"), options.fresh)
        self.series = make_series(options, self.machine.default_threads)
        self.failures = []
        limits = Limits(options.min_n, options.max_n, options.max_memory or int(0.9 * available_memory()),
                        options.seconds, options.point_seconds)
        self.plan = Plan(self.series, limits, {
            s: {n: timing(record) for n, record in self.records(s).items()} for s in self.series})

    def records(self, series):
        return stored(self.store, self.machine, series, self.options)

    def measure_all(self):
        progress = Progress(self.options.quiet)
        done = sum(len(found) for found in self.plan.history.values())
        if done and not self.options.quiet:
            print(f"{done} points are there already, they took {self.plan.spent():.0f} s", file=sys.stderr)
        try:
            while steps := self.plan.remaining():
                progress.start(f"{steps[0].series.label}, n = {steps[0].n:,}", done, steps)
                done += self.measure_one(steps[0], progress)
        finally:
            progress.end()

    def measure_one(self, step, progress):
        """How many points were added: 1, or 0 if it failed, which ends its series."""
        try:
            values = measure(self.options, step.series, step.n, step.cost, progress)
        except PointFailed as failure:
            progress.end()
            print(f"scaling: {step.series.label}, n = {step.n:,}: {failure}", file=sys.stderr)
            self.plan.failed[step.series] = str(failure)
            self.failures.append((step.series, step.n, str(failure)))
            return 0
        record = self.store.add(self.machine.setting(step.series.kind), step.series.key(step.n), values)
        self.plan.add(step.series, step.n, timing(record))
        return 1

    def others(self):
        settings = [self.machine.setting(kind) for kind in ("full", "matrix")]
        return sum(record["setting"] not in settings for record in self.store.points.values())

    def report(self):
        import plots  # noqa: PLC0415: takes a second, and --help should not
        import report  # noqa: PLC0415
        points = collect({s: self.records(s) for s in self.series})
        if not any(points.values()):
            kept = f"; the {self.others()} points there are of another library, machine or environment"
            raise MachineError(f"nothing has been measured{kept if self.others() else ''}")
        ends = self.plan.ends()
        plots.draw_all(points, ends, self.machine, self.options, self.options.out)
        failures = [(series.label, n, why) for series, n, why in self.failures]
        path = report.write(self.options.out, self.options, self.machine, points, ends, failures, self.others(),
                            plots.versions())
        print(f"{sum(map(len, points.values()))} points: {path}")

    def is_sound(self):
        """A baseline that cannot be had is a finding, anything else is an error."""
        return all(series.kind == "matrix" for series, _, _ in self.failures)


def interrupt(*_):
    raise KeyboardInterrupt


def run(options):
    experiment = Experiment(options)
    try:
        if not options.report:
            experiment.measure_all()
    except KeyboardInterrupt:
        print(f"scaling: interrupted; {len(experiment.store.points)} points are kept in {experiment.store.path}, and "
              "the same command goes on from there; with --report it shows what there is", file=sys.stderr)
        return 130
    experiment.report()
    return 0 if experiment.is_sound() else 1


def main():
    options = command_line.parse(sys.argv[1:])
    if options.check_options:
        return 0
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return run(options)
    except (MachineError, StoreError) as error:
        print(f"scaling: {error}", file=sys.stderr)
    except OSError as error:
        print(f"scaling: {error.filename or options.out}: {error.strerror}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
