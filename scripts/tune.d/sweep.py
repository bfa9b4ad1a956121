# SPDX-License-Identifier: MIT
"""The order in which configurations are measured: team sizes, then bindings, then the finals, always in rounds.
Knows no processes: `bench` measures, so that the tests can put a made-up machine in its place."""
import random
import statistics
import time
from dataclasses import dataclass, field

import configurations as conf
import stats
from runner import BenchFailed

SWEEP_ROUNDS = 3
HOPELESS = 2.0  # a configuration this much slower than the best in its first round is not measured again
STOP_DESCENT = 2.5  # and smaller teams are not even tried
CONTENDER = 1.10  # who comes within this of the best may enter the finals, the smallest team of them does
MOST_CONTENDERS = 4
LEAST_FINALS, MOST_FINALS = stats.rounds_needed(MOST_CONTENDERS), 60


@dataclass
class Results:
    samples: dict = field(default_factory=dict)  # configuration -> round -> Sample
    stage_of: dict = field(default_factory=dict)  # round -> stage
    finalists: list = field(default_factory=list)
    failed: dict = field(default_factory=dict)  # configuration -> reason
    hopeless: set = field(default_factory=set)
    same_as: list = field(default_factory=list)  # (configuration, the one that is the same thing)
    untried: list = field(default_factory=list)  # smaller teams left out

    def rounds(self, configuration, stage=None):
        """Round -> shape -> seconds."""
        return {r: s.times for r, s in self.samples.get(configuration, {}).items()
                if stage is None or self.stage_of[r] == stage}

    def ratio(self, configuration):
        """Median of the time over the default's; the finals alone decide for those who were in them."""
        stage = "finals" if configuration in self.finalists and self.rounds(configuration, "finals") else None
        ratios = stats.paired_ratios(self.rounds(configuration, stage), self.rounds(conf.DEFAULT, stage))
        return statistics.median(ratios) if ratios else None

    def effect(self, configuration):
        return next(iter(self.samples[configuration].values())).effect

    def measured(self):
        return [c for c in self.samples if self.samples[c] and self.ratio(c) is not None]


class Sweep:
    def __init__(self, bench, progress, seconds, finals_rounds=None, clock=time.monotonic):
        self.bench, self.progress, self.clock = bench, progress, clock
        self.ends = clock() + seconds
        self.finals_rounds = finals_rounds
        self.sweep_rounds = min(SWEEP_ROUNDS, finals_rounds or SWEEP_ROUNDS)
        self.results = Results()
        self.run_seconds = []

    def _finals_expected(self, runs=0):
        """Of the finals, in runs, if so many come before them: for the progress bar."""
        least = (self.finals_rounds or LEAST_FINALS) * 5
        if self.finals_rounds or not self.run_seconds:
            return least
        return max(least, (self.ends - self.clock()) / statistics.median(self.run_seconds) - runs)

    # ---- rounds ----

    def _measure(self, configuration, number):
        self.progress.step(f"{self.results.stage_of[number]}, round {number}: {configuration.label}")
        began = self.clock()
        try:
            sample = self.bench.measure(configuration)
        except BenchFailed as error:
            if configuration == conf.DEFAULT:
                raise
            self.results.failed[configuration] = str(error)
            return
        self.run_seconds.append(self.clock() - began)
        self.results.samples.setdefault(configuration, {})[number] = sample

    def _begin_round(self, stage):
        number = len(self.results.stage_of) + 1
        self.results.stage_of[number] = stage
        return number

    def _round(self, stage, chosen):
        """In an order drawn anew each time: whoever follows a slow one shall not always be the same."""
        number = self._begin_round(stage)
        order = list(chosen)
        random.Random(number).shuffle(order)
        for configuration in order:
            if configuration not in self.results.failed:
                self._measure(configuration, number)
        return number

    def _drop_hopeless(self, chosen, number):
        """Whoever is far behind in the first round."""
        times = {c: self.results.rounds(c).get(number) for c in chosen}
        ratios = {c: stats.round_ratio(t, times[conf.DEFAULT]) for c, t in times.items() if t}
        best = min(ratios.values())
        self.results.hopeless.update(c for c, r in ratios.items() if r > HOPELESS * best and c != conf.DEFAULT)
        return [c for c in chosen if c in ratios and c not in self.results.hopeless]

    def _more_rounds(self, stage, chosen):
        runs, binding = (self.sweep_rounds - 1) * len(chosen), 6 * self.sweep_rounds * (stage == "threads")
        self.progress.plan(runs, binding + self._finals_expected(runs + binding))
        for _ in range(self.sweep_rounds - 1):
            self._round(stage, chosen)

    # ---- team sizes ----

    def _descend(self, number, teams):
        """Largest first, and no further down once teams are hopelessly small."""
        best = self.results.rounds(conf.DEFAULT)[number]
        tried = []
        for i, team in enumerate(teams):
            self._measure(team, number)
            tried.append(team)
            times = self.results.rounds(team).get(number)
            if not times:
                continue
            if stats.round_ratio(times, best) > STOP_DESCENT:
                self.results.untried = teams[i + 1:]
                break
            best = times if stats.round_ratio(times, best) < 1 else best
        return tried

    def threads(self, counts, default_threads, as_set=None):
        above = [conf.of_threads(n) for n in counts if n > default_threads]
        below = [conf.of_threads(n) for n in sorted(counts, reverse=True) if n < default_threads]
        others = above + ([as_set] if as_set else [])
        self.progress.plan((7 + len(others) + len(below)) * self.sweep_rounds, self._finals_expected())
        number = self._begin_round("threads")
        self._measure(conf.DEFAULT, number)
        for configuration in others:
            self._measure(configuration, number)
        chosen = [conf.DEFAULT, *others, *self._descend(number, below)]
        self._more_rounds("threads", self._drop_hopeless(chosen, number))

    # ---- bindings ----

    def best(self, candidates=None):
        found = candidates or [c for c in self.results.measured() if c.label != conf.LABEL_SET]
        return min(found, key=self.results.ratio)

    def _without_doubles(self, candidates):
        """The engine may make the same thing of two of them."""
        known = {conf.same_effect(c, self.bench.effect(c)): c for c in self.results.measured()}
        kept = []
        for candidate in candidates:
            try:
                key = conf.same_effect(candidate, self.bench.effect(candidate))
            except BenchFailed as error:
                self.results.failed[candidate] = str(error)
                continue
            if key in known:
                self.results.same_as.append((candidate, known[key]))
            else:
                known[key] = candidate
                kept.append(candidate)
        return kept

    def bindings(self, n_cores, n_cpus):
        """For the default's team and the best one."""
        default = self.results.effect(conf.DEFAULT)
        candidates = []
        for n in sorted({default.threads, self.results.effect(self.best()).threads}):
            candidates += conf.bindings_of(n, n_cores, n_cpus) + conf.of_lower_isa(n, default)
        candidates = self._without_doubles(candidates)
        if not candidates:
            return
        chosen = [conf.DEFAULT, *candidates]
        runs = len(chosen) * self.sweep_rounds
        self.progress.plan(runs, self._finals_expected(runs))
        self._more_rounds("binding", self._drop_hopeless(chosen, self._round("binding", chosen)))

    # ---- finals ----

    def contenders(self):
        """The best few, the smallest team that comes near them, and what the user has set now."""
        ratio = self.results.ratio
        others = sorted((c for c in self.results.measured() if c != conf.DEFAULT and c not in self.results.failed
                         and c not in self.results.hopeless), key=ratio)
        if not others:
            return []
        best = min(1.0, ratio(others[0]))
        near = [c for c in others if ratio(c) <= CONTENDER * best]
        chosen = (near or others[:1])[:MOST_CONTENDERS - 2]
        smallest = min(near, key=lambda c: (self.results.effect(c).threads, ratio(c)), default=None)
        set_here = next((c for c in others if c.label == conf.LABEL_SET), None)
        return list(dict.fromkeys([*chosen, *(c for c in (smallest, set_here) if c)]))

    def _finals_count(self, size):
        if self.finals_rounds:
            return self.finals_rounds
        affordable = (self.ends - self.clock()) / (size * statistics.median(self.run_seconds))
        return int(min(MOST_FINALS, max(LEAST_FINALS, affordable)))

    def finals(self):
        contenders = self.contenders()
        if not contenders:
            return
        self.results.finalists = [conf.DEFAULT, conf.AGAIN, *contenders]
        count = self._finals_count(len(self.results.finalists))
        self.progress.plan(count * len(self.results.finalists))
        for _ in range(count):
            self._round("finals", self.results.finalists)
