"""Multiply-accumulates of a model, counted by fvcore on the meta device, with handles for what fvcore skips.

1 MAC = 2 FLOPs. Counted as MACs: linear layers, matrix products, convolutions, attention's two products, FFTs (5/2 N
log2 N real FLOPs for a real transform of N points, so 5/4 N log2 N MACs), complex products, scans, and one MAC an
element of a layer norm. With the last, DiT's published Gflops come out in 23 of their 24 cells (DiT-B/4 at 256 px is
printed as 5.56; every consistent count gives 5.57). Other pointwise operations and softmax are not counted; they are
listed in `Cost.uncounted`, never dropped, as are the PDE symbol and S4D's kernel, formed once for a whole batch (a
selective PDE's once for each sample).
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pdebench.models.backbone import Backbone
from pdebench.models.closed_form import fft

# What carries no arithmetic: views, copies, constructors, casts.
_FREE = {
    "arange", "cat", "chunk", "clone", "contiguous", "copy_", "detach", "embedding", "expand", "expand_as", "fill_",
    "flatten", "flip", "full", "full_like", "lt", "movedim", "new_empty", "new_zeros", "ones_like", "pad",
    "permute", "reshape", "select", "slice", "split", "split_with_sizes", "squeeze", "stack", "t", "to",
    "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as_complex", "view_as_real", "where", "zeros",
    "zeros_like", "prim::PythonOp.Reorder",
}  # fmt: skip

# fvcore's names of operations and ours, by the kind that a table shows; what is in none of them is `pointwise`.
_KINDS = {
    "linear": ("linear", "matmul", "addmm", "bmm", "baddbmm", "einsum"),
    "attention": ("attention",),
    "fft": ("fft",),
    "scan": ("scan",),
    "conv": ("conv",),
    "pointwise": (),
}
KINDS = tuple(_KINDS)


@dataclass(frozen=True)
class Cost:
    """MACs of one forward pass for one image, by kind of operation, and what was left uncounted with its calls."""

    by_kind: dict[str, int]
    uncounted: dict[str, int]

    @property
    def macs(self) -> int:
        """All counted MACs of one image's forward pass."""
        return sum(self.by_kind.values())

    def of_kinds(self) -> dict[str, int]:
        """The MACs of every kind in KINDS: linear, attention, fft, scan, conv and pointwise."""
        kind_of = {name: kind for kind, names in _KINDS.items() for name in names}
        found = dict.fromkeys(KINDS, 0)
        for name, macs in self.by_kind.items():
            found[kind_of.get(name, "pointwise")] += macs
        return found

    def flops_train_step(self, batch_size: int) -> int:
        """FLOPs of one optimiser step: 3 x 2 x MACs x batch (backward costs two forwards; no recomputation)."""
        return 3 * 2 * self.macs * batch_size


def _shape(value: Any) -> list[int]:
    sizes = value.type().sizes()
    assert sizes is not None, f"the trace gives no shape for {value.debugName()}"
    return list(sizes)


def _attention(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """q k^T and its product with v: 2 x B x heads x N x M x head width."""
    q, k, v = map(_shape, inputs[:3])
    pairs = math.prod(q[:-2]) * q[-2] * k[-2]
    return Counter({"attention": pairs * (q[-1] + v[-1])})


def _spectral_product(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """rfft2, a complex product (4 multiplications, 2 additions: 3 MACs) on the half spectrum, irfft2."""
    batch, channels, h, w = _shape(inputs[0])
    planes = batch * channels
    return Counter({"fft": round(planes * 2 * fft(h * w)), "complex product": planes * 3 * h * (w // 2 + 1)})


def _real_transform(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """One rfft2 (B, D, h, w), or an irfft2 back to it."""
    planes = max(_shape(inputs[0]), _shape(outputs[0]))  # the half spectrum has fewer columns
    return Counter({"fft": round(math.prod(planes[:2]) * fft(math.prod(planes[2:])))})


def _long_convolution(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """rfft of the padded sequence, a complex product, irfft; the kernel's transform is once a batch."""
    sequences, points = math.prod(_shape(inputs[0])[:2]), _shape(inputs[1])[-1]
    return Counter({"fft": round(sequences * 2 * fft(points)), "complex product": sequences * 3 * (points // 2 + 1)})


def _selective_scan(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """9 FLOPs a state and token, as Mamba's authors' and VMamba's counters have it: 4.5 MACs."""
    batch, length, width = _shape(inputs[0])
    return Counter({"scan": round(4.5 * batch * length * width * _shape(inputs[2])[0])})


def _state_space_duality(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """The recurrence's three products a state and token (decay, input, read-out), whatever the chunks are."""
    return Counter({"scan": 3 * math.prod(_shape(inputs[0])) * _shape(inputs[3])[-1]})


def _gated_linear_attention(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """The same three products of the recurrence: decay, k^T v, read-out."""
    return Counter({"scan": 3 * math.prod(_shape(inputs[0])) * _shape(inputs[2])[-1]})


def _causal_convolution(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    return Counter({"conv": math.prod(_shape(inputs[0])) * _shape(inputs[1])[1]})


def _depthwise_convolution(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    return Counter({"conv": 9 * math.prod(_shape(inputs[0]))})


def _layer_norm(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    return Counter({"norm": math.prod(_shape(inputs[0]))})


_HANDLES: dict[str, Callable[[list[Any], list[Any]], Counter[str]]] = {
    "aten::scaled_dot_product_attention": _attention,
    "prim::PythonOp.PackedProduct": _spectral_product,
    "prim::PythonOp.HalfSpectrumProduct": _spectral_product,
    "prim::PythonOp.MatrixProduct": _spectral_product,  # by convention: what the product costs, whatever road it takes
    "prim::PythonOp.RealTransform": _real_transform,
    "prim::PythonOp.InverseRealTransform": _real_transform,
    "prim::PythonOp.LongConvolution": _long_convolution,
    "pdebench::selective_scan": _selective_scan,
    "pdebench::ssd": _state_space_duality,
    "pdebench::gated_linear_attention": _gated_linear_attention,
    "prim::PythonOp.CausalConvolution": _causal_convolution,
    "prim::PythonOp.DepthwiseProduct": _depthwise_convolution,
    "aten::layer_norm": _layer_norm,
    "aten::rms_norm": _layer_norm,
}


def count(model: Backbone, depth: int | None = None) -> Cost:
    """Count one image's forward pass of `model`, which should be on the meta device: nothing is computed there.

    Args:
        model: what to count.
        depth: the blocks to count, in place of those that the model has, all of them as its first.
    """
    device = next(model.parameters()).device
    image = torch.zeros(1, model.in_channels, model.grid[0] * model.patch, model.grid[1] * model.patch, device=device)
    arguments: tuple[torch.Tensor, ...] = (image, torch.zeros(1, device=device))
    if model.num_classes is not None:
        arguments += (torch.zeros(1, dtype=torch.int64, device=device),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore still imports torch.jit.script
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(model.eval().requires_grad_(False), arguments)
        analysis.set_op_handle(**_HANDLES)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        by_kind, left = analysis.by_operator(), analysis.unsupported_ops()
        block, left_of_block = analysis.by_operator("blocks.0"), analysis.unsupported_ops("blocks.0")
    more = 0 if depth is None else depth - len(model.blocks)
    return Cost(
        {kind: int(macs + more * block[kind]) for kind, macs in sorted(by_kind.items())},
        {
            name: calls + more * left_of_block[name]
            for name, calls in sorted(left.items())
            if name.removeprefix("aten::") not in _FREE
        },
    )


def count_by_name(name: str, **options: Any) -> tuple[Cost, int]:
    """Cost and number of parameters of `create_model(name, **options)`, allocating nothing."""
    from pdebench.models.backbone import create_model

    with torch.device("meta"):
        model = create_model(name, **options)
    return count(model), _parameters(model)


def count_one_block(name: str, **options: Any) -> tuple[Cost, int]:
    """What `count_by_name` gives where a family's blocks all cost the same, in a fraction of its time.

    Only one block is built and traced.
    """
    from pdebench.models.backbone import create_model
    from pdebench.models.registry import parse_name

    family, size, _ = parse_name(name)
    depth = options.pop("depth", None) or family.size(size).depth
    with torch.device("meta"):
        model = create_model(name, depth=1, **options)
    return count(model, depth), _parameters(model) + (depth - 1) * _parameters(model.blocks[0])


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
