# SPDX-License-Identifier: MIT
"""Least squares. Pure, and without NumPy: the points are few."""
import collections
import math

# Two-sided 95 % of Student's t for 1, 2, ... degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
           2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)

Power = collections.namedtuple("Power", "exponent margin factor points first_n")  # y = factor * n^exponent
Line = collections.namedtuple("Line", "slope constant points")


def student(freedom):
    return STUDENT[freedom - 1] if freedom <= len(STUDENT) else 1.96 + 2.5 / freedom


def solve(xs, ys, weights):
    """(slope, constant) of the weighted line; None if all x are the same."""
    total = sum(weights)
    x_mean = sum(w * x for w, x in zip(weights, xs)) / total
    y_mean = sum(w * y for w, y in zip(weights, ys)) / total
    square = sum(w * (x - x_mean) ** 2 for w, x in zip(weights, xs))
    if square <= 1e-12 * max(1, x_mean ** 2) * total:
        return None
    slope = sum(w * (x - x_mean) * (y - y_mean) for w, x, y in zip(weights, xs, ys)) / square
    return slope, y_mean - slope * x_mean


def larger_half(points):
    """The longer half of the lengths, but three at least: short ones tell of overheads."""
    points = sorted(points)
    return points[-max(3, (len(points) + 1) // 2):]


def power(points):
    """Power law through (n, y) over the larger half of n, with the half width of its 95 % interval; None for fewer than
    three points."""
    points = larger_half([(n, y) for n, y in points if n > 0 and y > 0])
    if len(points) < 3:
        return None
    xs, ys = [math.log(n) for n, _ in points], [math.log(y) for _, y in points]
    solution = solve(xs, ys, [1.0] * len(xs))
    if solution is None:
        return None
    slope, constant = solution
    freedom = len(xs) - 2
    rest = sum((y - constant - slope * x) ** 2 for x, y in zip(xs, ys))
    mean = sum(xs) / len(xs)
    error = math.sqrt(rest / freedom / sum((x - mean) ** 2 for x in xs))
    return Power(slope, student(freedom) * error, math.exp(constant), len(points), points[0][0])


def line(points):
    """y = slope * n + constant with the smallest relative residuals, so that short lengths tell the constant and long
    ones the slope; None for fewer than two points."""
    points = [(n, y) for n, y in points if y > 0]
    solution = solve([n for n, _ in points], [y for _, y in points], [1 / y ** 2 for _, y in points]) \
        if len(points) >= 2 else None
    return Line(*solution, len(points)) if solution else None
