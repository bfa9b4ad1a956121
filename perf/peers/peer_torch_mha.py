# SPDX-License-Identifier: MIT
"""PyTorch: nn.MultiheadAttention by its fast path for inference, one operation for the whole layer."""
from peers import peer_torch

FAST_PATH = "aten::_native_multi_head_attention"


class Peer(peer_torch.Peer):
    def supports(self, problem):
        if problem.heads != problem.kv:
            return "as many kv heads as heads"
        if problem.d != problem.dv or problem.heads * problem.d != problem.model:
            return "heads of d_model / heads dimensions"
        return super().supports(problem)

    def prepare(self, x, weights, problem):
        torch = self.torch
        module = torch.nn.MultiheadAttention(problem.model, problem.heads, batch_first=True).eval()
        names = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        module.load_state_dict(dict(zip(names, map(torch.from_numpy, weights))))
        x = torch.from_numpy(x)
        options = {"need_weights": False}
        if problem.mask() == "square":
            # With one of floats, as PyTorch makes it, the fast path is not taken: torch-layer does that work.
            options["attn_mask"] = torch.ones(problem.n_q, problem.n_q, dtype=torch.bool).triu(1)
        result = [None]

        def call():
            with torch.inference_mode():
                result[0] = module(x, x, x, **options)[0]

        self.check_path(call)
        return call, lambda: result[0].numpy()

    def check_path(self, call):
        with self.torch.autograd.profiler.profile() as profile:
            call()
        if FAST_PATH not in {event.name for event in profile.function_events}:
            raise RuntimeError(f"{FAST_PATH} was not taken")
