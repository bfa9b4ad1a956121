# SPDX-License-Identifier: MIT
"""Who there is: the module of each peer and what pip installs for it."""
import collections
import os

Entry = collections.namedtuple("Entry", "module packages layer", defaults=(False,))  # layer: from x to y

BASE = ("numpy>=2.0", "matplotlib>=3.8")  # the measuring itself
ORT = ("onnxruntime>=1.32", "onnx>=1.20")

TORCH = (os.environ.get("PEERS_TORCH", "torch==2.13.0"),)
OPENVINO = ("openvino>=2026.4",)

PEERS = {
    "torch": Entry("peers.peer_torch", TORCH),
    "openvino": Entry("peers.peer_openvino", OPENVINO),
    "ort-mha": Entry("peers.peer_ort_mha", ORT),
    "ort-gqa": Entry("peers.peer_ort_gqa", ORT),
    "jax": Entry("peers.peer_jax", ("jax>=0.10",)),
    "numpy": Entry("peers.peer_numpy", BASE[:1]),
    "torch-mha": Entry("peers.peer_torch_mha", TORCH, True),
    "torch-layer": Entry("peers.peer_torch_layer", TORCH, True),
    "ort-attention": Entry("peers.peer_ort_attention", ORT, True),
    "ort-layer": Entry("peers.peer_ort_layer", ORT, True),
    "openvino-layer": Entry("peers.peer_openvino_layer", OPENVINO, True),
}
