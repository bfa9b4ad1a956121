# SPDX-License-Identifier: MIT
"""OpenVINO: the whole layer as one compiled model, the weights in it."""
import numpy as np

from peers import peer_openvino


class Peer(peer_openvino.Peer):
    def prepare(self, x, weights, problem):
        y = np.empty_like(x)
        model = self.model(x.shape, weights, problem)
        config = {**self.config, "INFERENCE_PRECISION_HINT": "f32"}
        request = self.core.compile_model(model, "CPU", config).create_infer_request()
        tensors = [self.tensor(array, problem.type) for array in (x, y)]
        request.set_input_tensor(0, tensors[0])
        request.set_output_tensor(0, tensors[1])

        def call():
            request.infer(share_inputs=True, share_outputs=True)

        call.keep = tensors
        return call, lambda: y

    def linear(self, x, w, b):
        ops = self.ops
        return ops.add(ops.matmul(x, ops.constant(w), False, True), ops.constant(b))

    def reshape(self, x, *shape):
        return self.ops.reshape(x, self.ops.constant(np.array(shape, np.int64)), False)

    def swap(self, x):
        """Tokens and heads."""
        return self.ops.transpose(x, self.ops.constant(np.array((0, 2, 1, 3), np.int64)))

    def model(self, shape, weights, problem):
        """Grouped heads: the query heads of a kv head as a sequence of their own, whose key has one head for all."""
        batch, heads, kv, n = problem.batch, problem.heads, problem.kv, problem.n_q
        x = self.ops.parameter(list(shape), self.ov.Type.f32)
        bounds = np.cumsum(problem.widths())[:2]
        q, k, v = (self.swap(self.reshape(self.linear(x, w, b), batch, n, n_heads, -1)) for w, b, n_heads in zip(
            np.split(weights.w_qkv, bounds), np.split(weights.b_qkv, bounds), (heads, kv, kv)))
        if kv < heads:
            q = self.reshape(q, batch * kv, heads // kv, n, problem.d)
            k, v = (self.reshape(t, batch * kv, 1, n, -1) for t in (k, v))
        o = self.ops.scaled_dot_product_attention(q, k, v, causal=problem.mask() == "square")
        o = self.swap(self.reshape(o, batch, heads, n, problem.dv))
        y = self.linear(self.reshape(o, batch, n, -1), weights.w_o, weights.b_o)
        return self.ov.Model([y], [x], "layer")
