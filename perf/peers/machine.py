# SPDX-License-Identifier: MIT
"""The machine: its name, its multiply-add peak, and what others do on it meanwhile."""
import json
import os
import pathlib
import resource
import subprocess
import tempfile
import time

PEAK_SHAPE = "peak heads=1 nq=16 d=16"  # the bench measures the peak before each round; the shape is beside the point


def cpu_name():
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return os.uname().machine


def measure_peaks(bench, threads):
    """Multiply-add peaks in flop/s, some ten of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "peak.json")
        done = subprocess.run([bench, "--shape", PEAK_SHAPE, "--threads", str(threads), "--repeats", "1", "--seconds",
                               "0.02", "--no-verify", "--quiet", "--json", path], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{bench}: {done.stderr.strip() or done.returncode}")
        with open(path, encoding="utf-8") as file:
            return json.load(file)["peaks"][0]["flops_per_s"]


class Bystanders:
    """The share of the machine's processor time that was not ours, from now on."""

    def __init__(self):
        self.start, self.busy, self.own = time.monotonic(), busy_seconds(), own_seconds()

    def share(self):
        elapsed = (time.monotonic() - self.start) * os.cpu_count()
        others = (busy_seconds() - self.busy) - (own_seconds() - self.own)
        return max(0.0, others / elapsed) if elapsed else 0.0


def busy_seconds():
    try:
        fields = pathlib.Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    """Of this process and of its children that have ended."""
    return sum(usage.ru_utime + usage.ru_stime
               for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
