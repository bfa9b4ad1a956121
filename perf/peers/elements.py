# SPDX-License-Identifier: MIT
"""Elements of 16 bits: float16 is NumPy's, bfloat16 stands in uint16, which everyone can look at as what it is."""
import numpy as np

TYPES = {"f32": np.float32, "bf16": np.uint16, "f16": np.float16}


def rounded(array, name):
    """Float32 rounded to nearest, ties to even, in place of what holds it."""
    if name != "bf16":
        return array.astype(TYPES[name], copy=False)
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def to_float32(array):
    if array.dtype != np.uint16:
        return array.astype(np.float32, copy=False)
    return (array.astype(np.uint32) << 16).view(np.float32)


def nan_filled(shape, name):
    return np.full(shape, 0x7FC0 if name == "bf16" else np.nan, TYPES[name])
