# SPDX-License-Identifier: MIT
"""Where the points are measured: processor, memory, library and versions."""
import hashlib
import json
import os
import platform
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
OPENMP = ("OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "SA_MAX_ISA")


class MachineError(Exception):
    pass


def run_json(command, **more):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    except OSError as error:
        raise MachineError(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        raise MachineError(f"{os.path.basename(command[0])}: {(done.stderr or 'failed').strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def file_hash(path):
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror}") from None


def read_text(path):
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def memory_field(name):
    for line in read_text("/proc/meminfo").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0


def available_memory():
    """Of the machine, and of the control group if that has a limit."""
    available = memory_field("MemAvailable") or 1 << 62
    limit, used = read_text("/sys/fs/cgroup/memory.max"), read_text("/sys/fs/cgroup/memory.current")
    if limit.isdigit() and used.isdigit():
        available = min(available, max(0, int(limit) - int(used)))
    return available


def blas_environment(threads=1):
    """For the baseline: OpenBLAS finds the processor by itself, and every BLAS library has its own word for threads."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
        environment[name] = str(threads)
    return environment


class Machine:
    def __init__(self, program):
        self.program = run_json([program, "--machine"])
        self.blas = run_json([sys.executable, "-B", os.path.join(HERE, "matrix.py"), "--blas"], env=blas_environment())
        self.library_hash = file_hash(self.program["library"])
        self.memory = memory_field("MemTotal")
        self.system = f"{platform.system()} {platform.release()}, {platform.libc_ver()[0]} {platform.libc_ver()[1]}"
        self.distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
        self.huge_pages = read_text("/sys/kernel/mm/transparent_hugepage/enabled")

    @property
    def default_threads(self):
        return self.program["threads"]

    def setting(self, kind):
        """What points of this kind have in common and others may not be mixed with."""
        common = {"cpu": self.program["cpu"], "cores": os.cpu_count()}
        if kind == "matrix":
            return {**common, "numpy": self.blas["numpy"], "blas": self.blas["blas"], "code": file_hash(
                os.path.join(HERE, "matrix.py"))}
        environment = {name: os.environ[name] for name in OPENMP if name in os.environ}
        return {**common, "version": self.program["version"], "library": self.library_hash,
                "isa": self.program["isa"], "environment": environment}
