# SPDX-License-Identifier: MIT
"""The process of one peer and one number of threads: checks and times every shape, libsa beside it.

Argument: a JSON object (driver.py). Standard output: a JSON object a line, first what the peer is, then one for each
shape. What libraries print goes to standard error."""
import gc
import importlib
import json
import os
import sys

from peers import layer_reference, libsa, libsa_layer, measure, reference, registry, shapes


class Report:
    """Standard output, kept for ourselves."""

    def __init__(self):
        self.file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def send(self, **message):
        self.file.write(json.dumps(message) + "\n")
        self.file.flush()


def first_line(error):
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def prepare_peer(peer, shape, tensors):
    """One call for all problems of a shape, one after another, and how to read the results."""
    prepared = [peer.prepare(*qkv, problem) for problem, qkv in zip(shape.problems, tensors)]
    calls = [call for call, _ in prepared]

    def all_calls():
        for call in calls:
            call()

    return calls[0] if len(calls) == 1 else all_calls, lambda: [read() for _, read in prepared]


def first_error(references, results):
    return next(filter(None, (r.error(o) for r, o in zip(references, results))), None)


def why_not(peer, shape, job):
    if shape.special:
        return f"{', '.join(shape.special)}: the bench's only"
    if shape.is_layer() != registry.PEERS[job["peer"]].layer:
        return "attention alone" if shape.is_layer() else "whole layers only"
    return next(filter(None, map(peer.supports, shape.problems)), None)


def measure_shape(engine, peer, shape, job):
    reason = why_not(peer, shape, job)
    if reason:
        return {"status": "unsupported", "reason": reason}
    data = layer_reference if shape.is_layer() else reference
    tensors = [data.make_tensors(problem, seed) for seed, problem in enumerate(shape.problems)]
    references = [data.Reference(*pair) for pair in zip(shape.problems, tensors)]
    libsa_call, libsa_results = engine.prepare(shape, tensors)
    libsa_call()
    error = first_error(references, libsa_results())
    if error:
        return {"status": "libsa wrong", "reason": error}
    peer_call, peer_results = prepare_peer(peer, shape, tensors)
    peer_call()
    error = first_error(references, peer_results())
    if error:
        return {"status": "wrong", "reason": error}
    return {"status": "timed", **measure.in_turns(libsa_call, peer_call, job["repeats"], job["seconds"])}


def measure_shapes(report, engine, peer, job):
    for line in job["shapes"]:
        shape = shapes.parse_line(line, "shape")
        report.send(event="begin", shape=shape.name)
        gc.collect()
        gc.disable()
        try:
            outcome = measure_shape(engine, peer, shape, job)
        except Exception as error:  # whatever a peer may raise: it is its result
            outcome = {"status": "failed", "reason": first_line(error)}
        gc.enable()
        report.send(event="shape", shape=shape.name, **outcome)


def make_engine(job):
    if registry.PEERS[job["peer"]].layer:
        return libsa_layer.Engine(job["library"], job["layer_library"], job["threads"])
    return libsa.Engine(job["library"], job["threads"])


def main():
    job = json.loads(sys.argv[1])
    report = Report()
    try:
        peer = importlib.import_module(registry.PEERS[job["peer"]].module).Peer(job["threads"])
    except Exception as error:
        report.send(event="unavailable", reason=first_line(error))
        return
    engine = make_engine(job)
    report.send(event="ready", version=peer.version, libsa=engine.describe())
    measure_shapes(report, engine, peer, job)


if __name__ == "__main__":
    main()
