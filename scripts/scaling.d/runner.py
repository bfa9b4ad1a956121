# SPDX-License-Identifier: MIT
"""Measures one point in a process of its own."""
import datetime
import json
import os
import resource
import signal
import subprocess
import sys
import time

from machine import HERE, blas_environment, read_text


def processor_seconds():
    """Seconds that all processors of the machine have worked, and how many of them this process and its children."""
    own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    fields = read_text("/proc/stat").splitlines()[:1]
    ticks = [int(field) for field in fields[0].split()[1:9]] if fields else []
    if len(ticks) < 8:
        return None
    user, nice, system, _, _, irq, softirq, steal = ticks
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK"), own


def share_of_others(before, after, wall):
    """What others, a hypervisor included, took of the machine meanwhile; None where that cannot be seen."""
    if not before or not after:
        return None
    busy = (after[0] - before[0]) - (after[1] - before[1])
    return max(0.0, busy / (wall * os.cpu_count()))


class PointFailed(Exception):
    pass


def command(options, series, n):
    if series.kind == "matrix":
        numbers = [n, series.d, series.heads, series.threads, options.repeats, options.point_seconds]
        return [sys.executable, "-B", os.path.join(HERE, "matrix.py"), *map(str, numbers)]
    return [options.program, "--shape", series.shape(n), "--threads", str(series.threads),
            "--repeats", str(options.repeats), "--seconds", str(options.point_seconds)]


def why(process, errors):
    if process.returncode == -signal.SIGKILL:
        return "killed by the system, as it does when memory runs out"
    if process.returncode < 0:
        return f"died of {signal.Signals(-process.returncode).name}"
    lines = errors.strip().splitlines()
    return lines[-1] if lines else f"exit status {process.returncode}"


def wait(process, limit, progress):
    """(output, errors) of the process, which is killed when anything interrupts this one or it takes too long."""
    end = time.monotonic() + limit
    try:
        while True:
            try:
                return process.communicate(timeout=0.5)
            except subprocess.TimeoutExpired:
                progress.tick()
                if time.monotonic() > end:
                    raise PointFailed(f"took more than {limit:.0f} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def measure(options, series, n, expected, progress):
    """The values of a point for the store."""
    environment = blas_environment(series.threads) if series.kind == "matrix" else None
    begin, use = time.monotonic(), processor_seconds()
    try:
        process = subprocess.Popen(command(options, series, n), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=environment)
    except OSError as error:
        raise PointFailed(error.strerror) from None
    output, errors = wait(process, 60 + 20 * expected, progress)
    if process.returncode != 0:
        raise PointFailed(why(process, errors))
    try:
        values = json.loads(output)
    except ValueError:
        raise PointFailed("did not print its result") from None
    values["wall"] = time.monotonic() - begin
    values["others"] = share_of_others(use, processor_seconds(), values["wall"])
    values["date"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return values
