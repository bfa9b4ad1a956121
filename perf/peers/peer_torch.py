# SPDX-License-Identifier: MIT
"""PyTorch: scaled_dot_product_attention, which chooses its flash kernel for the CPU by itself."""
import numpy as np


class Peer:
    @staticmethod
    def environment(_threads):
        return {}

    def __init__(self, threads):
        import torch
        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        self.version = torch.__version__

    def supports(self, problem):
        # is_causal aligns the first query with the first key; a mask tensor costs more than what it hides.
        return None if problem.mask() in ("none", "square") else "causal only with as many queries as keys, no windows"

    def prepare(self, q, k, v, problem):
        torch = self.torch
        attention = torch.nn.functional.scaled_dot_product_attention
        qkv = [torch.from_numpy(x.view(np.int16)).view(torch.bfloat16) if problem.type == "bf16" else torch.from_numpy(x)
               for x in (q, k, v)]
        options = {"is_causal": problem.mask() == "square", "enable_gqa": problem.heads != problem.kv}
        result = [None]

        def call():
            with torch.inference_mode():
                result[0] = attention(*qkv, **options)

        return call, lambda: result[0].float().numpy()
