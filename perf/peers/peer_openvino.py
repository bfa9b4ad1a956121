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
                       "INFERENCE_PRECISION_HINT": "f32",
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
        o = np.empty(q.shape[:-1] + (problem.dv,), np.float32)
        request = self.compile([q, k, v], problem.mask() == "square").create_infer_request()
        tensors = [self.ov.Tensor(x, shared_memory=True) for x in (q, k, v, o)]
        for i in range(3):
            request.set_input_tensor(i, tensors[i])
        request.set_output_tensor(0, tensors[3])

        def call():
            request.infer(share_inputs=True, share_outputs=True)

        call.keep = tensors
        return call, lambda: o.reshape(problem.batch, problem.heads, problem.n_q, problem.dv)

    def compile(self, arrays, causal):
        ops = self.ops
        inputs = [ops.parameter(list(x.shape), np.float32) for x in arrays]
        node = ops.scaled_dot_product_attention(*inputs, causal=causal)
        return self.core.compile_model(self.ov.Model([node], inputs, "attention"), "CPU", self.config)
