# SPDX-License-Identifier: MIT
"""Two calls in turns, A B A B, and what the threads of the second do when it has returned."""
import math
import statistics
import time

SAMPLE_SECONDS = 200e-6  # shorter calls are repeated within a sample
LONG_SECONDS = 0.1  # longer ones need less warming up
MAX_PAIRS = 1000
WATCH_SECONDS = 0.1
RESTLESS = 0.9  # of the time watched: it does not end
REST_SECONDS = 1e-3  # less is no thread that waits, but the call coming to its end
PAUSE_FACTOR = 1.5


class Side:
    """One of the two: a call, how many of them make a sample, and its samples."""

    def __init__(self, call):
        self.call = call
        self.seconds, self.cpu, self.wall = [], 0.0, 0.0
        self.n_calls = 1
        once = self.run()
        self.is_long = once > LONG_SECONDS
        if not self.is_long:
            once = self.run()
        self.n_calls = min(1000, math.ceil(SAMPLE_SECONDS / max(once, 1e-7)))

    def run(self):
        call = self.call
        cpu, start = time.process_time(), time.perf_counter()
        for _ in range(self.n_calls):
            call()
        wall = time.perf_counter() - start
        self.cpu += time.process_time() - cpu
        self.wall += wall
        return wall / self.n_calls

    def sample(self):
        self.seconds.append(self.run())

    def forget(self):
        self.seconds, self.cpu, self.wall = [], 0.0, 0.0

    def cpus(self):
        return self.cpu / self.wall if self.wall else 0.0


def awake_seconds(side):
    """How long threads stay awake after a call: processor time of this process while it sleeps. inf: no end seen."""
    def watch():
        side.run()
        before = time.process_time()
        time.sleep(WATCH_SECONDS)
        return time.process_time() - before
    awake = statistics.median(watch() for _ in range(1 if side.is_long else 3))
    return math.inf if awake > RESTLESS * WATCH_SECONDS else awake


def in_turns(first, second, repeats, seconds):
    """Samples of two calls. Both have the same pause before each sample: what threads of the last call need to go to
    sleep, so that none computes against the other."""
    sides = Side(first), Side(second)
    awake = awake_seconds(sides[1])
    pause = PAUSE_FACTOR * awake if REST_SECONDS < awake < math.inf else 0.0
    for side in sides:
        side.forget()
    end = time.perf_counter() + seconds
    n_pairs = 0
    while n_pairs < repeats or (n_pairs < MAX_PAIRS and time.perf_counter() < end):
        for side in sides:
            if pause:
                time.sleep(pause)
            side.sample()
        n_pairs += 1
    libsa, peer = sides
    return {"libsa_s": libsa.seconds, "peer_s": peer.seconds, "libsa_cpus": libsa.cpus(), "peer_cpus": peer.cpus(),
            "awake_s": awake if awake < math.inf else -1, "pause_s": pause}
