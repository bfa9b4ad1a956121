# SPDX-License-Identifier: MIT
"""Measured points as the report and the plots want them."""
import statistics


class Point:
    def __init__(self, n, record, peak):
        samples = sorted(record["seconds"])
        self.n, self.record, self.samples = n, record, len(samples)
        self.seconds, self.best, self.worst = statistics.median(samples), samples[0], samples[-1]
        self.rate = record["flops"] / self.seconds
        self.peak = statistics.median(record["peak_flops"]) if record["peak_flops"] else peak
        self.share = self.rate / self.peak if self.peak else None
        self.rss = record["rss_after"]
        self.extra = record["rss_after"] - record["rss_before"]
        self.tensors = record["tensor_bytes"]
        self.scratch = record["workspace_bytes"] + record.get("plan_bytes", 0)
        self.others = record.get("others")  # share of the machine
        self.error = record.get("error_share")


def stored(store, machine, series, options):
    """{n: record} of a series."""
    setting, found, n = machine.setting(series.kind), {}, options.min_n
    while n <= options.max_n:
        if record := store.get(setting, series.key(n)):
            found[n] = record
        n *= 2
    return found


def peak_of_teams(records):
    """Median peak flop/s for each number of threads, over all points: the baseline has none of its own."""
    teams = {}
    for series, found in records.items():
        for record in found.values():
            teams.setdefault(series.threads, []).extend(record["peak_flops"])
    return {threads: statistics.median(peaks) for threads, peaks in teams.items() if peaks}


def collect(records):
    """{series: [Point]}, shortest first."""
    peaks = peak_of_teams(records)
    return {series: [Point(n, found[n], peaks.get(series.threads)) for n in sorted(found)]
            for series, found in records.items()}
