"""`pdebench import`: published checkpoints are the same functions here, and other files are turned down."""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from published import CLASSES, DEPTH, PATCH, SIDE, WIDTH, as_published, transformer
from safetensors.torch import save_file
from torch import Tensor

from pdebench.cli import main
from pdebench.cli.importing import import_
from pdebench.models.published.layouts import LAYOUTS, Measures
from pdebench.run.checkpoint import read_checkpoint
from pdebench.run.importing import import_published
from pdebench.tasks.ddpm.objective import answer
from pdebench.tasks.generation.path import velocity

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def published() -> State:
    return as_published(transformer())


@pytest.fixture
def state(published: State) -> State:
    """One that a test may spoil."""
    return {name: tensor.clone() for name, tensor in published.items()}


def saved(folder: Path, held: object, name: str = "published.pt") -> Path:
    torch.save(held, folder / name)
    return folder / name


def batch(channels: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, channels, SIDE, SIDE, generator=generator), torch.tensor([0, 3, 9, -1])


def by_diffusers(x: Tensor, t: Tensor, y: Tensor, **sizes: int) -> Tensor:
    with torch.no_grad():
        answer: Tensor = transformer(**sizes)(x, t, torch.where(y < 0, CLASSES, y)).sample
    return answer


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `pdebench import`, in this process."""
    argv, sys.argv = sys.argv, ["pdebench", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = argv
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


# ---- the same function


@pytest.mark.parametrize("kind", ["pt", "ema", "safetensors"])
def test_a_dit_is_the_function_that_diffusers_has_of_its_weights(kind: str, state: State, tmp_path: Path) -> None:
    if kind == "safetensors":
        file = tmp_path / "published.safetensors"
        save_file(state, file)
    elif kind == "ema":  # as DiT's training saves it
        other = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
        arguments = argparse.Namespace(model="DiT-XXS/4", global_seed=0)
        file = saved(tmp_path, {"model": other, "ema": state, "opt": {"state": {}}, "args": arguments})
    else:
        file = saved(tmp_path, state)
    found = read_checkpoint(import_published(file, "DiT", tmp_path / "out").checkpoint)
    x, y = batch()
    t = torch.tensor([0, 1, 500, 999])
    noise, share = answer(found.model, x, t, y, found.learner.time_scale)  # type: ignore[attr-defined]
    exact = by_diffusers(x, t, y)
    assert exact.std() > 0.3
    torch.testing.assert_close(torch.cat([noise, share], 1), exact, rtol=0, atol=1e-5)
    assert (found.name, found.learner.task) == ("DiT-XXS/4", "ddpm")


@pytest.mark.parametrize("made", [4, 8])
def test_a_sit_is_a_velocity_at_times_from_0_to_1(made: int, tmp_path: Path) -> None:
    file = saved(tmp_path, as_published(transformer(made=made)))
    found = read_checkpoint(import_published(file, "SiT", tmp_path / "out").checkpoint)
    x, y = batch()
    t = torch.tensor([0.0, 0.1, 0.7, 1.0])
    ours = velocity(found.model, x, t, y, found.learner.time_scale)  # type: ignore[attr-defined]
    torch.testing.assert_close(ours, by_diffusers(x, t, y, made=made)[:, :4], rtol=0, atol=1e-5)
    assert (found.name, found.learner.task) == ("DiT-XXS/4", "generation")


def test_repas_velocity_runs_the_other_way(tmp_path: Path) -> None:
    """Its time is 0 at the image, where ours is 1; what it was trained beside is left out."""
    state = as_published(transformer(made=4)) | {"projectors.0.0.weight": torch.ones(8, WIDTH)}
    found = read_checkpoint(import_published(saved(tmp_path, {"ema": state}), "REPA", tmp_path / "out").checkpoint)
    x, y = batch()
    t = torch.tensor([0.0, 0.1, 0.7, 1.0])
    ours = velocity(found.model, x, t, y, found.learner.time_scale)  # type: ignore[attr-defined]
    torch.testing.assert_close(ours, -by_diffusers(x, 1 - t, y, made=4), rtol=0, atol=1e-5)
    assert found.learner.task == "generation"


def test_of_two_states_the_one_that_is_asked_for_is_taken(state: State, tmp_path: Path) -> None:
    other = {name: tensor + 1 for name, tensor in state.items()}
    file = saved(tmp_path, {"model": other, "ema": state})
    for which, exact in ((None, state), ("ema", state), ("model", other)):
        found = import_published(file, "DiT", tmp_path / str(which), which=which)
        assert found.weights == (which or "ema")
        held = read_checkpoint(found.checkpoint).model.state_dict()
        assert all(torch.equal(held[name.replace(".attn.", ".mixer.")], tensor) for name, tensor in exact.items())


def test_heads_beside_the_table_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path, as_published(transformer(depth=3, heads=8)))
    command = ("import", file, "--family", "DiT", "--out", tmp_path / "out")
    code, _, said = told(capsys, *command)
    assert (code, said.count("\n")) == (2, 1)
    assert "no size of DiT has 3 blocks of width 128" in said
    assert "give --heads" in said
    code, _, said = told(capsys, *command, "--heads", 3)
    assert code == 2
    assert "3 heads do not divide the width 128" in said
    assert told(capsys, *command, "--heads", 8)[0] == 0
    found = read_checkpoint(tmp_path / "out" / "checkpoint.safetensors")
    x, y = batch()
    t = torch.full((4,), 300)
    noise, _ = answer(found.model, x, t, y, 1000.0)
    torch.testing.assert_close(noise, by_diffusers(x, t, y, depth=3, heads=8)[:, :4], rtol=0, atol=1e-5)


def test_the_published_sizes_have_the_published_parameters() -> None:
    """The release's XL/2 at 256 px: 675,129,632 numbers, the frozen position embedding included."""
    release = Measures(28, 1152, 4608, 2, 32, 4, 8, 1000)
    for name in ("DiT", "SiT"):
        assert sum(math.prod(shape) for shape in LAYOUTS[name].shapes(release).values()) == 675_129_632


def test_the_help_names_every_layout() -> None:
    told = get_type_hints(import_, include_extras=True)["family"].__metadata__[0].help
    assert all(name in told for name in LAYOUTS)


# ---- what becomes of it


def test_what_was_found_is_told_and_latents_keep_their_space(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = saved(tmp_path, {"ema": state}), tmp_path / "out"
    code, said, _ = told(
        capsys, "import", file, "--family", "DiT", "--out", out, "--autoencoder", "stabilityai/sd-vae-ft-ema"
    )
    assert code == 0
    lines = dict(line.split("  ", 1) for line in said.splitlines() if "  " in line)
    assert lines["model"].strip() == "DiT-XXS/4: 4 blocks of width 128, 2 heads, patch 4"
    assert lines["weights"].strip() == "ema"
    assert lines["parameters"].strip() == f"{sum(tensor.numel() for tensor in state.values()):,}"
    assert lines["classes"].strip().startswith(f"{CLASSES},")
    assert "ddpm" in lines["task"]
    assert f"wrote {out / 'checkpoint.safetensors'}" in said.replace("\n", " ")
    found = read_checkpoint(out / "checkpoint.safetensors")
    assert found.space is not None
    assert (found.space.scale, found.space.autoencoder) == ((0.18215,), "stabilityai/sd-vae-ft-ema")
    assert len(found.model.blocks) == DEPTH
    assert (found.model.patch, found.model.sides, found.model.num_classes) == (PATCH, (SIDE, SIDE), CLASSES)
    assert found.model.pos_embed.shape[-1] == WIDTH


@pytest.mark.parametrize("family", ["DiT", "SiT"])
def test_a_model_of_images_is_sampled_and_inspected(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path, as_published(transformer(channels=3, made=6)))
    code, said, _ = told(capsys, "import", file, "--family", family, "--out", tmp_path, "--json")
    assert code == 0
    about: dict[str, Any] = json.loads(said)
    checkpoint = about["checkpoint"]
    assert about["time_scale"] == {"DiT": 1000, "SiT": 1}[family]
    picture = tmp_path / "samples.png"
    for guidance in ((), ("--guidance", "4", "--guidance-channels", "3")):
        asked = ("sample", checkpoint, "--out", picture, "--count", 4, "--nfe", 4, "--label", 2, *guidance)
        assert told(capsys, *asked)[0] == 0
        with Image.open(picture) as image:
            assert image.size == (2 * 18 + 2, 2 * 18 + 2)
    code, said, _ = told(capsys, "inspect", checkpoint, "--json")
    assert code == 0
    assert len(json.loads(said)["survey"]["mixers"]) == DEPTH


def test_latents_are_decoded_at_the_published_scale(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    decoder = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
    ).eval()  # fmt: skip
    decoder.save_pretrained(tmp_path / "decoder")
    command = ("import", saved(tmp_path, state), "--family", "SiT", "--autoencoder", tmp_path / "decoder")
    assert told(capsys, *command, "--out", tmp_path)[0] == 0
    checkpoint, picture = tmp_path / "checkpoint.safetensors", tmp_path / "samples.png"
    asked = ("--count", 1, "--label", 2, "--nfe", 4, "--seed", 5)
    assert told(capsys, "sample", checkpoint, "--out", picture, *asked)[0] == 0
    found = read_checkpoint(checkpoint)
    noise = torch.randn(1, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    x, y = noise, torch.tensor([2])
    with torch.no_grad():
        for t in (0.0, 0.5):  # Heun, two steps of two evaluations
            slope = velocity(found.model, x, torch.tensor([t]), y, 1.0)
            x = x + (slope + velocity(found.model, x + slope / 2, torch.tensor([t + 0.5]), y, 1.0)) / 4
        exact = decoder.decode(x / 0.18215).sample.add(1).mul(127.5).round().clamp(0, 255)[0]
    with Image.open(picture) as image:
        shown = torch.from_numpy(np.array(image)).permute(2, 0, 1)[:, 2:-2, 2:-2]
    assert shown.shape == (3, 2 * SIDE, 2 * SIDE)
    assert (shown - exact).abs().max() <= 1


def test_another_position_embedding_is_kept_and_told(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state["pos_embed"].add_(0.1)
    code, _, said = told(capsys, "import", saved(tmp_path, state), "--family", "DiT", "--out", tmp_path)
    assert code == 0
    assert "its position embedding is not of sines and cosines" in said
    held = read_checkpoint(tmp_path / "checkpoint.safetensors").model
    assert torch.equal(held.pos_embed, state["pos_embed"])


def test_weights_of_half_precision_are_kept_as_they_are(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = {name: tensor.bfloat16() for name, tensor in state.items()}
    code, _, said = told(capsys, "import", saved(tmp_path, half), "--family", "DiT", "--out", tmp_path)
    assert (code, said) == (0, "")
    held = read_checkpoint(tmp_path / "checkpoint.safetensors").model.state_dict()
    assert all(torch.equal(held[name.replace(".attn.", ".mixer.")], tensor.float()) for name, tensor in half.items())


# ---- what is turned down


class Touch:
    """Makes a file when it is un-pickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def without(name: str) -> Callable[[State], object]:
    return lambda state: {key: tensor for key, tensor in state.items() if not key.startswith(name)}


def with_(name: str, value: object) -> Callable[[State], object]:
    return lambda state: state | {name: value}


SHAPE = "blocks.2.mlp.fc1.weight"
WRONG: dict[str, tuple[Callable[[State], object], str]] = {
    "a list": (lambda state: [*state.values()], "it holds a list, where names and their tensors belong"),
    "empty": (lambda state: {}, "it is empty"),
    "no tensor": (with_("pos_embed", 3), "it has int 'pos_embed' where a tensor belongs"),
    "no name": (lambda state: {**state, 7: state["pos_embed"]}, "it has 7 where the name of a tensor belongs"),
    "a shape": (with_(SHAPE, torch.zeros(512, 100)), f"its tensor {SHAPE} is (512, 100), where (512, 128) belongs"),
    "a vector": (with_("pos_embed", torch.zeros(16)), "its tensor pos_embed is (16,), where (1, any, 128) belongs"),
    "a block": (without("blocks.2."), "it lacks blocks.2, and has 3 blocks by other numbers"),
    "a far block": (with_("blocks.99999999999.x", torch.zeros(1)), "it lacks blocks.4, and has 5 blocks"),
    "no blocks": (without("blocks."), "it lacks blocks.0, and has 0 blocks"),
    "a tensor": (without("t_embedder.mlp.2.bias"), "it lacks the tensor t_embedder.mlp.2.bias"),
    "one more": (with_("blocks.0.attn.q_norm.weight", torch.zeros(64)), "no DiT has a tensor blocks.0.attn.q_norm"),
    "oblong": (with_("pos_embed", torch.zeros(1, 15, 128)), "15 tokens are no square"),
    "no variance": (
        with_("final_layer.linear.weight", torch.zeros(64, 128)),
        "final_layer.linear.weight is (64, 128), where (128, 128) belongs",
    ),
    "not finite": (with_(SHAPE, torch.full((512, 128), math.nan)), f"its tensor {SHAPE} holds values that are NaN"),
    "whole numbers": (with_("pos_embed", torch.zeros(1, 16, 128).char()), "pos_embed is of torch.int8"),
    "sparse": (with_("pos_embed", torch.zeros(1, 16, 128).to_sparse()), "its tensor pos_embed is of"),
    "a claim": (with_("pos_embed", torch.zeros(1).expand(10**11)), "its tensors claim 400,"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_turned_down_in_a_sentence(
    what: str, state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, sentence = WRONG[what]
    file = saved(tmp_path, spoil(state))
    code, _, said = told(capsys, "import", file, "--family", "DiT", "--out", tmp_path / "out")
    assert code == 2
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert str(file) in said
    assert sentence in said
    assert not (tmp_path / "out").exists()


def test_nothing_in_a_file_is_run(state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark = tmp_path / "ran"
    file = saved(tmp_path, {"ema": state, "args": Touch(mark)})
    torch.load(file, weights_only=False)
    assert mark.exists(), "the attack works where it is let"
    mark.unlink()
    code, _, said = told(capsys, "import", file, "--family", "DiT", "--out", tmp_path / "out")
    assert code == 2
    assert "holds more than weights" in said
    assert not mark.exists()


def test_a_file_that_is_not_of_its_kind_is_turned_down(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = saved(tmp_path, state).read_bytes()
    squeezed, buffer = tmp_path / "squeezed.pt", io.BytesIO(whole)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as small:
        for name in archive.namelist():
            small.writestr(name, archive.read(name))
    (tmp_path / "cut.pt").write_bytes(whole[:-999])
    (tmp_path / "text.pt").write_text("a checkpoint")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("squeezed.pt", "cut.pt", "text.pt", "old.pt", "missing.pt", "."):
        code, _, said = told(capsys, "import", tmp_path / name, "--family", "SiT", "--out", tmp_path / "out")
        assert (code, said.count("\n")) == (2, 1), name
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--family", "DiTT"), "no layout is called 'DiTT'; did you mean 'DiT'?"),
        (("--family", "DiT", "--weights", "model"), "it has no weights called model"),
    ],
)
def test_what_is_asked_for_and_is_not_there_is_said(
    options: tuple[str, ...], sentence: str, state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = told(capsys, "import", saved(tmp_path, state), *options, "--out", tmp_path / "out")
    assert (code, said.count("\n")) == (2, 1)
    assert sentence in said


def test_a_checkpoint_that_is_there_is_not_replaced(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint.safetensors").write_text("weeks of training")
    code, _, said = told(capsys, "import", saved(tmp_path, state), "--family", "DiT", "--out", tmp_path)
    assert code == 2
    assert "is there already: name another folder" in said
    assert (tmp_path / "checkpoint.safetensors").read_text() == "weeks of training"


def test_images_need_no_decoder_and_other_latents_have_no_known_scale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for channels, more, sentence in ((3, ("--autoencoder", "x"), "leave --autoencoder out"), (5, (), "of 5 channels")):
        file = saved(tmp_path, as_published(transformer(channels=channels, made=2 * channels)))
        code, _, said = told(capsys, "import", file, "--family", "DiT", "--out", tmp_path / "out", *more)
        assert code == 2
        assert sentence in said
