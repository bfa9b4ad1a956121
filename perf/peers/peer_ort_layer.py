# SPDX-License-Identifier: MIT
"""ONNX Runtime, the layer from products and the contrib operators with flash paths: MultiHeadAttention for full
attention, GroupQueryAttention for causal attention."""
import numpy as np

from peers import peer_ort_gqa, peer_ort_mha


class Peer(peer_ort_mha.Peer):
    def supports(self, problem):
        by_rule = peer_ort_gqa.Peer if problem.mask() == "square" else peer_ort_mha.Peer
        return by_rule.supports(self, problem)

    def prepare(self, x, weights, problem):
        causal = problem.mask() == "square"
        make = self.grouped if causal else self.full
        nodes, inputs, outputs, constants = make(weights, problem)
        constants.update(w_o=weights.w_o.T, b_o=weights.b_o)
        call, values = self.ort.bind([*nodes, *self.ort.linear("o", "w_o", "b_o", "y")], {"x": x, **inputs},
                                     {"y": x.shape, **outputs}, self.threads, constants=constants)
        return call, lambda: values["y"].numpy()

    def full(self, weights, problem):
        """The operator adds the biases itself."""
        make_node = self.ort.onnx.helper.make_node
        matrices = np.split(weights.w_qkv, np.cumsum(problem.widths())[:2])
        constants = {f"w_{name}": w.T for name, w in zip("qkv", matrices)}
        constants["b_qkv"] = weights.b_qkv
        nodes = [make_node("MatMul", ["x", f"w_{name}"], [name]) for name in "qkv"]
        nodes.append(make_node("MultiHeadAttention", [*"qkv", "b_qkv"], ["o"], domain="com.microsoft",
                               num_heads=problem.heads))
        return nodes, {}, {}, constants

    def grouped(self, weights, problem):
        """q, k and v packed; the cache that it makes is the prompt's."""
        node = self.ort.onnx.helper.make_node(
            "GroupQueryAttention", ["qkv", "", "", "", "", "seqlens", "total"], ["o", "present_k", "present_v"],
            domain="com.microsoft", num_heads=problem.heads, kv_num_heads=problem.kv)
        cache = (problem.batch, problem.kv, problem.n_k, problem.d)
        inputs = {"seqlens": np.full(problem.batch, problem.n_k - 1, np.int32),
                  "total": np.array([problem.n_k], np.int32)}
        constants = {"w_qkv": weights.w_qkv.T, "b_qkv": weights.b_qkv}
        return ([*self.ort.linear("x", "w_qkv", "b_qkv", "qkv"), node], inputs,
                {"present_k": cache, "present_v": cache}, constants)
