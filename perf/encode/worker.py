# SPDX-License-Identifier: MIT
"""One peer in a process of its own: python worker.py PEER MODEL LINES THREADS BATCH. Says "ready VERSION", then for every line on
standard input encodes all lines and answers with the seconds; "save FILE" saves the vectors of the last time."""
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np


def read_lines(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read().split("\n")[:-1]


class Torch:
    """sentence-transformers on PyTorch, as its users call it."""

    def __init__(self, model, threads, batch):
        import torch
        from sentence_transformers import SentenceTransformer, __version__
        torch.set_num_threads(threads)
        self.model = SentenceTransformer(model, device="cpu")
        self.batch = batch
        self.version = f"sentence-transformers {__version__}, PyTorch {torch.__version__}"

    def encode(self, lines):
        return self.model.encode(lines, batch_size=self.batch, normalize_embeddings=True, show_progress_bar=False)


class Onnx:
    """ONNX Runtime on the model as PyTorch exports it and ONNX Runtime's own optimiser fuses it; batches sorted by length, as
    sentence-transformers does it, padded to their longest, with the same tokenizer."""

    def __init__(self, model, threads, batch):
        import onnxruntime
        from transformers import AutoTokenizer
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.make(model), options, providers=["CPUExecutionProvider"])
        self.inputs = [x.name for x in self.session.get_inputs()]
        self.batch = batch
        self.version = f"ONNX Runtime {onnxruntime.__version__}"

    @staticmethod
    def make(model):
        """The optimised graph's file, made once."""
        import torch
        from onnxruntime.transformers import optimizer
        from onnxruntime.transformers.fusion_options import FusionOptions
        from transformers import AutoModel
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        path = os.path.join(cache, "libsa", "encoder.onnx")
        if not os.path.exists(path):
            bert = AutoModel.from_pretrained(model, attn_implementation="eager").eval()
            class Hidden(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.bert = bert

                def forward(self, ids, mask, types):
                    return self.bert(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

            ones = torch.ones((2, 8), dtype=torch.int64)
            axes = {0: "batch", 1: "tokens"}
            names = ["input_ids", "attention_mask", "token_type_ids"]
            torch.onnx.export(Hidden().eval().requires_grad_(False), (ones, ones, ones), path + ".plain", input_names=names, output_names=["hidden"],
                              dynamic_axes={name: axes for name in [*names, "hidden"]}, dynamo=False, opset_version=17)
            graph = optimizer.optimize_model(path + ".plain", model_type="bert", num_heads=bert.config.num_attention_heads,
                                             hidden_size=bert.config.hidden_size, opt_level=1,
                                             optimization_options=FusionOptions("bert"))
            print(graph.get_fused_operator_statistics(), file=sys.stderr)
            graph.save_model_to_file(path)
        return path

    def encode(self, lines):
        order = sorted(range(len(lines)), key=lambda i: -len(lines[i]))
        vectors = [None] * len(lines)
        for begin in range(0, len(lines), self.batch):
            part = order[begin:begin + self.batch]
            tokens = self.tokenizer([lines[i] for i in part], padding=True, truncation=True, max_length=256,
                                    return_tensors="np", return_token_type_ids=True)
            hidden = self.session.run(["hidden"], {name: tokens[name].astype(np.int64) for name in self.inputs})[0]
            mask = tokens["attention_mask"][..., None].astype(np.float32)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            for i, vector in zip(part, mean / np.linalg.norm(mean, axis=1, keepdims=True)):
                vectors[i] = vector
        return np.stack(vectors)


def main():
    name, model, path, threads, batch = sys.argv[1:]
    os.environ["RAYON_NUM_THREADS"] = threads  # of the tokenizer
    lines = read_lines(path)
    peer = {"torch": Torch, "onnx": Onnx}[name](model, int(threads), int(batch))
    print("ready", peer.version, flush=True)
    vectors = None
    for request in sys.stdin:
        if request.startswith("save "):
            np.save(request.split(None, 1)[1].strip(), np.asarray(vectors, dtype=np.float32))
            print("saved", flush=True)
        else:
            start = time.perf_counter()
            vectors = peer.encode(lines)
            print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
