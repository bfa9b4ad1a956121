# SPDX-License-Identifier: MIT
"""ONNX Runtime: the contrib operator Attention, which its optimizer makes of exported encoders: q, k and v from x by
one packed matrix, and what follows up to the heads' outputs. Then the output's product."""
from peers import peer_ort_mha


class Peer(peer_ort_mha.Peer):
    def prepare(self, x, weights, problem):
        make_node = self.ort.onnx.helper.make_node
        nodes = [make_node("Attention", ["x", "w_qkv", "b_qkv"], ["o"], domain="com.microsoft",
                           num_heads=problem.heads, unidirectional=int(problem.mask() == "square")),
                 *self.ort.linear("o", "w_o", "b_o", "y")]
        constants = {"w_qkv": weights.w_qkv.T, "b_qkv": weights.b_qkv, "w_o": weights.w_o.T, "b_o": weights.b_o}
        call, values = self.ort.bind(nodes, {"x": x}, {"y": x.shape}, self.threads, constants=constants)
        return call, lambda: values["y"].numpy()
