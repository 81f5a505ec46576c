#!/usr/bin/env bash
# PyTorch 2.14.1, on a CPU.
#
# `torch.randn` draws normal numbers sixteen at a time, and fewer than sixteen in another way. With one seed no number of
# randn(8) stands in its place in randn(16). Of randn(17) one number stands in its place in randn(32), the first, and of
# randn(24) the first eight: where a rest of fewer than sixteen is left, the last sixteen are drawn again. Only where
# every draw is a multiple of sixteen is the noise of a batch the beginning of the noise of a larger one.
#
# It hurts whoever fixes a seed so that two models are tested on the same noise. With another batch size, or a last
# batch that is smaller, or latents of a few numbers, it is other noise. What is drawn in multiples of sixteen
# images and then dealt out is the same for all.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -q torch==2.14.1 numpy
"$folder/env/bin/python" - <<'PY'
import torch


def drawn(*counts):
    generator = torch.Generator().manual_seed(0)
    return torch.cat([torch.randn(count, generator=generator) for count in counts])


def alike(a, b):
    return int((a[: min(len(a), len(b))] == b[: min(len(a), len(b))]).sum())


found = {
    "randn(8) and randn(16)": alike(drawn(8), drawn(16)),
    "randn(16) and randn(32)": alike(drawn(16), drawn(32)),
    "randn(17) and randn(32)": alike(drawn(17), drawn(32)),
    "twice randn(16) and randn(32)": alike(drawn(16, 16), drawn(32)),
    "twice randn(24) and randn(48)": alike(drawn(24, 24), drawn(48)),
}
for what, count in found.items():
    print(f"{what}: {count} numbers are the same in their place")
assert list(found.values()) == [0, 16, 1, 32, 8], "the behaviour has changed"
PY
