#!/usr/bin/env bash
# timm 1.0.31 and transformers 5.24.0 with PyTorch 2.14.1, on a CPU.
#
# DINOv2's published weights hold positions for images of 518 px, 37 x 37 patches. Features for a distance between sets of
# images (FD-DINOv2) are taken at 224 px, 16 x 16 patches, so that the table of positions is resized, and each package does
# it in its own way: timm through an antialiasing filter, transformers' Dinov2Model without one, its
# Dinov2WithRegistersModel with one, and DINOv2's own repository (as torch.hub loads it, and so those who published such
# distances) without one and by a scale factor of 16.1/37 in place of the size 16, which moves every position.
# Of one smooth table (amplitudes fall as 1/k^2) the results differ by, of the norm of the last one:
#   timm .099, Dinov2Model .051, Dinov2WithRegistersModel .099; timm and Dinov2Model by .091 from each other.
# Of a table of white noise by .82, .30, .82 and .80. At 518 px, where nothing is resized, all are equal. Nothing is said
# by any of them; the weights load without a missing key.
#
# It hurts whoever sets a distance of DINOv2's features that one package computed beside one of another, or beside
# published ones: same weights, same images, other features. What brings the table to 16 x 16 has to be part of what such
# a figure states.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 transformers==5.24.0 numpy
"$folder/env/bin/python" - <<'PY'
import timm
import torch
from timm.models.vision_transformer import checkpoint_filter_fn
from torch.nn.functional import interpolate
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

WIDTH, TRAINED, SIDE = 384, 37, 16
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 6, "image_size": 518, "patch_size": 14}


def table(power):
    """Random positions (1, 1 + 37 * 37, 384) whose amplitudes fall as k to the minus `power`; none of the class token."""
    noise = torch.randn(1, WIDTH, TRAINED, TRAINED, generator=torch.Generator().manual_seed(1))
    squares = (torch.fft.fftfreq(TRAINED)[:, None] ** 2 + torch.fft.rfftfreq(TRAINED) ** 2) * TRAINED**2
    smooth = torch.fft.irfft2(torch.fft.rfft2(noise) / (1 + squares) ** (power / 2), s=(TRAINED, TRAINED))
    return torch.cat([torch.zeros(1, 1, WIDTH), smooth.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def by_timm(positions, pixels):
    def of(side):
        return timm.create_model("vit_small_patch14_dinov2.lvd142m", pretrained=False, img_size=side)

    return checkpoint_filter_fn(of(518).state_dict() | {"pos_embed": positions}, of(pixels))["pos_embed"][:, 1:]


def by_transformers(model, positions, pixels):
    embeddings = model.embeddings
    embeddings.position_embeddings.data = positions
    tokens = torch.zeros(1, 1 + (pixels // 14) ** 2, WIDTH)
    return embeddings.interpolate_pos_encoding(tokens, pixels, pixels)[:, 1:]


def as_published(positions):
    grid = positions[:, 1:].unflatten(1, (TRAINED, TRAINED)).permute(0, 3, 1, 2)
    scale = (SIDE + 0.1) / TRAINED
    small = interpolate(grid, scale_factor=(scale, scale), mode="bicubic", align_corners=False)
    return small.permute(0, 2, 3, 1).flatten(1, 2)


plain = Dinov2Model(Dinov2Config(**SIZES))
registers = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SIZES))
with torch.no_grad():
    for name, power, expected in (("smooth", 2, (0.099, 0.051, 0.099, 0.091)), ("noise", 0, (0.82, 0.30, 0.82, 0.80))):
        positions = table(power)
        truth = as_published(positions)
        found = [by_timm(positions, 224), *(by_transformers(m, positions, 224) for m in (plain, registers))]
        norm = truth.norm()
        differences = [float((one - truth).norm() / norm) for one in found]
        differences.append(float((found[0] - found[1]).norm() / norm))
        print(name, "timm {:.3f}, Dinov2Model {:.3f}, with registers {:.3f}; timm from Dinov2Model {:.3f}".format(*differences))
        for difference, before in zip(differences, expected, strict=True):
            assert abs(difference - before) < 0.02 * before + 0.002, "the behaviour has changed"
    large = [by_timm(positions, 518), *(by_transformers(m, positions, 518) for m in (plain, registers))]
    assert all(torch.equal(one, positions[:, 1:]) for one in large), "the behaviour has changed"
PY
