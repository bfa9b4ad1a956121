# SPDX-License-Identifier: MIT
"""OpenVINO: its ScaledDotProductAttention operation, compiled for each shape."""
import os

import numpy as np


class Peer:
    @staticmethod
    def environment(_threads):
        return {}

    def __init__(self, threads):
        import openvino
        from openvino import opset13
        self.ov, self.ops = openvino, opset13
        self.core = openvino.Core()
        self.version = openvino.__version__.split("-")[0]
        # Threads are bound where libsa binds its own: if there is one for each core.
        self.config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY",
                       "ENABLE_CPU_PINNING": threads == len(os.sched_getaffinity(0))}

    def supports(self, problem):
        # Its causal aligns the first query with the first key.
        return None if problem.mask() in ("none", "square") else "causal only with as many queries as keys, no windows"

    def prepare(self, q, k, v, problem):
        # Grouped heads: the query heads of a kv head as a sequence of their own, whose key has one head for all.
        groups = problem.heads // problem.kv
        if groups > 1:
            rows = problem.batch * problem.kv
            q = q.reshape(rows, groups, problem.n_q, problem.d)
            k, v = (x.reshape(rows, 1, *x.shape[2:]) for x in (k, v))
        o = np.empty(q.shape[:-1] + (problem.dv,), q.dtype)
        request = self.compile([q, k, v], problem).create_infer_request()
        tensors = [self.tensor(x, problem.type) for x in (q, k, v, o)]
        for i in range(3):
            request.set_input_tensor(i, tensors[i])
        request.set_output_tensor(0, tensors[3])

        def call():
            request.infer(share_inputs=True, share_outputs=True)

        call.keep = tensors
        return call, lambda: o.reshape(problem.batch, problem.heads, problem.n_q, problem.dv)

    def tensor(self, array, name):
        """On the array's own memory."""
        if name == "bf16":
            return self.ov.Tensor(array, self.ov.Shape(array.shape), self.ov.Type.bf16)
        return self.ov.Tensor(array, shared_memory=True)

    def precision(self, name):
        """What it computes in: that of the tensors, where the processor has instructions for it."""
        able = self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return name if {"bf16": "BF16", "f16": "FP16", "f32": "FP32"}[name] in able else "f32"

    def compile(self, arrays, problem):
        ops, element = self.ops, getattr(self.ov.Type, problem.type)
        inputs = [ops.parameter(list(x.shape), element) for x in arrays]
        node = ops.scaled_dot_product_attention(*inputs, causal=problem.mask() == "square")
        config = {**self.config, "INFERENCE_PRECISION_HINT": self.precision(problem.type)}
        return self.core.compile_model(self.ov.Model([node], inputs, "attention"), "CPU", config)
