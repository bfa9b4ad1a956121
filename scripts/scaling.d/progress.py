# SPDX-License-Identifier: MIT
"""What is running and how long the rest will take, on standard error: a bar on a terminal, else a line a point."""
import shutil
import sys
import time

from text import short_time


class Progress:
    def __init__(self, quiet):
        self.quiet, self.on_terminal = quiet, sys.stderr.isatty()
        self.begun = time.monotonic()
        self.line, self.point_begun, self.rest, self.expected = "", 0, 0, 0

    def start(self, what, done, steps):
        """`steps` are this point and those that are expected to follow."""
        self.point_begun, self.expected = time.monotonic(), steps[0].cost
        self.rest = sum(step.cost for step in steps)
        self.line = f"{done + 1}/{done + len(steps)}  {what} ({short_time(self.expected)})"
        if self.quiet:
            return
        if self.on_terminal:
            self.tick()
        else:
            print(f"{self.line}; {short_time(self.rest)} left", file=sys.stderr, flush=True)

    def tick(self):
        if self.quiet or not self.on_terminal:
            return
        rest = self.rest - min(self.expected, time.monotonic() - self.point_begun)
        passed = time.monotonic() - self.begun
        filled = round(12 * passed / max(1e-9, passed + rest))
        text = f"[{'#' * filled}{'.' * (12 - filled)}] {self.line}; {short_time(rest)} left"
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write("\r" + text[:width].ljust(width))
        sys.stderr.flush()

    def end(self):
        if not self.quiet and self.on_terminal:
            sys.stderr.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            sys.stderr.flush()
