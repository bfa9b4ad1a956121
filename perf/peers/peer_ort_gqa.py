# SPDX-License-Identifier: MIT
"""ONNX Runtime: the contrib operator GroupQueryAttention. It is causal, keeps a cache of keys and values, and appends
to it in every call."""
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
        if problem.d != problem.dv or problem.d % 8:
            return "d_v must be d_qk, a multiple of 8"
        if problem.n_q not in (1, problem.n_k) or problem.offset != problem.n_k - problem.n_q:
            return "a whole prompt, or one query at the end of a cache"
        if problem.n_q > 1 and problem.mask() != "square":
            return "always causal, no windows"
        return None if problem.mask() in ("none", "square") else "no windows"

    def prepare(self, q, k, v, problem):
        """The cache and what is appended to it are one memory, as in a server."""
        inputs = {name: by_token(x) for name, x in
                  (("q", q), ("k", k[:, :, -problem.n_q:]), ("v", v[:, :, -problem.n_q:]))}
        names = list(inputs)
        shared = {}
        if problem.n_q < problem.n_k:
            inputs.update(past_k=k, past_v=v)
            names += ["past_k", "past_v"]
            shared = {"present_k": "past_k", "present_v": "past_v"}
        else:
            names += ["", ""]
        inputs["seqlens"] = np.full(problem.batch, problem.n_k - 1, np.int32)
        inputs["total"] = np.array([problem.n_k], np.int32)
        outputs = {"o": inputs["q"].shape, "present_k": k.shape, "present_v": v.shape}
        node = self.ort.onnx.helper.make_node(
            "GroupQueryAttention", [*names, "seqlens", "total"], list(outputs), domain="com.microsoft",
            num_heads=problem.heads, kv_num_heads=problem.kv)
        call, values = self.ort.bind([node], inputs, outputs, self.threads, shared)
        by_head = (problem.batch, problem.n_q, problem.heads, problem.d)
        return call, lambda: values["o"].numpy().reshape(by_head).transpose(0, 2, 1, 3)


def by_token(x):
    """[sequence][head][token][d] as [sequence][token][head * d]."""
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(x.shape[0], x.shape[2], -1)
