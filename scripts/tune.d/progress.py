# SPDX-License-Identifier: MIT
"""A bar on a terminal, nothing elsewhere."""
import sys
import time

WIDTH = 24


class Progress:
    def __init__(self, shown, stream=sys.stderr, clock=time.monotonic):
        self.stream, self.clock = stream, clock
        self.shown = shown and stream.isatty()
        self.done = self.planned = self.length = 0
        self.began = clock()

    def plan(self, runs):
        """So many more runs are to come."""
        self.planned = self.done + runs

    def step(self, doing):
        """One run begins."""
        if self.shown:
            share = min(1.0, self.done / max(1, self.planned))
            left = (self.clock() - self.began) / self.done * (self.planned - self.done) if self.done else None
            bar = "#" * int(share * WIDTH)
            text = f"[{bar:<{WIDTH}}] {100 * share:3.0f} %  " + (f"{left:3.0f} s left  " if left is not None else "") + doing
            self._put(text[:110])
        self.done += 1

    def _put(self, text):
        self.stream.write("\r" + text.ljust(self.length) + ("" if text else "\r"))
        self.stream.flush()
        self.length = len(text)

    def end(self):
        if self.shown:
            self._put("")
