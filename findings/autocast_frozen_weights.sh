#!/usr/bin/env bash
# PyTorch 2.14.1, on a CPU.
#
# Under `torch.autocast` a float32 weight is cast to bf16 once and kept until the context ends, but only if it requires a
# gradient. A model whose weights are frozen (`requires_grad_(False)`: an average of weights, a teacher, a model made ready
# for inference) casts every weight again in every call. Ten evaluations of four linear layers cast 18 tensors with
# gradients on and 90 with weights frozen; 9 times as many numbers. Outputs are equal.
#
# It hurts whoever times sampling: freezing a model to sample from it makes it slower, most of all a large model
# at a small batch, and two papers that time "inference" may not time the same thing.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -q torch==2.14.1 numpy
"$folder/env/bin/python" - <<'PY'
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class Casts(TorchDispatchMode):
    """Counts casts, and the numbers in them."""

    def __init__(self):
        super().__init__()
        self.calls = self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._to_copy.default:
            self.calls, self.numbers = self.calls + 1, self.numbers + out.numel()
        return out


torch.manual_seed(0)
model, x, found, outputs = nn.Sequential(*(nn.Linear(64, 64) for _ in range(4))), torch.randn(2, 64), {}, []
for learns in (True, False):
    model.requires_grad_(learns)
    with Casts() as casts, torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(10):
            out = model(x)
    outputs.append(out)
    found[learns] = (casts.calls, casts.numbers)
    print(f"requires_grad={learns!s:5}  {casts.calls} casts of {casts.numbers:,} numbers in 10 evaluations")
assert torch.equal(*outputs)
assert found == {True: (18, 17920), False: (90, 167680)}, "the behaviour has changed"
PY
