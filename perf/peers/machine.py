# SPDX-License-Identifier: MIT
"""The machine: its name, its multiply-add peak, and what others do on it meanwhile."""
import json
import os
import pathlib
import resource
import subprocess
import tempfile
import time

# The bench measures the limits of its shapes before each round; the shapes are beside the point.
PEAK_SHAPE, READ_SHAPE = "peak heads=1 nq=16 d=16", "read heads=1 nq=1 nk=64 d=16 warm"


def cpu_name():
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return os.uname().machine


def measure_limits(bench, threads, with_reads):
    """Multiply-add peaks in flop/s, some ten of them, and rates in bytes/s at which memory is read, two of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "peak.json")
        reads = ["--shape", READ_SHAPE, "--repeats", "2"] if with_reads else ["--repeats", "1"]
        done = subprocess.run([bench, "--shape", PEAK_SHAPE, *reads, "--threads", str(threads), "--seconds", "0.02",
                               "--no-verify", "--quiet", "--json", path], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{bench}: {done.stderr.strip() or done.returncode}")
        with open(path, encoding="utf-8") as file:
            limits = json.load(file)["peaks"][0]
            return limits["flops_per_s"], limits["read_bytes_per_s"]


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
