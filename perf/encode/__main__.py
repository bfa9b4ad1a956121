# SPDX-License-Identifier: MIT
"""`sa encode` beside sentence-transformers on PyTorch and ONNX Runtime: the same vectors, and how long each takes for them."""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np

import lines

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ("torch", "onnx")
TOLERANCE = 1e-5
FIXTURE = HERE.parent.parent / "tests/data/animal.safetensors"  # q, k, v of all layers, as transformers computes them
SENTENCE = "The animal didn't cross the street because it was too tired."
N_TOKENS = 16


class Worker:
    """A peer in a process of its own."""

    def __init__(self, peer, model, path, threads, batch):
        command = [sys.executable, "-B", str(HERE / "worker.py"), peer, model, path, str(threads), str(batch)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while not (line := self.process.stdout.readline()).startswith("ready "):
            if not line:
                raise SystemExit(f"{peer} could not be started")
        self.version = line.split(" ", 1)[1].strip()

    def ask(self, request):
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("a peer ended its process")
        return answer

    def seconds(self):
        return float(self.ask("go"))

    def vectors(self, path):
        self.ask(f"save {path}")
        return np.load(path)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def run_sa(options, path, threads, out):
    """What `sa encode` says it did. Its seconds go from text to vectors; loading the model is no part, as with the peers."""
    command = [options.sa, "encode", options.model, path, "--out", out, "--threads", str(threads), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write(path, text):
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write("".join(line + "\n" for line in text))
    return str(path)


def compare(options, work, text):
    """Vectors of all lines against PyTorch's."""
    path = write(work / "all.txt", text)
    done = run_sa(options, path, options.threads[-1], str(work / "sa.npy"))
    worker = Worker("torch", options.model, path, options.threads[-1], options.batch)
    worker.seconds()
    difference = np.abs(worker.vectors(str(work / "torch.npy")) - np.load(work / "sa.npy")).max(axis=1)
    worker.close()
    worst = int(difference.argmax())
    print(f"{len(text)} lines, {done['tokens']} tokens, {done['lines_cut']} cut off, against {worker.version}:")
    print(f"largest difference {difference.max():.2g}, median over lines {np.median(difference):.2g}; worst line {worst + 1}: "
          f"{ascii(text[worst][:60])}", flush=True)
    return difference.max() <= TOLERANCE


def compare_look(options):
    """What `sa look` prints of each token in all heads, out of the model and out of the fixture."""

    def look(token, *source):
        return subprocess.run([options.sa, "look", *source, "--token", str(token)], check=True, capture_output=True, text=True).stdout

    differ = [i for i in range(N_TOKENS) if look(i, options.model, "--text", SENTENCE) != look(i, str(FIXTURE))]
    print(f"sa look: {N_TOKENS} tokens in all heads, those that differ from transformers' q, k, v: {len(differ)}", flush=True)
    return not differ


def time_peer(options, work, path, n, peer, threads):
    worker = Worker(peer, options.model, path, threads, options.batch)
    worker.seconds()  # warms up
    pairs = []
    for _ in range(options.pairs):
        pairs.append((run_sa(options, path, threads, str(work / "sa.npy"))["seconds"], worker.seconds()))
    difference = np.abs(worker.vectors(str(work / "peer.npy")) - np.load(work / "sa.npy")).max()
    worker.close()
    ratios = sorted(b / a for a, b in pairs)
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    print(f"{threads} thread{'s' if threads > 1 else ' '}  {peer:5}  sa {n / statistics.median(a for a, _ in pairs):7.0f} lines/s, peer "
          f"{n / statistics.median(b for _, b in pairs):7.0f}; peer takes {statistics.median(ratios):.2f} times as long "
          f"({quartiles[0]:.2f} to {quartiles[2]:.2f}); shortest {min(b for _, b in pairs) / min(a for a, _ in pairs):.2f}; "
          f"vectors differ by {difference:.1g}   {worker.version}", flush=True)


def parse():
    parser = argparse.ArgumentParser(prog="perf/encode/run", description=__doc__)
    parser.add_argument("--lines", type=int, default=5000, metavar="N", help="to compare (%(default)s)")
    parser.add_argument("--timed", type=int, default=1000, metavar="N", help="of them to take times of (%(default)s); 0: none")
    parser.add_argument("--pairs", type=int, default=7, help="of times, in turns (%(default)s)")
    parser.add_argument("--threads", type=lambda x: [int(n) for n in x.split(",")], default=[1, 2], help="1,2")
    parser.add_argument("--batch", type=int, default=32, help="of the peers (%(default)s, as sentence-transformers has it)")
    parser.add_argument("--sa", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--model", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse()
    text = lines.gather(options.lines)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        good = compare(options, work, text)
        same = compare_look(options)
        if options.timed:
            part = text[:: max(1, len(text) // options.timed)][: options.timed]
            path = write(work / "timed.txt", part)
            for threads in options.threads:
                for peer in PEERS:
                    time_peer(options, work, path, len(part), peer, threads)
    if not good:
        raise SystemExit(f"vectors differ by more than {TOLERANCE}")
    if not same:
        raise SystemExit("sa look shows another attention than the fixture's")


if __name__ == "__main__":
    main()
