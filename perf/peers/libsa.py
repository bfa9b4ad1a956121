# SPDX-License-Identifier: MIT
"""libsa through its C interface: the structs of include/sa/sa.h and one prepared call."""
import ctypes

import numpy as np

from peers import elements

CAUSAL, WINDOW, F16_PAIRS = 1, 2, 8
SEQ_Q_OFFSET = 1
TYPES = {"f32": 0, "bf16": 1, "f16": 2}
ISAS = ("default", "generic", "avx2", "avx512", "avx512_bf16", "amx_bf16")


class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("token_stride", ctypes.c_int64), ("head_stride", ctypes.c_int64)]


class Scales(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("token_stride", ctypes.c_int64), ("head_stride", ctypes.c_int64),
                ("page_stride", ctypes.c_int64)]


class Pages(ctypes.Structure):
    _fields_ = [("table", ctypes.c_void_p), ("head_step", ctypes.c_int64), ("n_pages", ctypes.c_int64),
                ("page_stride", ctypes.c_int64), ("page_tokens", ctypes.c_int32), ("reserved", ctypes.c_int32)]


class Sequence(ctypes.Structure):
    _fields_ = [("n_q", ctypes.c_int64), ("n_k", ctypes.c_int64), ("q", Tensor), ("k", Tensor), ("v", Tensor),
                ("o", Tensor), ("lse", Tensor), ("q_offset", ctypes.c_int64), ("flags", ctypes.c_uint32),
                ("reserved", ctypes.c_uint32), ("k_pages", Pages), ("v_pages", Pages), ("k_scales", Scales),
                ("v_scales", Scales)]


class Batch(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("sequence_size", ctypes.c_size_t), ("n_sequences", ctypes.c_int64),
                ("sequences", ctypes.POINTER(Sequence)), ("n_query_heads", ctypes.c_int32),
                ("n_kv_heads", ctypes.c_int32), ("d_qk", ctypes.c_int32), ("d_v", ctypes.c_int32),
                ("q_type", ctypes.c_int32), ("k_type", ctypes.c_int32), ("v_type", ctypes.c_int32),
                ("o_type", ctypes.c_int32), ("scale", ctypes.c_float), ("flags", ctypes.c_uint32),
                ("window_left", ctypes.c_int64), ("window_right", ctypes.c_int64), ("n_sink_keys", ctypes.c_int64),
                ("progress", ctypes.c_void_p), ("scale_type", ctypes.c_int32), ("reserved", ctypes.c_int32)]


class EngineOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("n_threads", ctypes.c_int32), ("binding", ctypes.c_int32),
                ("max_isa", ctypes.c_int32), ("reserved", ctypes.c_int32), ("topology", ctypes.c_char_p)]


class EngineInfo(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("n_threads", ctypes.c_int32), ("n_cores", ctypes.c_int32),
                ("n_cpus", ctypes.c_int32), ("n_l3", ctypes.c_int32), ("n_numa", ctypes.c_int32),
                ("isa", ctypes.c_int32), ("binding", ctypes.c_int32), ("tile_rows", ctypes.c_int32),
                ("block_keys", ctypes.c_int32), ("chunk_keys", ctypes.c_int32), ("quota_cpus", ctypes.c_double)]


def load(path):
    lib = ctypes.CDLL(path)
    lib.sa_version.restype = lib.sa_last_reason.restype = ctypes.c_char_p
    lib.sa_engine_create.argtypes = [ctypes.POINTER(EngineOptions), ctypes.POINTER(ctypes.c_void_p)]
    lib.sa_engine_get_info.argtypes = [ctypes.c_void_p, ctypes.POINTER(EngineInfo)]
    lib.sa_batch_forward.argtypes = [ctypes.c_void_p, ctypes.POINTER(Batch)]
    return lib


class Engine:
    """Lives as long as its process: one engine, any number of prepared calls."""

    def __init__(self, path, threads):
        self.lib = load(path)
        self.engine = ctypes.c_void_p()
        options = EngineOptions(struct_size=ctypes.sizeof(EngineOptions), n_threads=threads)
        self.check(self.lib.sa_engine_create(options, self.engine))

    def check(self, status):
        if status != 0:
            raise RuntimeError(f"libsa: {self.lib.sa_last_reason().decode()}")

    def describe(self):
        info = EngineInfo(struct_size=ctypes.sizeof(EngineInfo))
        self.check(self.lib.sa_engine_get_info(self.engine, info))
        return {"version": self.lib.sa_version().decode(), "isa": ISAS[info.isa], "threads": info.n_threads}

    def prepare(self, shape, tensors):
        """A call that computes all problems of a shape in one batch, and their outputs."""
        outputs = [elements.nan_filled(q.shape[:-1] + v.shape[-1:], problem.type)
                   for problem, (q, _, v) in zip(shape.problems, tensors)]
        views, sequences = [], []
        for problem, qkv, o in zip(shape.problems, tensors, outputs):
            arrays = [place(x, shape.token_major) for x in (*qkv, o)]
            views.append(arrays)
            sequences += [sequence(problem, [x[b] for x in arrays]) for b in range(problem.batch)]
        batch = batch_of(shape.problems[0], (Sequence * len(sequences))(*sequences))
        forward, engine, pointer = self.lib.sa_batch_forward, self.engine, ctypes.pointer(batch)

        def call():
            if forward(engine, pointer) != 0:
                self.check(1)

        call.keep = (views, batch)  # the memory that the structs point to
        return call, lambda: [arrays[3] for arrays in views]


def place(array, token_major):
    """The same values and indices, with each token's heads side by side in memory if asked for."""
    if not token_major:
        return array
    return np.ascontiguousarray(array.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)


def sequence(problem, arrays):
    q, k, v, o = (tensor_of(x) for x in arrays)
    return Sequence(n_q=problem.n_q, n_k=problem.n_k, q=q, k=k, v=v, o=o, q_offset=problem.offset, flags=SEQ_Q_OFFSET)


def tensor_of(array):
    """One sequence, indexed [head][token][d]."""
    head, token, _ = (stride // array.itemsize for stride in array.strides)
    return Tensor(array.ctypes.data, token, head)


def batch_of(problem, sequences):
    windowed = problem.left >= 0 or problem.right >= 0
    return Batch(struct_size=ctypes.sizeof(Batch), sequence_size=ctypes.sizeof(Sequence), n_sequences=len(sequences),
                 sequences=sequences, n_query_heads=problem.heads, n_kv_heads=problem.kv, d_qk=problem.d,
                 d_v=problem.dv, **dict.fromkeys(("q_type", "k_type", "v_type", "o_type"), TYPES[problem.type]),
                 flags=CAUSAL * problem.causal + WINDOW * windowed + F16_PAIRS * problem.f16_pairs,
                 window_left=problem.left if windowed else 0, window_right=problem.right if windowed else 0,
                 n_sink_keys=problem.sink)
