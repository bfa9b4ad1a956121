# SPDX-License-Identifier: MIT
"""Which point comes next, what it will take, and why a series ends. Pure: nothing is measured here."""
import collections

from grid import GOAL_TOKENS, goal_series

Timing = collections.namedtuple("Timing", "call wall")  # seconds: one call; the whole process
Step = collections.namedtuple("Step", "series n cost")
Limits = collections.namedtuple("Limits", "min_n max_n memory budget point_seconds")

START_SECONDS, BYTE_SECONDS = 0.2, 2e-9  # around the calls: of a process, and for each byte of tensors
GUESSED_FLOPS = {"matrix": 10e9}  # a thread's, while nothing of a series has been measured
WINDOW_TOKENS = 1 << 20  # beyond, a window has shown what it can: other series go first


def next_n(limits, done):
    n = limits.min_n
    while n in done:
        n *= 2
    return n


def expect(series, n, done, limits):
    """Timing of a point, from the longest shorter one that was measured."""
    before = max((m for m in done if m < n), default=None)
    if before is None:
        call = series.flops(n) / (GUESSED_FLOPS.get(series.kind, 20e9) * series.threads)
        around = START_SECONDS + BYTE_SECONDS * series.bytes(n)
    else:
        call = done[before].call * (n / before) ** series.growth
        around = max(0.0, done[before].wall - sampling(done[before].call, limits))
        around += max(0.0, around - START_SECONDS) * (n / before - 1)
    return Timing(call, around + sampling(call, limits))


def sampling(call, limits):
    """A long call is made once, a short one for as long as a point may take."""
    return call if call > limits.point_seconds else call + limits.point_seconds


class Plan:
    def __init__(self, series, limits, history=None):
        self.series, self.limits = series, limits
        self.history = {s: dict((history or {}).get(s, {})) for s in series}
        self.failed = {}  # series: why

    def spent(self):
        return sum(t.wall for done in self.history.values() for t in done.values())

    def add(self, series, n, timing):
        self.history[series][n] = timing

    def copy(self):
        other = Plan(self.series, self.limits, self.history)
        other.failed = dict(self.failed)
        return other

    def expect_next(self, series):
        n = next_n(self.limits, self.history[series])
        return Step(series, n, expect(series, n, self.history[series], self.limits).wall)

    def obstacle(self, step):
        """Why a step cannot be taken whatever the time, or nothing."""
        needed = step.series.bytes(step.n)
        if step.series in self.failed:
            return "failed", self.failed[step.series]
        if step.n > self.limits.max_n:
            return "max-n", f"--max-n {self.limits.max_n}"
        if needed > self.limits.memory:
            return "memory", f"n = {step.n:,} takes {gib(needed)}, {gib(self.limits.memory)} may be used"
        return None

    def reserve(self, left):
        """What the goal series needs to get to its goal, or as far as the time allows."""
        goal, total = goal_series(self.series), 0
        if goal is None or goal in self.failed:
            return 0
        done = dict(self.history[goal])
        while True:
            n = next_n(self.limits, done)
            timing = expect(goal, n, done, self.limits)
            if n > min(GOAL_TOKENS, self.limits.max_n) or goal.bytes(n) > self.limits.memory or \
                    total + timing.wall > left:
                return total
            total += timing.wall
            done[n] = timing

    def allowed(self, step, left):
        """Seconds that a step may take."""
        at_goal = step.series == goal_series(self.series) and step.n <= GOAL_TOKENS
        return left if at_goal else left - self.reserve(left)

    def next_step(self):
        """The cheapest step that fits, or None."""
        left = self.limits.budget - self.spent()
        steps = [self.expect_next(s) for s in self.series]
        fitting = [s for s in steps if not self.obstacle(s) and s.cost <= self.allowed(s, left)]
        return min(fitting, key=rank, default=None)

    def remaining(self):
        """All steps to come, if each takes what is expected."""
        plan, steps = self.copy(), []
        while (step := plan.next_step()) is not None:
            timing = expect(step.series, step.n, plan.history[step.series], plan.limits)
            plan.add(step.series, step.n, timing)
            steps.append(step)
        return steps

    def ends(self):
        """For each series (kind of obstacle, text, first n that is missing), once no step fits any more."""
        result = {}
        left = max(0, self.limits.budget - self.spent())
        for series in self.series:
            step = self.expect_next(series)
            kind, text = self.obstacle(step) or ("time", f"n = {step.n:,} would take about {step.cost:.0f} s; "
                                                 f"{left:.0f} s of {self.limits.budget:.0f} s are left")
            result[series] = (kind, text, step.n)
        return result


def rank(step):
    return step.cost * (4 if step.series.window and step.n > WINDOW_TOKENS else 1)


def gib(size):
    return f"{size / 2**30:.3g} GiB"
