"""A process of its own for Triton's interpreter, which has to be asked for before Triton is imported.

Reads cases from its input and writes what the kernels and the float64 operator have in common for each: the norms of
the differences over the norms of what is wanted, by name.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import torch
from torch import Tensor

from pdebench.models.mixers.gfnet import hermitian
from pdebench.models.mixers.pde import PDEOperator
from pdebench.models.options import PDEOptions
from pdebench.ops import spectral_launch
from pdebench.ops.spectral_reference import reference_product

KINDS = {"fp32": torch.float32, "fp16": torch.float16, "rounded": torch.float32}


def differences(case: dict[str, Any]) -> dict[str, float]:
    """Of one case: `side`, `channels`, `batch`, `kind` of the tokens, `extreme` and the operator's options."""
    torch.manual_seed(0)
    side, channels, batch = case["side"], case.get("channels", 5), case.get("batch", 2)
    operator = PDEOperator(channels, (side, side), PDEOptions.model_validate(case.get("options", {})))
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
            if case.get("extreme"):
                parameter.mul_(case["extreme"])
    kind = KINDS[case.get("kind", "fp32")]
    operands = "rounded" if case.get("kind") == "rounded" else None
    tau = torch.rand(batch, channels) + 0.5 if operator.options.selective else None
    x, dy = (torch.randn(batch, side, side, channels).to(kind) for _ in range(2))
    if operands:
        x, dy = x.bfloat16().float(), dy.bfloat16().float()
    parameters = operator.pde_parameters()
    spectral_launch.PROGRAMS = case.get("programs", 1)  # so that a program has several images, and the last fewer
    with torch.no_grad():
        y = spectral_launch.mix(x, parameters, tau, operator.domain, operands)
        dx, flat, dtau = spectral_launch.gradients(x, dy, parameters, tau, operator.domain, operands)
    found = {"y": y, "x": dx}
    present = {name: tensor for name, tensor in parameters._asdict().items() if tensor is not None}
    pieces = flat.split([tensor.numel() for tensor in present.values()])
    found |= {name: piece.view(present[name].shape) for name, piece in zip(present, pieces, strict=True)}
    if tau is not None:
        found["tau"] = dtau
    if case.get("extreme"):
        return {name: float("nan") if tensor.isnan().any() else 0.0 for name, tensor in found.items()}

    exact = operator.double()
    given = {"x": x.double(), **exact.pde_parameters()._asdict(), "tau": None if tau is None else tau.double()}
    given = {name: tensor for name, tensor in given.items() if tensor is not None}
    for name in ("x", "tau"):
        if name in given:
            given[name].requires_grad_()
    wanted = {"y": exact(given["x"].permute(0, 3, 1, 2), given.get("tau")).permute(0, 2, 3, 1)}
    grads = torch.autograd.grad(wanted["y"], list(given.values()), dy.double())
    wanted |= dict(zip(given, grads, strict=True))
    assert wanted.keys() == found.keys()
    return {name: _relative(found[name], wanted[name]) for name in found}


def differences_of_filter(case: dict[str, Any]) -> dict[str, float]:
    """The same of a convolution by a free symbol."""
    torch.manual_seed(0)
    side, channels, batch = case["side"], case.get("channels", 5), case.get("batch", 2)
    kind = KINDS[case.get("kind", "fp32")]
    operands = "rounded" if case.get("kind") == "rounded" else None
    x, dy = (torch.randn(batch, side, side, channels).to(kind) for _ in range(2))
    if operands:
        x, dy = x.bfloat16().float(), dy.bfloat16().float()
    spectral_launch.PROGRAMS = case.get("programs", 1)
    given = torch.randn(channels, side, side // 2 + 1, 2, requires_grad=True)
    symbol = hermitian(given, side)
    with torch.no_grad():
        y = spectral_launch.convolve(x, symbol, operands)
        dx, of_symbol = spectral_launch.convolve_gradients(x, dy, symbol, operands)
    (of_given,) = torch.autograd.grad(symbol, given, of_symbol)
    exact = [x.double().requires_grad_(), given.detach().double().requires_grad_()]
    wanted = reference_product(exact[0].permute(0, 3, 1, 2), hermitian(exact[1], side)).permute(0, 2, 3, 1)
    grads = torch.autograd.grad(wanted, exact, dy.double())
    found = {"y": (y, wanted), "x": (dx, grads[0]), "filter": (of_given, grads[1])}
    return {name: _relative(*both) for name, both in found.items()}


def _relative(found: Tensor, wanted: Tensor) -> float:
    size = wanted.norm().item()
    return (found.double() - wanted).norm().item() / (size if size else math.inf)


if __name__ == "__main__":
    assert spectral_launch.interpreted()
    print(
        json.dumps(
            [differences_of_filter(case) if case.get("filter") else differences(case) for case in json.load(sys.stdin)]
        )
    )
