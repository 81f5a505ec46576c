#!/usr/bin/env bash
# fvcore 0.1.5.post20221221 with PyTorch 2.14.1.
#
# fvcore counts a broadcast product by the shape of its first operand. `u @ C` of a batch u (8, 16, 16) and one matrix
# C (16, 16) is 32,768 MACs. `C @ u` is as many, and fvcore says 4,096: the batch is not in it, and neither
# `unsupported_ops` nor a warning tells. The same product as an einsum, or with C expanded, is counted in full.
#
# It hurts whoever compares layers by fvcore's counts: mixers that multiply a batch from the left by a learned
# matrix (token-mixing MLPs, Fourier and state-space matrices, Monarch factors) look as many times cheaper as the batch is
# large, and cheaper at a larger batch.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -q torch==2.14.1 fvcore==0.1.5.post20221221 numpy
"$folder/env/bin/python" - <<'PY'
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Product(nn.Module):
    def __init__(self, product):
        super().__init__()
        self.shared, self.product = nn.Parameter(torch.randn(16, 16)), product

    def forward(self, u):
        return self.product(self.shared, u)


u, found = torch.randn(8, 16, 16), {}
for name, product in {
    "u @ C": lambda c, u: u @ c,
    "C @ u": lambda c, u: c @ u,
    "C expanded @ u": lambda c, u: c.expand(8, 16, 16) @ u,
}.items():
    model = Product(product)
    count = FlopCountAnalysis(model, u)
    with FlopCounterMode(display=False) as truth:
        model(u)
    found[name] = (int(count.total()), dict(count.unsupported_ops()), truth.get_total_flops() // 2)
    print(f"{name:15} fvcore {found[name][0]:6,}  unsupported {found[name][1]}  PyTorch's counter {found[name][2]:6,}")
expected = {
    "u @ C": (32768, {}, 32768), "C @ u": (4096, {}, 32768), "C expanded @ u": (32768, {}, 32768),
}
assert found == expected, "the behaviour has changed"
PY
