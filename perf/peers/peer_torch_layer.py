# SPDX-License-Identifier: MIT
"""PyTorch, the layer as most people write it: linear, scaled_dot_product_attention, linear."""
from peers import peer_torch


class Peer(peer_torch.Peer):
    def prepare(self, x, weights, problem):
        torch, functional = self.torch, self.torch.nn.functional
        x, w_qkv, b_qkv, w_o, b_o = map(torch.from_numpy, (x, *weights))
        options = {"is_causal": problem.mask() == "square", "enable_gqa": problem.heads != problem.kv}
        result = [None]

        def by_head(tensor, n_heads):
            return tensor.unflatten(-1, (n_heads, -1)).transpose(1, 2)

        def call():
            with torch.inference_mode():
                q, k, v = functional.linear(x, w_qkv, b_qkv).split(problem.widths(), dim=-1)
                o = functional.scaled_dot_product_attention(
                    by_head(q, problem.heads), by_head(k, problem.kv), by_head(v, problem.kv), **options)
                result[0] = functional.linear(o.transpose(1, 2).flatten(2), w_o, b_o)

        return call, lambda: result[0].numpy()
