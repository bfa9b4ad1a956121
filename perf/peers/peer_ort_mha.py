# SPDX-License-Identifier: MIT
"""ONNX Runtime: the contrib operator MultiHeadAttention. Its flash path serves full attention; with `unidirectional`
the operator computes n x n scores."""
import numpy as np


class Peer:
    @staticmethod
    def environment(_threads):
        return {}

    def __init__(self, threads):
        from peers import ort
        self.ort = ort
        self.threads = threads
        self.version = ort.onnxruntime.__version__

    def supports(self, problem):
        if problem.type == "bf16":
            return "no kernel for bfloat16"
        if problem.heads != problem.kv:
            return "as many kv heads as heads"
        if problem.d != problem.dv:
            return "d_v must be d_qk"
        return None if problem.mask() in ("none", "square") else "causal only with as many queries as keys, no windows"

    def prepare(self, q, k, v, problem):
        """q as [sequence][token][head * d], k and v as [sequence][head][token][d]: the operator's own inner layout,
        which saves it two copies."""
        rows = (problem.batch, problem.n_q, problem.heads * problem.d)
        inputs = {"q": np.ascontiguousarray(q.transpose(0, 2, 1, 3)).reshape(rows), "k": k, "v": v}
        node = self.ort.onnx.helper.make_node("MultiHeadAttention", list(inputs), ["o"], domain="com.microsoft",
                                              num_heads=problem.heads, unidirectional=int(problem.mask() == "square"))
        call, values = self.ort.bind([node], inputs, {"o": rows}, self.threads)
        by_head = (problem.batch, problem.n_q, problem.heads, problem.d)
        return call, lambda: values["o"].numpy().reshape(by_head).transpose(0, 2, 1, 3)
