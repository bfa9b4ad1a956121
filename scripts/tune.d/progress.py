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

    def plan(self, runs, later=0):
        """So many runs are to come now, and about so many after them."""
        self.planned = self.done + runs + later

    def step(self, doing):
        """One run begins."""
        if self.shown:
            share = min(1.0, self.done / max(1, self.planned))
            left = (self.clock() - self.began) / self.done * (self.planned - self.done) if self.done else None
            bar = "#" * int(share * WIDTH)
            time_left = "" if left is None else f"{left:3.0f} s left  "
            self._put(f"[{bar:<{WIDTH}}] {100 * share:3.0f} %  {time_left}{doing}"[:110])
        self.done += 1

    def _put(self, text):
        self.stream.write("\r" + text.ljust(self.length) + ("" if text else "\r"))
        self.stream.flush()
        self.length = len(text)

    def end(self):
        if self.shown:
            self._put("")
