# SPDX-License-Identifier: MIT
"""scripts/tune_threads, after everything is built. See --help."""
import os
import signal
import sys
from pathlib import Path

import cgroup
import configurations as conf
import options as command_line
import plot
import recommend
import report
import shapes
from progress import Progress
from runner import Bench, BenchFailed
from sweep import LEAST_FINALS, SWEEP_ROUNDS, Sweep

PROJECT = Path(__file__).resolve().parents[2]


class Refused(Exception):
    """One line for the user, and the exit status."""

    def __init__(self, text, status=1):
        super().__init__(text)
        self.status = status


# ---- the place ----

def restrict_cpus(cpus):
    """This process and all it starts."""
    allowed = os.sched_getaffinity(0)
    if cpus - allowed:
        raise Refused(f"--cpus: CPU {report.cpus_text(cpus - allowed)} may not be used here "
                      f"(allowed: {report.cpus_text(allowed)})", 2)
    os.sched_setaffinity(0, cpus)


def make_group(quota):
    try:
        return cgroup.QuotaGroup(quota)
    except cgroup.NotPermitted as error:
        raise Refused(f"--quota: a control group with a quota is not permitted here ({error}); start this as root, or "
                      "inside a container or service that has the quota") from error


def out_directory(path):
    path = path or PROJECT / "build" / "tune"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"--out: {error.filename}: {error.strerror}") from error
    return path


# ---- the beginning ----

def print_header(bench, options, set_here):
    text = bench.describe()
    print(text.rstrip() if text else f"libsa       measured by {bench.path}")
    allowed = f"allowed     CPUs {report.cpus_text(os.sched_getaffinity(0))}"
    print(allowed + (" (--cpus)" if options.cpus else ""))
    if options.quota:
        print(f"in          a control group of its own with a quota of {options.quota:g} CPUs: {bench.group.path}")
    elif bench.throttle_group:
        print(f"in          a control group with a quota: {bench.throttle_group}")
    if set_here:
        print(f"set here    {set_here.environment_text()}: measured as \"{conf.LABEL_SET}\", kept from all others")


def runs_expected(n_counts):
    """Processes of the whole sweep, roughly: what a run may take follows from it."""
    finals = 5
    return SWEEP_ROUNDS * (n_counts + 1 + 6) + LEAST_FINALS * finals


def verify_and_time(bench, progress):
    """The first run: every shape is checked against the float64 reference, and how long its calls take."""
    progress.step("checking every shape with the default")
    sample = bench.measure(conf.DEFAULT, verify=True, callers=False)
    if sample.warnings:
        print(sample.warnings, file=sys.stderr)
    return sample.times


def choose_shapes(bench, options, directory, progress, n_counts):
    lines = shapes.preset_lines(options.preset)
    bench.shape_arguments = shapes.arguments(lines, options, directory)
    times = verify_and_time(bench, progress)
    preset_names = set(map(shapes.name_of, lines))
    own = sum(shapes.cost(t, bench.visit_seconds) for name, t in times.items() if name not in preset_names)
    budget = options.seconds / runs_expected(n_counts) - own - 0.1
    kept, left_out = shapes.thin(lines, times, budget, bench.visit_seconds)
    bench.shape_arguments = shapes.arguments(kept, options, directory)
    progress.end()
    return [name for name in times if name not in left_out], left_out


def print_shapes(names, left_out, options):
    print(report.wrapped("shapes", f"{len(names)}: {', '.join(names)}"))
    if left_out:
        why = f"too long for {options.seconds:g} s; --seconds keeps more"
        print(report.wrapped("left out", f"{', '.join(left_out)}: {why}"))
    if options.callers:
        print(f"callers     {options.callers} threads call one engine at once")
    print(flush=True)


# ---- the end ----

def print_results(sweep, set_here, finished):
    results = sweep.results
    print("\n".join([*report.table(results), "", *report.notes(results), ""]))
    found = recommend.recommend(recommend.finals_of(results), {c: results.effect(c) for c in results.measured()},
                                {c: results.ratio(c) for c in results.measured()}, finished)
    found.reasons += report.remarks(results, found.configuration)
    print("\n".join(report.recommendation(found, [name for name, _ in set_here.environment] if set_here else [])))
    return found


def write_files(sweep, found, options, directory):
    files = [directory / "tune.csv"]
    report.write_csv(files[0], sweep.results)
    if options.plot:
        files.append(directory / "tune.png")
        what = [*options.preset, *(Path(f).name for f in options.shapes), *map(shapes.name_of, options.shape)]
        plot.write(files[1], sweep.results, found, ", ".join(what))
    print("\nwritten: " + ", ".join(str(f) for f in files))


def measure(sweep, set_here, machine):
    """True unless it was interrupted."""
    effect, n_cores, n_cpus, counts = machine
    try:
        sweep.threads(counts, effect.threads, set_here)
        sweep.bindings(n_cores, n_cpus)
        sweep.finals()
        return True
    except KeyboardInterrupt:
        return False
    finally:
        sweep.progress.end()


def tune(options, directory, bench):
    progress = Progress(not options.quiet)
    set_here = conf.as_set_here(os.environ)
    sweep = Sweep(bench, progress, options.seconds, options.rounds)
    effect, n_cores, n_cpus = bench.look(conf.DEFAULT)
    counts = options.threads or conf.thread_counts(n_cores, n_cpus)
    names, left_out = choose_shapes(bench, options, directory, progress, len(counts))
    print_header(bench, options, set_here)
    print_shapes(names, left_out, options)
    finished = measure(sweep, set_here, (effect, n_cores, n_cpus, counts))
    if conf.DEFAULT not in sweep.results.samples:
        raise Refused("interrupted before anything was measured")
    if not finished:
        print("INTERRUPTED: what was measured so far\n")
    write_files(sweep, print_results(sweep, set_here, finished), options, directory)
    return 0 if finished else 1


def main(arguments):
    options = command_line.parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a control group is to be removed
    group = None
    try:
        build = (options.build or PROJECT / "build" / "release").resolve()
        if not (build / "perf" / "bench").exists():
            raise Refused(f"--build: there is no perf/bench in {build}", 2)
        if options.plot and not plot.available():
            raise Refused("--plot: python3-matplotlib is missing")
        if options.cpus:
            restrict_cpus(options.cpus)
        directory = out_directory(options.out)
        group = make_group(options.quota) if options.quota else None
        return tune(options, directory, Bench(build, conf.clean_environment(os.environ), options.callers, group))
    except BenchFailed as error:
        print(f"tune_threads: {error}", file=sys.stderr)
        return 2 if error.status == 2 else 1
    except Refused as error:
        print(f"tune_threads: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"tune_threads: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tune_threads: interrupted before anything was measured", file=sys.stderr)
        return 1
    finally:
        if group:
            group.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
