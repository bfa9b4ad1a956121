# SPDX-License-Identifier: MIT
"""Who there is: the module of each peer and what pip installs for it."""
import collections
import os

Entry = collections.namedtuple("Entry", "module packages")

BASE = ("numpy>=2.0", "matplotlib>=3.8")  # the measuring itself
ORT = ("onnxruntime>=1.32", "onnx>=1.20")

PEERS = {
    "torch": Entry("peers.peer_torch", (os.environ.get("PEERS_TORCH", "torch==2.13.0"),)),
    "openvino": Entry("peers.peer_openvino", ("openvino>=2026.4",)),
    "ort-mha": Entry("peers.peer_ort_mha", ORT),
    "ort-gqa": Entry("peers.peer_ort_gqa", ORT),
    "jax": Entry("peers.peer_jax", ("jax>=0.10",)),
    "numpy": Entry("peers.peer_numpy", BASE[:1]),
}
