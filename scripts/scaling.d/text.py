# SPDX-License-Identifier: MIT
"""Numbers for people."""


def digits(value, count=3):
    """So many significant digits, without an exponent."""
    text = f"{value:.{count}g}"
    return f"{float(text):.0f}" if "e" in text and abs(value) >= 1 else text


def short_time(seconds):
    if seconds < 1e-3:
        return f"{digits(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{digits(seconds * 1e3)} ms"
    if seconds < 120:
        return f"{digits(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{digits(seconds / 3600)} h"


def short_bytes(size):
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1000:
            return f"{digits(size)} {unit}"
        size /= 1024
    return f"{digits(size)} GiB"


def short_n(n):
    for unit, name in ((1 << 20, "M"), (1 << 10, "k")):
        if n >= unit and n % unit == 0:
            return f"{n // unit}{name}"
    return str(n)
