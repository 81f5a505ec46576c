"""Where the weights of a training lie: whole on each of its devices, or shared out among them.

Whole, `DistributedDataParallel` sums the gradients. Shared out, FSDP's `fully_shard` has every device hold its part of
the weights, of their averages, gradients and moments, and brings those of a block together while it runs (arXiv
1910.02054, 2304.11277). What is validated, sampled or kept on disk is whole either way, so a state does not say which.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pdebench.system.distributed import World


class Whole:
    """Every device holds all weights."""

    def __init__(self, world: World) -> None:
        self.world = world

    def called(self, model: nn.Module) -> nn.Module:
        """The model as training calls it."""
        return self.world.replica(model)

    def of_disk(self, saved: Any, ours: Any) -> Any:
        """What was kept, in the place of what is here."""
        return saved

    def for_disk(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What the first process keeps."""
        return dict(state)

    def number(self, value: Tensor) -> Tensor:
        """What a reduction over all weights came to."""
        return value

    def whole(self, model: nn.Module) -> nn.Module:
        """The model with all its weights, to be evaluated."""
        return model


class SharedOut(Whole):
    """Each device holds a part of every weight. Every process calls each method, in the same order."""

    def __init__(self, world: World, *models: nn.Module) -> None:
        """Share out some models of one form, in place; before anybody holds their parameters."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        super().__init__(world)
        self._form = copy.deepcopy(models[0]).cpu()
        self._device = next(models[0].parameters()).device
        mesh = init_device_mesh(self._device.type, (world.size,))
        for model in models:
            for block in model.get_submodule("blocks").children():
                fully_shard(block, mesh=mesh)
            fully_shard(model, mesh=mesh)

    def called(self, model: nn.Module) -> nn.Module:
        return model

    def of_disk(self, saved: Any, ours: Any) -> Any:
        if isinstance(ours, dict):
            return {name: self.of_disk(saved[name], ours[name]) if name in ours else saved[name] for name in saved}
        if isinstance(ours, list):
            return [self.of_disk(*pair) for pair in zip(saved, ours, strict=True)]
        return _part_of(saved, ours)

    def for_disk(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._gathered(value) for name, value in state.items()}

    def _gathered(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._gathered(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._gathered(one) for one in value]
        if not hasattr(value, "full_tensor"):
            return value
        together = value.full_tensor()
        return together.cpu() if self.world.first else None  # one at a time on the device, and on one host

    def number(self, value: Tensor) -> Tensor:
        return value.full_tensor()  # type: ignore[attr-defined,no-any-return]

    @torch.no_grad()
    def whole(self, model: nn.Module) -> nn.Module:
        plain = copy.deepcopy(self._form).to(self._device).train(model.training)
        for to, part in zip(plain.parameters(), model.parameters(), strict=True):
            to.copy_(part.full_tensor())  # type: ignore[attr-defined]
            to.requires_grad_(part.requires_grad)
        for buffer, there in zip(plain.buffers(), model.buffers(), strict=True):
            buffer.copy_(there)
        return plain


def _part_of(saved: Any, ours: Any) -> Any:
    """Of a whole tensor what this process has of `ours`."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(ours, DTensor):
        return saved
    assert isinstance(saved, Tensor)
    if saved.shape != ours.shape:
        raise ValueError(f"a tensor of shape {tuple(saved.shape)} for {tuple(ours.shape)}")
    here = saved.to(ours.device)
    return distribute_tensor(here, ours.device_mesh, ours.placements, src_data_rank=None)  # each has it: none is sent
