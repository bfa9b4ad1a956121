# SPDX-License-Identifier: MIT
"""Runs perf/bench: one process is one configuration in one round."""
import json
import statistics
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import cgroup
from configurations import Effect

VISIT_SECONDS = 0.02  # time for each shape in one run; longer calls are made once
QUOTA_VISIT_SECONDS = 0.2  # two periods of a quota: a team that uses it up in half of a period stands still in the rest
CALLERS_FACTOR = 5  # --callers visits all shapes together


class BenchFailed(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


@dataclass
class Sample:
    times: dict  # shape -> seconds, or what stands for them: smaller is better
    effect: Effect
    latency: dict = field(default_factory=dict)  # with --callers: "median", "p99" of all calls, seconds
    throttled: float = None  # share of the quota's periods in which it was used up; None: no quota
    warnings: str = ""


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def times_of_shapes(report, middle):
    """`middle`: the median, or under a quota the mean: only few calls wait for the next period, but those wait long."""
    times = {}
    for result in report["results"]:
        name, n = result["shape"], 2
        while name in times:
            name, n = f"{result['shape']} ({n})", n + 1
        times[name] = middle(result["samples_s"])
    return times


def times_of_callers(report):
    """All shapes as one: seconds for 10^9 operations of all callers together."""
    crowd = report["callers"][0]
    calls = [seconds for shape in crowd["latency_s"].values() for seconds in shape]
    times = {f"{crowd['callers']} callers": 1e9 / statistics.median(crowd["flops_per_s"])}
    return times, {"median": quantile(calls, 0.5), "p99": quantile(calls, 0.99)}


class Bench:
    def __init__(self, build, environment, callers=0, group=None):
        """`group`: a QuotaGroup that the processes run in, or None."""
        self.path = build / "perf" / "bench"
        self.info_path = build / "bin" / "sa"
        self.environment = environment
        self.callers = callers
        self.group = group
        self.throttle_group = group.path if group else cgroup.limiting_group()
        self.visit_seconds = QUOTA_VISIT_SECONDS if self.throttle_group else VISIT_SECONDS
        self.shape_arguments = []
        self.effects = {}

    def _start(self, command, variables=()):
        try:
            return subprocess.run(command, env={**self.environment, **dict(variables)}, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                                  preexec_fn=self.group.enter if self.group else None)
        except (OSError, subprocess.SubprocessError) as error:
            raise BenchFailed(1, f"{command[0]}: {error}") from error

    def _report(self, configuration, arguments):
        """What the bench measured, and what it said on standard error."""
        with tempfile.TemporaryDirectory(prefix="libsa-tune-") as directory:
            path = Path(directory) / "bench.json"
            command = [str(self.path), "--quiet", "--repeats", "1", "--json", str(path), *arguments,
                       *configuration.bench_arguments()]
            done = self._start(command, configuration.variables())
            if done.returncode:
                raise BenchFailed(done.returncode, last_line(done.stderr or done.stdout))
            return json.loads(path.read_text()), done.stderr

    def describe(self):
        """What the engine sees and decides by itself, and why: `sa info`; None if that program was not built."""
        if not self.info_path.exists():
            return None
        done = self._start([str(self.info_path), "info"])
        return done.stdout if done.returncode == 0 else None

    def look(self, configuration):
        """(effect, cores, CPUs): what an engine makes of a configuration, from a tiny call."""
        shape = ["--shape", "tiny nq=1 d=8", "--seconds", "0", "--no-verify", "--no-read-rate"]
        report, _ = self._report(configuration, shape)
        result = report["results"][0]
        effect = Effect(result["threads"], result["binding"], result["kernel"])
        self.effects[configuration] = effect
        return effect, report["cores"], report["cpus"]

    def effect(self, configuration):
        return self.effects.get(configuration) or self.look(configuration)[0]

    def measure(self, configuration, verify=False, callers=True):
        crowd = self.callers and callers
        seconds = self.visit_seconds * (CALLERS_FACTOR if crowd else 1)
        arguments = [*self.shape_arguments, "--seconds", str(seconds), "--no-read-rate"]
        arguments += [] if verify else ["--no-verify"]
        arguments += ["--callers", str(self.callers)] if crowd else []
        before = self._throttling()
        report, warnings = self._report(configuration, arguments)
        after = self._throttling()
        middle = statistics.fmean if self.throttle_group else statistics.median
        times, latency = times_of_callers(report) if crowd else (times_of_shapes(report, middle), {})
        share = (after[1] - before[1]) / max(1, after[0] - before[0]) if before and after else None
        return Sample(times, self.effect(configuration), latency, share, warnings.strip())

    def _throttling(self):
        return cgroup.throttling(self.throttle_group) if self.throttle_group else None
