"""Images encoded, trained on, sampled, decoded and measured, with an autoencoder of random weights."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import pdebench_run

from pdebench.data import registry
from pdebench.data.packed.index import read_index
from pdebench.errors import DataError, ModelError
from pdebench.models.autoencoder import load
from pdebench.results.store import load_results
from pdebench.run.encoding import encode
from pdebench.suite.config import DataConfig

diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and an autoencoder whose configuration scales its latents as they need it."""
    root = tmp_path_factory.mktemp("latents")
    random = np.random.default_rng(0)
    for number in range(40):
        file = root / "images" / ("red" if number % 2 else "blue") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8))
        coarse.resize((16, 16)).save(file)
    torch.manual_seed(0)
    for name, scale in (("autoencoder", 2.0), ("wrong", 40.0)):
        torch.manual_seed(0)
        network = diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1, scaling_factor=scale, shift_factor=0.1,
        )  # fmt: skip
        network.save_pretrained(root / name)
    return root


@pytest.fixture(scope="module")
def encoded(made: Path) -> Path:
    out = made / "encoded"
    done = pdebench_run(
        "data", "encode", made / "images", "--resolution", 16, "--autoencoder", made / "autoencoder", "--out", out,
        "--device", "cpu", "--precision", "fp32",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "40 latents of 4 x 8 x 8, and those of the mirrored images" in done.stdout
    return out


def test_its_rows_are_the_autoencoders_and_a_model_sees_them_scaled(made: Path, encoded: Path) -> None:
    found = registry.load(DataConfig(name="packed", resolution=8, path=encoded), "train")
    images = registry.load(DataConfig(name="folder", resolution=16, path=made / "images"), "train")
    network = diffusers.AutoencoderKL.from_pretrained(made / "autoencoder")
    pixels = torch.from_numpy(np.array(images.images)).float() / 127.5 - 1
    assert found.mirrored is not None
    for rows, x in ((found.images, pixels), (found.mirrored, pixels.flip(-1))):
        with torch.no_grad():
            expected = network.encode(x).latent_dist
        assert np.allclose(rows[:], torch.cat([expected.mean, expected.logvar], 1), atol=1e-5)
    assert np.array_equal(found.labels, images.labels)  # type: ignore[arg-type]
    assert found.space is not None
    latent = rows[:] if found.space.spread is None else found.images[:][:, :4]
    mean_seen = (latent - 0.1) * 2
    drawn = np.mean([found.space.seen(found.images[:], np.arange(len(found)), e) for e in range(50)], axis=0)
    deviation = np.exp(0.5 * found.images[:][:, 4:]) * 2
    assert (np.abs(drawn - mean_seen) < 6 * deviation / 50**0.5).all()


def test_a_suite_of_latents_trains_samples_decodes_and_measures(made: Path, encoded: Path, tmp_path: Path) -> None:
    suite = tmp_path / "latent.yaml"
    suite.write_text(
        f"suite: latent\ndata: {{name: packed, path: {encoded}, resolution: 8}}\n"
        "model: {family: DiT, size: XXS, patch: 4, depth: 1, width: 64}\n"
        "train: {steps: 4, batch_size: 4, lr: 1e-3}\n"
        "evaluate: {samples: 6, nfe: 2, batch_size: 4, metrics: [fd_efficientnet_lite0]}\n"
    )
    done = pdebench_run("run", suite, "--results", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = load_results(tmp_path / "out").to_dict("records")
    assert (row["status"], row["tokens"], row["classes"]) == ("done", 4, 2)
    assert row["fd_efficientnet_lite0"] > 0
    assert "decoded" in row["metric_reference"]
    with Image.open(next((tmp_path / "out").glob("cells/*/samples.png"))) as picture:
        assert picture.size[0] == 6 * 18 + 2
    checkpoint = next((tmp_path / "out").glob("cells/*/checkpoint.safetensors"))
    out = tmp_path / "drawn.png"
    done = pdebench_run("sample", checkpoint, "--out", out, "--count", 4, "--nfe", 2)
    assert done.returncode == 0, done.stderr
    with Image.open(out) as picture:
        assert picture.size == (2 * 18 + 2, 2 * 18 + 2)
    done = pdebench_run("sample", checkpoint, "--out", out, "--autoencoder", tmp_path / "gone")
    assert done.returncode == 2
    assert "there is no autoencoder that can be loaded at" in done.stderr


def test_the_wrong_scale_is_refused_before_training_with_its_numbers(encoded: Path) -> None:
    config = DataConfig(name="packed", resolution=8, path=encoded, scale=(0.01,))
    with pytest.raises(DataError, match=r"data\.scale 0\.01 .*standard deviation of 0\.0"):
        registry.load(config, "train")
    with pytest.raises(DataError, match=r"data\.shift has 3 numbers, and the latents 4 channels"):
        registry.check(DataConfig(name="packed", resolution=8, path=encoded, shift=(0.0, 0.0, 0.0)))


def test_space_and_autoencoder_are_part_of_what_a_cell_is(made: Path, encoded: Path) -> None:
    def content(**more: object) -> str | None:
        return registry.content(DataConfig(name="packed", resolution=8, path=encoded, **more))  # type: ignore[arg-type]

    assert len({content(), content(scale=(2.5,)), content(autoencoder=str(made / "wrong"))}) == 3


def test_interrupted_it_goes_on(made: Path, encoded: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in encoded.glob("*.npy")}
    (encoded / "index.json").unlink()
    (encoded / "part-00001.json").unlink()
    done = pdebench_run(
        "data", "encode", made / "images", "--resolution", 16, "--autoencoder", made / "autoencoder", "--out", encoded,
        "--device", "cpu", "--precision", "fp32",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = {path.name: path.stat().st_mtime_ns for path in encoded.glob("*.npy")}
    assert {name for name in before if before[name] != after[name]} == {
        name for name in before if name.split("-")[1].startswith("00001")
    }


@pytest.mark.parametrize("kind", ["AutoencoderDC", "AutoencoderTiny"])
def test_other_autoencoders_come_back_to_images(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    if kind == "AutoencoderTiny":
        network = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1),
        )  # fmt: skip
    else:
        blocks = {"block_out_channels": (8, 8), "layers_per_block": (1, 1), "qkv_multiscales": ((), ())}
        both = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in blocks.items()}
        network = diffusers.AutoencoderDC(
            latent_channels=4, encoder_block_types="ResBlock", decoder_block_types="ResBlock",
            upsample_block_type="interpolate", downsample_block_type="Conv", scaling_factor=0.5, **both,
        )  # fmt: skip
    network.save_pretrained(tmp_path)
    found = load(str(tmp_path), torch.device("cpu"))
    rows = found.encode(torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8))
    assert rows.shape[:2] == (2, 4)
    assert found.space.spread is None
    images = found.decode(rows)
    assert images.shape == (2, 3, 16, 16)
    assert images.dtype == torch.uint8


def test_what_is_no_autoencoder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no autoencoder that can be loaded at"):
        load(str(tmp_path), torch.device("cpu"))
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(ModelError, match="is of the class UNet2DModel: take one of AutoencoderKL"):
        load(str(tmp_path), torch.device("cpu"))


def test_its_index_names_the_autoencoder_by_its_whole_path(made: Path, encoded: Path) -> None:
    space = read_index(encoded).space
    assert space is not None
    assert (space.autoencoder, space.scale, space.shift) == (str(made / "autoencoder"), (2.0,), (0.1,))


def test_a_damaged_picture_of_a_shard_is_left_out_and_no_other_is_encoded_for_it(made: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for file in sorted((made / "images").rglob("*.png")):
            content = file.read_bytes()
            if file.stem in ("7", "20"):
                content = content[:60]
            for name, held in ((file.name, content), (f"{file.stem}.cls", b"0")):
                about = tarfile.TarInfo(name)
                about.size = len(held)
                archive.addfile(about, io.BytesIO(held))
    config = DataConfig(name="shards", path=tmp_path / "a.tar", resolution=16)
    encode(
        config, tmp_path / "out", str(made / "autoencoder"), devices=[torch.device("cpu")], flip=False,
        precision="fp32", download=False, said=lambda done, total: None,
    )  # fmt: skip
    parts = [registry.load(DataConfig(name="packed", resolution=8, path=tmp_path / "out", flip=False), split)
             for split in ("train", "validation")]  # fmt: skip
    assert [part.skipped for part in parts] == [2, 2]
    rows = np.concatenate([part.images[:] for part in parts])
    assert len(rows) == len({row.tobytes() for row in rows}) == 38
