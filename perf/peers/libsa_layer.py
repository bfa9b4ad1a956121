# SPDX-License-Identifier: MIT
"""libsa_layer through its C interface: the structs of include/sa/layer.h and one prepared call."""
import ctypes

import numpy as np

from peers import libsa


class Matrix(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("stride", ctypes.c_int64)]


class LayerOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), *((name, ctypes.c_int32) for name in (
                    "d_model", "d_memory", "d_out", "n_query_heads", "n_kv_heads", "d_qk", "d_v", "weight_type",
                    "vector_type")),
                ("flags", ctypes.c_uint32), *((name, Matrix) for name in ("w_q", "w_k", "w_v", "w_qkv", "w_o")),
                *((name, ctypes.c_void_p) for name in ("b_q", "b_k", "b_v", "b_qkv", "b_o", "q_norm", "k_norm")),
                ("norm_eps", ctypes.c_float), ("reserved", ctypes.c_uint32), ("rope", ctypes.c_void_p)]


class LayerTokens(ctypes.Structure):
    _fields_ = [("x", ctypes.c_void_p), ("x_stride", ctypes.c_int64), ("y", ctypes.c_void_p),
                ("y_stride", ctypes.c_int64), ("memory", ctypes.c_void_p), ("memory_stride", ctypes.c_int64),
                ("n_memory", ctypes.c_int64), ("source", ctypes.c_int32), ("reserved", ctypes.c_int32),
                ("x_positions", ctypes.c_void_p), ("memory_positions", ctypes.c_void_p)]


class LayerBatch(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("tokens_size", ctypes.c_size_t),
                ("attention", ctypes.POINTER(libsa.Batch)), ("tokens", ctypes.POINTER(LayerTokens)),
                ("x_type", ctypes.c_int32), ("memory_type", ctypes.c_int32), ("y_type", ctypes.c_int32),
                ("flags", ctypes.c_uint32), ("workspace", ctypes.c_void_p), ("workspace_bytes", ctypes.c_size_t)]


class Engine(libsa.Engine):
    """An engine that computes whole layers."""

    def __init__(self, path, layer_path, threads):
        super().__init__(path, threads)
        self.layers = ctypes.CDLL(layer_path)
        self.layers.sa_layer_create.argtypes = [ctypes.POINTER(LayerOptions), ctypes.POINTER(ctypes.c_void_p)]
        self.layers.sa_layer_forward.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(LayerBatch)]
        self.layers.sa_layer_destroy.argtypes = [ctypes.c_void_p]
        self.layer = ctypes.c_void_p()

    def make_layer(self, problem, weights):
        """In place of the last one. Weights are copied, as every peer does."""
        self.layers.sa_layer_destroy(self.layer)
        options = LayerOptions(struct_size=ctypes.sizeof(LayerOptions), d_model=problem.model,
                               n_query_heads=problem.heads, n_kv_heads=problem.kv, d_qk=problem.d, d_v=problem.dv,
                               w_qkv=Matrix(weights.w_qkv.ctypes.data), w_o=Matrix(weights.w_o.ctypes.data),
                               b_qkv=weights.b_qkv.ctypes.data, b_o=weights.b_o.ctypes.data)
        self.check(self.layers.sa_layer_create(options, self.layer))

    def prepare(self, shape, tensors):
        """A call that computes all problems of a shape in one batch, and their outputs."""
        self.make_layer(shape.problems[0], tensors[0][1])
        outputs = [np.full_like(x, np.nan) for x, _ in tensors]
        pairs = [(xs[b], ys[b]) for (xs, _), ys in zip(tensors, outputs) for b in range(len(xs))]
        tokens = (LayerTokens * len(pairs))(*(LayerTokens(x=x.ctypes.data, y=y.ctypes.data) for x, y in pairs))
        attention = libsa.batch_of(shape.problems[0], (libsa.Sequence * len(pairs))(
            *(libsa.Sequence(n_q=len(x)) for x, _ in pairs)))
        batch = LayerBatch(struct_size=ctypes.sizeof(LayerBatch), tokens_size=ctypes.sizeof(LayerTokens),
                           attention=ctypes.pointer(attention), tokens=tokens)
        forward, engine, layer, pointer = self.layers.sa_layer_forward, self.engine, self.layer, ctypes.pointer(batch)

        def call():
            if forward(engine, layer, pointer) != 0:
                self.check(1)

        call.keep = (tensors, batch)  # the memory that the structs point to
        return call, lambda: outputs
