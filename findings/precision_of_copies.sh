#!/usr/bin/env bash
# torch-fidelity 0.4.0 with PyTorch 2.14.1.
#
# Precision and recall (arXiv 1904.06991) draw a ball around each reference, out to its third nearest neighbour.
# A neighbour that is a copy is at distance 0. So where each reference stands in the set four times, every ball has
# the radius 0, and precision is 0 for any samples, without a warning; the set as it was says .84. With each
# reference there twice it is .62: a share of copies lowers it by a share, which nobody sees.
#
# It hurts whoever has a data set with repeated images (scraped, oversampled to balance classes, or augmented by
# writing files again): its precision, and its recall where samples repeat, say how often images repeat.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -q torch==2.14.1 torch-fidelity==0.4.0 numpy
"$folder/env/bin/python" - <<'PY'
import torch
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

generator = torch.Generator().manual_seed(0)
samples, references = (torch.randn(400, 8, generator=generator) for _ in range(2))
options = {"prc_neighborhood": 3, "prc_batch_size": 1000, "verbose": False}
found = {}
for copies in (1, 2, 4):
    metric = prc_features_to_metric(samples, references.repeat(copies, 1), **options)
    found[copies] = float(metric[KEY_METRIC_PRECISION])
    print(f"each reference {copies} times: precision {found[copies]:.3f}, recall {float(metric[KEY_METRIC_RECALL]):.3f}")
assert found[1] > 0.8 > 0.65 > found[2] > 0.55 and found[4] == 0, "the behaviour has changed"
PY
