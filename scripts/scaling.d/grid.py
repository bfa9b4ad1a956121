# SPDX-License-Identifier: MIT
"""What is measured: series of lengths that double. Pure."""
import dataclasses

KINDS = {
    "full": "every query sees every key",
    "causal": "a query sees itself and what came before",
    "window": "causal, the last WINDOW keys only",
    "sink": "the same, and the first SINK keys",
    "matrix": "the baseline: NumPy with the whole n x n matrix, every query sees every key",
}


@dataclasses.dataclass(frozen=True)
class Series:
    kind: str
    threads: int
    d: int
    heads: int
    window: int = 0  # keys a query sees at most; 0: no limit
    sink: int = 0

    @property
    def growth(self):
        """Exponent of time in n, in theory."""
        return 1 if self.window else 2

    @property
    def label(self):
        what = {"matrix": "n × n matrix", "window": f"window {self.window}",
                "sink": f"window {self.window} + {self.sink} sinks"}.get(self.kind, self.kind)
        return f"{what}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def shape(self, n):
        """A line for scale_point; perf/README.md describes them."""
        line = f"{self.kind} heads={self.heads} nq={n} d={self.d}"
        if self.kind != "full":
            line += " causal"
        if self.window:
            line += f" window={self.window - 1},0"
        return line + (f" sink={self.sink}" if self.sink else "")

    def pairs(self, n):
        """About how many (query, key) pairs are computed."""
        seen = min(n, self.window + self.sink) if self.window else n / 2 if self.kind == "causal" else n
        return self.heads * n * seen

    def flops(self, n):
        return 4 * self.d * self.pairs(n)

    def bytes(self, n):
        """What it takes beyond the bare process: q, k, v, o and, for the baseline, the matrix of one head."""
        return 16 * self.heads * self.d * n + (4 * n * n if self.kind == "matrix" else 0)

    def key(self, n):
        return {"kind": self.kind, "threads": self.threads, "d": self.d, "heads": self.heads, "window": self.window,
                "sink": self.sink, "n": n}


def make_series(options, default_threads):
    """The series that were asked for, in the order of the report."""
    threads = sorted({t or default_threads for t in options.threads})
    result = []
    for kind in options.series:
        window = options.window if kind in ("window", "sink") else 0
        sink = options.sink if kind == "sink" else 0
        result += [Series(kind, t, options.d, options.heads, window, sink) for t in threads]
    return result


def goal_series(series):
    """The one that is to get as far as GOAL_TOKENS before the others use up the time."""
    return max((s for s in series if s.kind == "causal"), key=lambda s: s.threads, default=None)


GOAL_TOKENS = 262144
