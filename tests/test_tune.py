# SPDX-License-Identifier: MIT
"""scripts/tune.d on made-up samples and machines: statistics, recommendation, the order of the sweep, the reports."""
import argparse
import csv
import io
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts" / "tune.d"))
import configurations as conf  # noqa: E402
import options  # noqa: E402
import recommend  # noqa: E402
import report  # noqa: E402
import shapes  # noqa: E402
import stats  # noqa: E402
from progress import Progress  # noqa: E402
from runner import BenchFailed, Sample  # noqa: E402
from sweep import Sweep  # noqa: E402

FEW, MANY = conf.of_threads(2), conf.of_threads(8)
BOUND = conf.Configuration("4 threads, engine spread", n_threads=4, binding="spread")
EFFECTS = {conf.DEFAULT: conf.Effect(4, "close", "avx2"), conf.AGAIN: conf.Effect(4, "close", "avx2"),
           FEW: conf.Effect(2, "none", "avx2"), MANY: conf.Effect(8, "none", "avx2"),
           BOUND: conf.Effect(4, "spread", "avx2")}


def made_up(factors, n=12, noise=0.01, seed=1, drift=0.3):
    """Finals of configurations that take `factor` times the default's time, all hit by the same drift."""
    dice = random.Random(seed)
    finals = {c: {} for c in factors}
    for r in range(n):
        machine = 1 + drift * dice.random()
        for c, factor in factors.items():
            finals[c][r] = {s: t * machine * factor * (1 + noise * dice.uniform(-1, 1))
                            for s, t in (("short", 1e-5), ("long", 2.0))}
    return finals


class Statistics(unittest.TestCase):
    def test_interval_is_the_sign_tests(self):
        self.assertEqual(stats.median_interval(list(range(8)), 0.95), (0, 7, True))  # 1 - 2/256
        self.assertEqual(stats.median_interval(list(range(9)), 0.95), (1, 7, True))  # 1 - 2 * 10/512
        self.assertEqual(stats.median_interval(list(range(5)), 0.95), (0, 4, False))  # 1 - 2/32 is not enough
        self.assertEqual(stats.median_interval([3.0], 0.95), (3.0, 3.0, False))

    def test_rounds_needed(self):
        self.assertEqual(stats.rounds_needed(1), 6)
        self.assertEqual(stats.rounds_needed(4), 8)

    def test_shapes_count_the_same(self):
        self.assertAlmostEqual(stats.round_ratio({"a": 2e-6, "b": 50.0}, {"a": 1e-6, "b": 100.0}), 1.0)
        self.assertIsNone(stats.round_ratio({"a": 1.0}, {"b": 1.0}))

    def test_only_common_rounds_are_paired(self):
        one = {1: {"a": 1.0}, 2: {"a": 2.0}, 5: {"a": 9.0}}
        self.assertEqual(stats.paired_ratios(one, {2: {"a": 1.0}, 3: {"a": 1.0}}), [2.0])
        self.assertEqual(stats.compare(one, {}).verdict, stats.UNKNOWN)

    def test_drift_is_no_noise_of_a_comparison(self):
        finals = made_up({conf.DEFAULT: 1.0, FEW: 0.9}, noise=0, drift=2.0)
        compared = stats.compare(finals[FEW], finals[conf.DEFAULT])
        self.assertAlmostEqual(compared.low, 0.9)
        self.assertAlmostEqual(compared.high, 0.9)
        self.assertGreater(stats.noise(finals[conf.DEFAULT]), 0.1)

    def test_same_configurations_rarely_differ(self):
        wrong = sum(stats.compare(f[FEW], f[conf.DEFAULT]).verdict != stats.SAME
                    for f in (made_up({conf.DEFAULT: 1.0, FEW: 1.0}, seed=s) for s in range(200)))
        self.assertLess(wrong, 20)  # 95 % confidence, 10 expected at most; the dice are fixed

    def test_spread(self):
        self.assertIsNone(stats.spread([1, 2]))
        self.assertAlmostEqual(stats.spread([1, 2, 3, 4, 5]), 2 / 3)


class Recommendations(unittest.TestCase):
    @staticmethod
    def of(factors, **how):
        return recommend.recommend(made_up({conf.DEFAULT: 1.0, conf.AGAIN: 1.0, **factors}, **how), EFFECTS)

    def test_clear_winner(self):
        found = self.of({MANY: 0.8, BOUND: 1.2})
        self.assertEqual(found.configuration, MANY)
        self.assertIn("beyond noise", found.reasons[0])
        self.assertEqual(recommend.environment_lines(found), ["export OMP_NUM_THREADS=8"])
        self.assertEqual(recommend.option_line(found), "sa_engine_options options = {sizeof options, .n_threads = 8};")

    def test_within_noise_keeps_the_default(self):
        found = self.of({MANY: 1.0, BOUND: 0.999}, noise=0.1)
        self.assertEqual(found.configuration, conf.DEFAULT)
        self.assertIn("keep the default", found.headline)
        self.assertIn("within noise", found.reasons[0])

    def test_small_but_sure_gain_is_not_worth_it(self):
        self.assertEqual(self.of({MANY: 0.995}, noise=0.0005).configuration, conf.DEFAULT)

    def test_fewer_threads_as_good_as_the_default(self):
        found = self.of({FEW: 1.0, MANY: 1.3})
        self.assertEqual(found.configuration, conf.DEFAULT)
        self.assertTrue(any("fewer threads are as good: 2 threads" in r and "2 more cores" in r for r in found.reasons))

    def test_fewer_threads_as_good_as_the_winner(self):
        found = self.of({MANY: 0.7, FEW: 0.705})
        self.assertEqual(found.configuration, MANY)
        self.assertTrue(any("fewer threads are as good: 2 threads" in r for r in found.reasons))

    def test_noise_does_not_make_fewer_threads_as_good(self):
        found = self.of({FEW: 1.05}, noise=0.5)
        self.assertFalse(any("as good" in r for r in found.reasons))
        found = self.of({FEW: 1.03}, noise=0)
        self.assertFalse(any("as good" in r for r in found.reasons))

    def test_one_outlier_changes_nothing(self):
        finals = made_up({conf.DEFAULT: 1.0, conf.AGAIN: 1.0, MANY: 0.8})
        finals[MANY][3] = {s: 40 * t for s, t in finals[MANY][3].items()}
        self.assertEqual(recommend.recommend(finals, EFFECTS).configuration, MANY)
        finals = made_up({conf.DEFAULT: 1.0, conf.AGAIN: 1.0, MANY: 1.1})
        finals[MANY][3] = {s: t / 40 for s, t in finals[MANY][3].items()}
        self.assertEqual(recommend.recommend(finals, EFFECTS).configuration, conf.DEFAULT)

    def test_too_few_rounds_decide_nothing(self):
        found = self.of({MANY: 0.5}, n=3)
        self.assertEqual(found.configuration, conf.DEFAULT)
        self.assertIn("too few rounds", found.headline)

    def test_default_that_differs_from_itself(self):
        finals = made_up({conf.DEFAULT: 1.0, conf.AGAIN: 0.9, MANY: 0.93})
        found = recommend.recommend(finals, EFFECTS)
        self.assertEqual(found.configuration, conf.DEFAULT)
        self.assertTrue(any("was not quiet" in r for r in found.reasons))

    def test_no_finals(self):
        found = recommend.recommend({}, EFFECTS, {conf.DEFAULT: 1.0, FEW: 4.0})
        self.assertIn("2 threads, is 0.25x", found.reasons[0])
        self.assertIn("too few rounds", recommend.recommend({}, EFFECTS, {}, finished=False).headline)

    def test_lines(self):
        bound = recommend.Recommendation(BOUND, "")
        self.assertEqual(recommend.environment_lines(bound, ["OMP_PLACES"]), ["unset OMP_PLACES"])
        self.assertIn("  only in the program:", report.recommendation(bound, []))
        self.assertIn(".n_threads = 4, .binding = SA_BIND_SPREAD}", recommend.option_line(bound))
        runtime = recommend.Recommendation(conf.of_openmp_binding(4, "close", "cores"), "")
        self.assertIn("export OMP_PLACES=cores", recommend.environment_lines(runtime))
        self.assertIsNone(recommend.option_line(runtime))
        self.assertIn("  (sa_engine_options cannot say this)", report.recommendation(runtime, []))
        self.assertIn("  or in the program:", report.recommendation(recommend.Recommendation(FEW, ""), []))
        keep = recommend.Recommendation(conf.DEFAULT, "")
        self.assertEqual(recommend.environment_lines(keep, ["OMP_NUM_THREADS"]), ["unset OMP_NUM_THREADS"])


class MadeUpBench:
    """8 cores; speed grows with the threads up to the knee."""

    def __init__(self, fails=(), knee=3):
        self.order, self.fails, self.knee = [], fails, knee
        self.dice = random.Random(5)

    def effect(self, c):
        threads = c.n_threads or int(dict(c.environment).get("OMP_NUM_THREADS", 8))
        binding = c.binding or ("none" if c.runtime_binding() or threads < 8 else "close")
        return conf.Effect(threads, binding, "avx2")

    def measure(self, c):
        self.order.append(c)
        if c.label in self.fails:
            raise BenchFailed(1, "no engine")
        seconds = 1 / min(self.knee, self.effect(c).threads) * (0.8 if c.binding == "spread" else 1)
        return Sample({"a": seconds * (1 + 0.01 * self.dice.random())}, self.effect(c))


def swept(bench, rounds=9):
    sweep = Sweep(bench, Progress(False), 0, rounds)
    sweep.threads(conf.thread_counts(8, 8), 8)
    sweep.bindings(8, 8)
    sweep.finals()
    return sweep.results


class Sweeping(unittest.TestCase):
    def test_whole_run(self):
        results = swept(MadeUpBench())
        self.assertEqual(results.finalists[:2], [conf.DEFAULT, conf.AGAIN])
        self.assertEqual(results.untried, [])
        self.assertIn("8 threads, engine close", [c.label for c, _ in results.same_as])
        self.assertEqual([c.label for c in results.hopeless], ["1 thread"])
        finals = recommend.finals_of(results)
        self.assertEqual({len(r) for r in finals.values()}, {9})
        found = recommend.recommend(finals, {c: results.effect(c) for c in results.measured()})
        self.assertEqual(found.configuration.binding, "spread")

    def test_small_teams_that_are_hopeless_are_not_tried(self):
        bench = MadeUpBench(knee=8)
        results = swept(bench)
        self.assertEqual([c.label for c in results.untried], ["2 threads", "1 thread"])
        self.assertNotIn(results.untried[0], bench.order)

    def test_rounds_are_interleaved(self):
        bench = MadeUpBench()
        results = swept(bench)
        n = len(results.finalists)
        last = bench.order[-9 * n:]
        for i in range(0, len(last), n):
            self.assertEqual(set(last[i:i + n]), set(results.finalists))
        self.assertGreater(len({tuple(last[i:i + n]) for i in range(0, len(last), n)}), 1)

    def test_a_configuration_that_fails_is_left_out(self):
        results = swept(MadeUpBench(fails=["6 threads", "default, once more"]))
        self.assertIn("failed: 6 threads: no engine", report.notes(results))
        self.assertTrue(recommend.recommend(recommend.finals_of(results), {c: results.effect(c) for c in
                                                                           results.measured()}).reasons)
        with self.assertRaises(BenchFailed):
            swept(MadeUpBench(fails=["default"]))

    def test_reports(self):
        results = swept(MadeUpBench())
        lines = report.table(results)
        self.assertEqual(len(lines), 1 + len(results.measured()))
        self.assertIn("far behind", lines[-1])
        with tempfile.TemporaryDirectory() as directory:
            report.write_csv(Path(directory) / "t.csv", results)
            rows = list(csv.DictReader(io.StringIO((Path(directory) / "t.csv").read_text())))
        self.assertEqual(len(rows), sum(len(r) for r in results.samples.values()))


class Small(unittest.TestCase):
    def test_thread_counts(self):
        self.assertEqual(conf.thread_counts(2, 2), [1, 2])
        self.assertEqual(conf.thread_counts(10, 20), [1, 2, 3, 4, 6, 8, 10, 12, 16, 20])

    def test_bindings_need_cores(self):
        self.assertEqual([c.binding for c in conf.bindings_of(8, 4, 8) if c.n_threads], ["none"])
        self.assertEqual(len(conf.bindings_of(4, 4, 8)), 7)

    def test_a_lower_instruction_set(self):
        self.assertEqual(conf.of_lower_isa(4, conf.Effect(4, "close", "avx2")), [])
        lower, = conf.of_lower_isa(4, conf.Effect(4, "close", "avx512"))
        self.assertIn(("SA_MAX_ISA", "avx2"), lower.variables())
        self.assertEqual(lower.option_fields(), [".n_threads = 4", ".max_isa = SA_ISA_AVX2"])

    def test_environment_is_kept_out(self):
        environment = {"PATH": "/bin", "OMP_NUM_THREADS": "3", "SA_VERBOSE": "1"}
        self.assertEqual(conf.clean_environment(environment), {"PATH": "/bin"})
        self.assertEqual(conf.as_set_here(environment).environment, (("OMP_NUM_THREADS", "3"),))
        self.assertIsNone(conf.as_set_here({"SA_VERBOSE": "1"}))
        self.assertIsNone(conf.Configuration("x", (("OMP_NUM_THREADS", "many"),)).option_fields())

    def test_cpu_lists(self):
        self.assertEqual(options.cpu_list("0-2,6"), {0, 1, 2, 6})
        self.assertEqual(report.cpus_text({0, 1, 2, 6}), "0-2,6")
        for text in ("", "x", "3-1", "1-", "-1", "1,,2"):
            with self.assertRaises(argparse.ArgumentTypeError):
                options.cpu_list(text)

    def test_thinning(self):
        lines = ["a d=1", "b d=1", "c d=1", "d d=1", "e d=1"]
        seconds = {"a": 1.0, "b": 1e-4, "c": 1e-4, "d": 1e-4}
        self.assertEqual(shapes.thin(lines, seconds, 0.5, 0.02), (lines[1:4], ["a"]))
        self.assertEqual(shapes.thin(lines, seconds, 60, 0.02), (lines[:4], []))
        self.assertEqual(len(shapes.thin(lines, seconds, 0, 0.02)[0]), 3)

    def test_presets_have_shapes(self):
        for preset in options.PRESETS:
            names = [shapes.name_of(line) for line in shapes.preset_lines([preset])]
            self.assertGreater(len(names), 3)
            self.assertEqual(len(names), len(set(names)))


if __name__ == "__main__":
    unittest.main()
