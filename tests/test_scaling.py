#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The parts of scripts/scaling that measure nothing: fits, store, plan, options. Needs the standard library only."""
import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "scripts", "scaling.d"))
import fit  # noqa: E402
import options  # noqa: E402
from grid import GOAL_TOKENS, Series, make_series  # noqa: E402
from plan import Limits, Plan, Timing, expect  # noqa: E402
from store import Store, StoreError  # noqa: E402
from text import digits, short_bytes, short_n, short_time  # noqa: E402

LENGTHS = [1 << i for i in range(10, 19)]


class Fit(unittest.TestCase):
    def test_a_power_law_is_found(self):
        power = fit.power([(n, 3e-9 * n ** 2) for n in LENGTHS])
        self.assertAlmostEqual(power.exponent, 2, places=9)
        self.assertAlmostEqual(power.factor / 3e-9, 1, places=6)
        self.assertLess(power.margin, 1e-6)

    def test_only_the_larger_half_counts(self):
        power = fit.power([(n, n if n >= 1 << 14 else 1e6) for n in LENGTHS])
        self.assertAlmostEqual(power.exponent, 1, places=9)
        self.assertEqual((power.points, power.first_n), (5, 1 << 14))

    def test_the_interval_is_students(self):
        # y = x by log2, off by +1, -2, +1 at x = 0, 1, 2: slope 1, residual variance 6, error sqrt(6 / 2).
        power = fit.power([(1, 2.0), (2, 0.5), (4, 8.0)])
        self.assertAlmostEqual(power.exponent, 1, places=9)
        self.assertAlmostEqual(power.margin, 12.706 * 3 ** 0.5, places=3)

    def test_few_or_equal_points_give_none(self):
        self.assertIsNone(fit.power([(1, 1.0), (2, 2.0)]))
        self.assertIsNone(fit.power([(2, 1.0), (2, 2.0), (2, 3.0)]))
        self.assertIsNone(fit.line([(2, 1.0)]))

    def test_a_line_is_found(self):
        line = fit.line([(n, 1024 * n + 500000) for n in LENGTHS])
        self.assertAlmostEqual(line.slope, 1024, places=6)
        self.assertAlmostEqual(line.constant, 500000, places=2)

    def test_student_has_no_jump(self):
        values = [fit.student(freedom) for freedom in range(1, 60)]
        self.assertEqual(values, sorted(values, reverse=True))
        self.assertLess(abs(fit.student(21) - 2.080), 0.003)


class Storing(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "points.jsonl")

    def fill(self, *ns):
        store = Store(self.path)
        for n in ns:
            store.add({"library": "a"}, {"n": n}, {"seconds": [n]})
        store.close()

    def test_points_survive(self):
        self.fill(1, 2)
        store = Store(self.path)
        self.assertEqual(store.get({"library": "a"}, {"n": 2})["seconds"], [2])
        self.assertIsNone(store.get({"library": "b"}, {"n": 2}))
        self.assertEqual(store.damaged, 0)
        store.close()

    def test_a_torn_last_line_is_cut_off_wherever_it_was_torn(self):
        self.fill(1, 2)
        with open(self.path, "rb") as file:
            data = file.read()
        first = data.index(b"\n") + 1
        for length in range(first + 1, len(data)):
            with open(self.path, "wb") as file:
                file.write(data[:length])
            self.fill(3)
            with open(self.path, encoding="ascii") as file:
                self.assertEqual([json.loads(line)["key"]["n"] for line in file], [1, 3])

    def test_a_line_that_is_no_point_is_passed_over(self):
        self.fill(1)
        with open(self.path, "ab") as file:
            file.write(b"[]\n\xff\n{}\n")
        self.fill(2)
        store = Store(self.path)
        self.assertEqual((len(store.points), store.damaged), (2, 3))
        store.close()

    def test_fresh_keeps_the_old_file(self):
        self.fill(1)
        store = Store(self.path, fresh=True)
        self.assertEqual(len(store.points), 0)
        self.assertTrue(os.path.exists(self.path + ".old"))
        store.close()

    def test_two_runs_do_not_share_a_file(self):
        store = Store(self.path)
        with self.assertRaises(StoreError):
            Store(self.path)
        store.close()

    def test_a_path_that_cannot_be_is_told(self):
        with self.assertRaises(StoreError):
            Store(os.path.join(self.folder.name, "none", "points.jsonl"))


CAUSAL = Series("causal", 2, 64, 1)
FULL = Series("full", 1, 64, 1)
WINDOW = Series("window", 1, 64, 1, 1024)
MATRIX = Series("matrix", 1, 64, 1)


def limits(**changes):
    return Limits(**{"min_n": 1024, "max_n": 1 << 30, "memory": 1 << 34, "budget": 300.0, "point_seconds": 0.5,
                     **changes})


def carry_out(plan):
    """Takes all steps of a machine that needs what is expected; returns them."""
    steps = plan.remaining()
    for step in steps:
        plan.add(step.series, step.n, expect(step.series, step.n, plan.history[step.series], plan.limits))
    return steps


class Planning(unittest.TestCase):
    def test_time_grows_as_the_theory_says(self):
        for series, factor in ((FULL, 16), (WINDOW, 4)):
            self.assertAlmostEqual(expect(series, 4096, {1024: Timing(0.01, 0.6)}, limits()).call, 0.01 * factor)

    def test_the_budget_holds_and_lengths_double(self):
        plan = Plan([CAUSAL, FULL, WINDOW, MATRIX], limits(budget=60.0))
        steps = carry_out(plan)
        self.assertLessEqual(plan.spent(), 60.0)
        for series in plan.series:
            ns = [step.n for step in steps if step.series == series]
            self.assertEqual(ns, [1024 << i for i in range(len(ns))])
            self.assertEqual(plan.ends()[series][0], "time")

    def test_the_goal_is_kept_time_for(self):
        cost = {}
        for budget in (200.0, 500.0):
            plan = Plan([FULL, WINDOW, MATRIX, CAUSAL], limits(budget=budget))
            carry_out(plan)
            cost[budget] = max(plan.history[CAUSAL])
        self.assertEqual(cost[500.0], GOAL_TOKENS)
        self.assertLessEqual(cost[200.0], GOAL_TOKENS)

    def test_memory_and_max_n_end_a_series(self):
        plan = Plan([MATRIX, WINDOW], limits(memory=100 << 20, max_n=8192))
        carry_out(plan)
        self.assertEqual({s: end[0] for s, end in plan.ends().items()}, {MATRIX: "memory", WINDOW: "max-n"})
        self.assertEqual(max(plan.history[MATRIX]), 4096)  # 64 MiB

    def test_what_is_there_is_not_planned_again(self):
        plan = Plan([CAUSAL], limits(max_n=4096), {CAUSAL: {1024: Timing(0.1, 1.0), 4096: Timing(1.0, 2.0)}})
        self.assertEqual([step.n for step in plan.remaining()], [2048])

    def test_a_failed_series_is_left(self):
        plan = Plan([CAUSAL], limits())
        plan.failed[CAUSAL] = "why"
        self.assertEqual((plan.remaining(), plan.ends()[CAUSAL][:2]), ([], ("failed", "why")))

    def test_a_point_without_a_past_must_fit_as_well(self):
        self.assertEqual(Plan([FULL], limits(min_n=1 << 20)).remaining(), [])


class Options(unittest.TestCase):
    def refuse(self, *arguments):
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as raised:
            options.parse(arguments)
        self.assertEqual(raised.exception.code, 2)

    def test_wrong_values_are_refused(self):
        for arguments in (["--seconds", "-1"], ["--seconds", "nan"], ["--threads", "1,x"], ["--series", "all"],
                          ["--max-n", "512"], ["--d", "577"], ["--window", "0"], ["--max-memory", "5X"], ["--max", "9"],
                          ["--report", "--fresh"], ["more"]):
            with self.subTest(arguments):
                self.refuse(*arguments)

    def test_the_default_team_is_measured_once(self):
        series = make_series(options.parse(["--series", "causal", "--threads", "1,0"]), 1)
        self.assertEqual([s.threads for s in series], [1])

    def test_shapes_are_what_scale_point_reads(self):
        series = make_series(options.parse(["--series", "full,sink", "--threads", "3", "--window", "100"]), 1)
        self.assertEqual([s.shape(7) for s in series], [
            "full heads=1 nq=7 d=64", "sink heads=1 nq=7 d=64 causal window=99,0 sink=16"])


class Text(unittest.TestCase):
    def test_numbers(self):
        self.assertEqual([digits(1234.5), digits(0.01234), short_time(2.5e-3), short_time(300), short_time(9000)],
                         ["1230", "0.0123", "2.5 ms", "5 min", "2.5 h"])
        self.assertEqual([short_bytes(512), short_bytes(1 << 20), short_bytes(3 << 40)], ["512 B", "1 MiB", "3070 GiB"])
        self.assertEqual([short_n(3000), short_n(1 << 21)], ["3000", "2M"])


if __name__ == "__main__":
    unittest.main()
