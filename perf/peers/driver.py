# SPDX-License-Identifier: MIT
"""Starts one worker after another, so that no peer is there while another is measured, and collects what they say."""
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading

from peers import machine, registry
from peers.options import PROJECT

BUILD = PROJECT / "build" / "release"
LIBRARY, BENCH = str(BUILD / "src" / "libsa.so"), str(BUILD / "perf" / "bench")
LAYER_LIBRARY = str(BUILD / "src" / "layer" / "libsa_layer.so")
STALL_SECONDS = 600  # without a word of a worker
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_MAIN_FREE", "GOTO_NUM_THREADS")  # would slow OpenBLAS down, or overrule us


def environment(peer, threads):
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    env.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)))
    env.update(importlib.import_module(registry.PEERS[peer].module).Peer.environment(threads))
    return env


def messages(process):
    """What a worker says, until it ends; it is killed if it says nothing for too long."""
    while True:
        watchdog = threading.Timer(STALL_SECONDS, process.kill)
        watchdog.daemon = True  # so that it keeps nobody from leaving
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        if not line:
            return
        yield json.loads(line)


def how_it_ended(process, log):
    status = process.wait()
    log.seek(0)
    words = [line.strip() for line in log.read().splitlines() if line.strip()]
    if status < 0:
        ending = f"ended by {signal.Signals(-status).name}"
    else:
        ending = f"ended with status {status}"
    return f"{ending}: {words[-1][:200]}" if words else ending


class Worker:
    """One peer with one number of threads. A shape that ends its process is noted, and the rest go to a new one."""

    def __init__(self, options, peer, threads, progress):
        self.options, self.peer, self.threads, self.progress = options, peer, threads, progress
        self.about = {"peer": peer, "threads": threads, "version": None, "libsa": None, "reason": None, "peaks": [],
                      "reads": []}
        self.outcomes = []

    def run(self):
        left = list(self.options.chosen)
        while left and not self.about["reason"]:
            self.measure_limits()
            n_before = len(self.outcomes)
            ending = self.run_process(left)
            left = left[len(self.outcomes) - n_before:]
            if left and self.about["version"] is None:
                self.about["reason"] = self.about["reason"] or ending
            elif left:
                self.outcomes.append({"shape": left.pop(0).name, "status": "failed", "reason": ending})
        if not self.about["reason"]:
            self.measure_limits()
        return self

    def measure_limits(self):
        with_reads = any(shape.is_decode() for shape in self.options.chosen)
        peaks, reads = machine.measure_limits(BENCH, self.threads, with_reads)
        self.about["peaks"] += peaks
        self.about["reads"] += reads

    def run_process(self, shapes):
        job = {"peer": self.peer, "threads": self.threads, "library": LIBRARY, "layer_library": LAYER_LIBRARY,
               "repeats": self.options.repeats, "seconds": self.options.seconds,
               "shapes": [shape.line for shape in shapes]}
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            process = subprocess.Popen([sys.executable, "-P", "-m", "peers.worker", json.dumps(job)], text=True,
                                       env=environment(self.peer, self.threads), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=log)
            with process:
                try:
                    for message in messages(process):
                        self.take(message)
                finally:
                    process.kill()  # has ended by itself, unless we are leaving
                return how_it_ended(process, log)

    def take(self, message):
        event = message.pop("event")
        if event == "begin":
            self.progress(self.peer, self.threads, message["shape"])
        elif event == "shape":
            self.outcomes.append(message)
        else:
            self.about.update(message)


def show_progress(peer, threads, shape):
    if sys.stderr.isatty():
        print(f"\r\033[K{threads} thread{'s' * (threads > 1)}, {peer}: {shape}", end="", file=sys.stderr, flush=True)


def run(options):
    """{"machine", "workers", "results"}: results have the worker's peer and threads and the outcome of one shape."""
    bystanders = machine.Bystanders()
    workers = []
    for threads in options.threads:
        for peer in options.peers:
            workers.append(Worker(options, peer, threads, show_progress).run())
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    results = [{"peer": worker.peer, "threads": worker.threads, "peaks": worker.about["peaks"],
                "reads": worker.about["reads"], **outcome}
               for worker in workers for outcome in worker.outcomes]
    return {"cpu": machine.cpu_name(), "cores": len(os.sched_getaffinity(0)), "others": bystanders.share(),
            "workers": [worker.about for worker in workers], "results": results}
