# SPDX-License-Identifier: MIT
"""Control groups, v2 and v1: a CPU quota made for the run, and how often a quota stopped its processes."""
import os
import time
from dataclasses import dataclass
from pathlib import Path

PERIOD_US = 100000


class NotPermitted(Exception):
    pass


@dataclass(frozen=True)
class Hierarchy:
    v2: bool
    top: Path  # where it is mounted
    own: Path  # the group of this process


def mounts():
    """(v2, root, mount point) of every hierarchy that could limit CPU time."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ")[:3]
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
            yield kind == "cgroup2", left.split(" ")[3], Path(left.split(" ")[4])


def own_group(v2):
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "" if v2 else "cpu" in controllers.split(","):
            return group
    return None


def hierarchies():
    """Those of v1 first: if there is one with the controller, v2 has not got it."""
    found = []
    try:
        for v2, root, point in mounts():
            group = own_group(v2)
            if group is not None:
                # In a container the group may lie outside of what is mounted: then only the mount counts.
                inside = os.path.relpath(group, root)
                found.append(Hierarchy(v2, point, point if inside.startswith("..") else point / inside))
    except (OSError, ValueError, IndexError):
        return []
    return sorted(found, key=lambda h: h.v2)


def quota_of(group, v2):
    """CPUs that the group itself may use, or None."""
    try:
        if v2:
            limit, period = (group / "cpu.max").read_text().split()
        else:
            limit, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return int(limit) / int(period) if limit != "max" and int(limit) > 0 else None
    except (OSError, ValueError):
        return None


def upwards(hierarchy):
    group = hierarchy.own
    while True:
        yield group
        if group == hierarchy.top or group == group.parent:
            return
        group = group.parent


def limiting_group():
    """The group, this process's own or one above it, that has a quota; None if there is no quota."""
    for hierarchy in hierarchies():
        for group in upwards(hierarchy):
            if quota_of(group, hierarchy.v2):
                return group
    return None


def throttling(group):
    """(periods, those in which the quota was used up) since the group was made."""
    try:
        words = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
        return int(words["nr_periods"]), int(words["nr_throttled"])
    except (OSError, ValueError, KeyError):
        return None


class QuotaGroup:
    """A group with a quota. Children enter() it between fork and exec; close() removes it."""

    def __init__(self, cpus):
        reasons = []
        self.path = None
        for hierarchy in hierarchies():
            for parent in self._parents(hierarchy):
                try:
                    self.path = self._make(parent, hierarchy.v2, cpus)
                    return
                except OSError as error:
                    reasons.append(f"{error.filename or parent}: {error.strerror}")
        raise NotPermitted(reasons[0] if reasons else "no control group with the cpu controller is mounted")

    @staticmethod
    def _parents(hierarchy):
        """A v2 group with processes in it hands no controllers on, but one above it may. To stand there instead is
        fair only where the groups passed over have no quota themselves."""
        for group in upwards(hierarchy):
            yield group
            if not hierarchy.v2 or quota_of(group, True):
                return

    @staticmethod
    def _make(parent, v2, cpus):
        path = parent / f"libsa-tune-{os.getpid()}"
        path.mkdir()
        try:
            if v2:
                (path / "cpu.max").write_text(f"{int(cpus * PERIOD_US)} {PERIOD_US}")
            else:
                (path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (path / "cpu.cfs_quota_us").write_text(str(int(cpus * PERIOD_US)))
        except OSError:
            path.rmdir()
            raise
        return path

    def enter(self):
        (self.path / "cgroup.procs").write_text("0")

    def close(self):
        for _ in range(20):  # a process that was ended may take a moment to leave
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.1)
