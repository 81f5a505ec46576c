"""Models that are compiled: what of theirs outlives their next call where they run from CUDA graphs, and refusals.

A CUDA graph writes what it puts out to the same memory each time. Here is no GPU, so a backend stands in for it that
does worse: when a pass begins, it makes NaN of all that earlier passes put out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch.multiprocessing.reductions import StorageWeakRef

from pdebench.models.backbone import Backbone, create_model
from pdebench.ops.precision import cast_once
from pdebench.suite.config import TrainConfig
from pdebench.tasks.generation.solver import sample
from pdebench.tasks.generation.task import GENERATION
from pdebench.train import compiled, loop
from pdebench.train.batches import Images
from pdebench.train.compiled import compile_in_place, graphs_bytes
from pdebench.train.loop import Trained, train

CPU = torch.device("cpu")


class Overwriting:
    """A backend of torch.compile, whose passes' results are lost when the next forward pass begins."""

    def __init__(self) -> None:
        self.put_out: list[StorageWeakRef] = []
        self.passes = 0

    def compiled(self, *, begins: bool) -> Callable[..., Any]:
        def of(graph: torch.fx.GraphModule, _: object) -> Any:
            run = make_boxed_func(graph.forward)

            def call(given: list[Any]) -> Any:
                ours = {_storage(tensor) for tensor in given if isinstance(tensor, Tensor)}
                if begins:
                    self.passes += 1
                    self.overwrite()
                found = run(given)
                there = (tensor for tensor in found if isinstance(tensor, Tensor) and tensor.is_floating_point())
                self.put_out += [StorageWeakRef(one.untyped_storage()) for one in there if _storage(one) not in ours]
                return found

            call._boxed_call = True  # type: ignore[attr-defined]
            return call

        return of

    def overwrite(self) -> None:
        for reference in self.put_out:
            if not reference.expired():
                storage = torch.UntypedStorage._new_with_weak_ptr(reference.cdata)
                if storage is not None:
                    torch.empty(0).set_(storage).fill_(torch.nan)
        self.put_out.clear()

    @property
    def backend(self) -> Any:
        return aot_autograd(fw_compiler=self.compiled(begins=True), bw_compiler=self.compiled(begins=False))


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Overwriting]:
    """A machine on which compile-graphs runs from such graphs."""
    overwriting = Overwriting()

    def compile_(module: nn.Module, **_: Any) -> None:
        module._compiled_call_impl = torch.compile(module._call_impl, backend=overwriting.backend)  # type: ignore[assignment]

    def graphed(mode: str, device: torch.device) -> bool:
        return mode == "compile-graphs"

    monkeypatch.setattr(nn.Module, "compile", compile_)
    for module in (compiled, loop):
        monkeypatch.setattr(module, "graphed", graphed)
    torch.compiler.reset()
    yield overwriting
    torch.compiler.reset()


def model(mode: str) -> Backbone:
    torch.manual_seed(0)
    net = create_model("None-DiT-XXS/8", input_size=16, in_channels=3, num_classes=2, depth=1)
    with torch.no_grad():
        for parameter in net.parameters():  # those that start at zero would hide all that comes before them
            if not parameter.any():
                parameter.normal_(std=0.02)
    compile_in_place(net, mode, CPU)
    return net


def trained(mode: str, **changes: Any) -> Trained:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (8, 3, 16, 16), generator=generator, dtype=torch.uint8)
    config = TrainConfig(steps=2, batch_size=4, lr=1e-3, compile=mode, **changes)  # type: ignore[arg-type]
    learner = GENERATION.learner(config)

    def validate(candidate: nn.Module) -> float:
        with cast_once(candidate, "fp32", CPU):
            return learner.validation_loss(
                candidate, pixels.numpy(), None, batch_size=2, device=CPU, world=loop.ALONE
            )  # fmt: skip

    data = Images(pixels, torch.arange(8) % 2)
    return train(
        model(mode), data, config, learner=learner, device=CPU, precision="fp32", validate=validate, validate_every=1
    )


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_from_graphs_is_training(graphs: Overwriting, accumulate: int) -> None:
    wanted, found = trained("eager", accumulate=accumulate), trained("compile-graphs", accumulate=accumulate)
    assert graphs.passes >= 2 * accumulate
    assert found.curve.train_loss == pytest.approx(wanted.curve.train_loss, rel=1e-5)
    assert found.curve.grad_norm == pytest.approx(wanted.curve.grad_norm, rel=1e-4)
    assert found.curve.val_loss == pytest.approx(wanted.curve.val_loss, rel=1e-5)


def test_a_solver_that_holds_several_answers_samples_the_same_from_graphs(graphs: Overwriting) -> None:
    noise, labels = torch.randn(2, 3, 16, 16), torch.tensor([0, 1])
    wanted, found = (
        sample(model(mode).eval(), noise, labels, sampler="heun", nfe=6, guidance=2.0, guidance_interval=(0.3, 0.8))
        for mode in ("eager", "compile-graphs")
    )
    torch.testing.assert_close(found, wanted)


def test_the_memory_of_graphs_is_that_of_their_pools() -> None:
    segments = [
        {"total_size": 2 << 20, "segment_pool_id": (0, 0)},
        {"total_size": 20 << 20, "segment_pool_id": (0, 1)},
        {"total_size": 4 << 20, "segment_pool_id": (0, 1)},
    ]
    assert graphs_bytes(segments) == 24 << 20


def test_on_a_gpu_every_mode_combines_kernels_and_two_record_graphs() -> None:
    told = {mode: compiled.options_on_a_gpu(mode) for mode in compiled.MODES}
    assert all(options["combo_kernels"] for options in told.values())
    assert [mode for mode in told if told[mode].get("triton.cudagraphs")] == ["compile-graphs", "compile-max"]
    on_a_gpu = torch.device("cuda")
    assert [mode for mode in ("eager", *told) if compiled.graphed(mode, on_a_gpu)] == ["compile-graphs", "compile-max"]
    assert not any(compiled.graphed(mode, CPU) for mode in told)
