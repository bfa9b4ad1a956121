# SPDX-License-Identifier: MIT
"""JAX: dot_product_attention, compiled for each shape."""
import numpy as np


class Peer:
    @staticmethod
    def environment(threads):
        # XLA takes the size of its pool from NPROC.
        return {"JAX_PLATFORMS": "cpu", "NPROC": str(threads),
                "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"}

    def __init__(self, _threads):
        import jax
        self.jax = jax
        self.version = jax.__version__

    def supports(self, problem):
        if problem.type != "f32":
            return "float32 only"
        if problem.d != problem.dv:
            return "d_v must be d_qk"
        # is_causal aligns the first query with the first key.
        return None if problem.mask() in ("none", "square") else "causal only with as many queries as keys, no windows"

    def prepare(self, q, k, v, problem):
        """[sequence][token][head][d] is the layout it asks for."""
        causal = problem.mask() == "square"
        attention = self.jax.jit(lambda *qkv: self.jax.nn.dot_product_attention(*qkv, is_causal=causal))
        qkv = [self.jax.device_put(np.ascontiguousarray(x.transpose(0, 2, 1, 3))) for x in (q, k, v)]
        result = [None]

        def call():
            result[0] = attention(*qkv).block_until_ready()

        return call, lambda: np.asarray(result[0]).transpose(0, 2, 1, 3)
