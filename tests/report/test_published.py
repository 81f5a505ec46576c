"""Published results stand beside cells of ImageNet, with what differs, and beside and in nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic
from test_report import page, section

from pdebench.anchors.load import anchors
from pdebench.report import html
from pdebench.report.build import build_report
from pdebench.report.frame import make_frame
from pdebench.report.published import imagenet_side
from pdebench.report.sections.published import MOST_CELLS, PublishedRow, published

SIT = {  # SiT-XL/2 at 400K steps, sampled by its ODE
    "data.name": "packed",
    "data.channels": 4,
    "data.autoencoder": "stabilityai/sd-vae-ft-ema",
    "channels": 4,
    "classes": 1000,
    "train_images": 1_281_167,
    "val_images": 50_000,
    "model.size": "XL",
    "model.patch": 2,
    "model.depth": 28,
    "model.width": 1152,
    "model.heads": 16,
    "model_name": "DiT-XL/2",
    "tokens": 256,
    "params": 675_111_184,
    "images_seen": 102_400_000,
    "train.steps": 400_000,
    "train.batch_size": 256,
    "train.lr": 1e-4,
    "train.schedule": "constant",
    "train.warmup": 0,
    "train.weight_decay": 0.0,
    "train.clip": None,
    "train.ema": 0.9999,
    "train.ema_warmup": False,
    "train.time_scale": 1.0,
    "train.label_dropout": 0.1,
    "evaluate.samples": 50_000,
    "evaluate.sampler": "heun",
    "evaluate.nfe": 250,
    "evaluate.guidance": 1.0,
    "evaluate.guidance_channels": None,
    "evaluate.resolution": None,
    "fid": 18.31,
    "is": 72.5,
    "metric_samples": 50_000,
    "metric_reference": "packed/train/32px, decoded (1281167 images)",
    "metric_reference_count": 1_281_167,
    "metric_extractor": "inception-v3-compat",
}
AT_512 = {
    "data.resolution": 64,
    "tokens": 1024,
    "params": 675_995_920,
    "metric_reference": "packed/train/64px, decoded (1281167 images)",
}


def cell(seed: int = 0, **changes: Any) -> dict[str, Any]:
    return synthetic.row("DiT", 32, seed, **{**SIT, **changes})


def rows_of(**changes: Any) -> list[PublishedRow]:
    found = published(make_frame(pd.DataFrame([cell(**changes)])))
    assert found is not None
    (beside,) = found.groups
    return [*beside.rows]


def beside(score: str, **changes: Any) -> PublishedRow:
    """The result of that score, beside a cell."""
    (found,) = [row for row in rows_of(**changes) if row.scores[0].startswith(f"FID {score}")]
    return found


def test_dit_by_its_own_objective_and_sampler_is_of_the_same_protocol() -> None:
    dit: dict[str, Any] = {
        "task": "ddpm",
        "data.autoencoder": "stabilityai/sd-vae-ft-mse",
        "train.time_scale": 1000.0,
        "evaluate.sampler": "ddpm",
    }
    assert beside("19.47", **dit).differences == ()
    (first, *_) = beside("19.47").differences
    assert first == "predicts a flow's velocity, published a diffusion's noise"
    (first, *_) = beside("18.04", **dit).differences
    assert first == "predicts a diffusion's noise, published a flow's velocity"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train.prediction": "x"}, "predicts the image, published a flow's velocity"),
        ({"train.times": "lognormal"}, "training times lognormal, published uniform"),
        ({"evaluate.time_shift": 3.0}, "steps shifted by 3, published even"),
    ],
)
def test_what_is_particular_to_a_cell_is_a_difference(changes: dict[str, Any], said: str) -> None:
    assert beside("18.04", **changes).differences == (said,)


def test_an_inception_score_by_adms_splits_is_one() -> None:
    assert beside("18.04", **{"is": None, "is_adm": 72.5}).differences == ()


def test_the_section_has_own_scores_the_results_near_and_what_differs(tmp_path: Path) -> None:
    built = page(pd.DataFrame([cell()]), tmp_path)
    text = section(built, "published")
    assert '<a href="#published">Published results</a>' in built
    assert "DiT-XL/2, 32 px, seed 0: FID 18.31, IS 72.50 ImageNet, 256 px Scores" in text
    assert "SiT-XL/2 400,000 steps, no guidance, Heun 250 675 M FID 18.04, IS 73.90" in text
    assert "FID 17.83: trained anew, dopri5" in text
    assert "same protocol arXiv 2401.08740, Table 8" in text
    assert "DiT-XL/2 400,000 steps, no guidance, DDPM 250 675 M, 118.64 GMACs FID 19.47" in text
    assert "sampler Heun, published Euler-Maruyama" in text
    assert "no part of any ranking" in text


def test_every_result_of_the_backbone_size_and_resolution_is_there_and_no_other() -> None:
    names = {(row.name, row.scores[0]) for row in rows_of()}
    kept = [one for one in anchors() if (one.backbone, one.size, one.patch, one.resolution) == ("DiT", "XL", 2, 256)]
    assert len(kept) == len(names) == 13
    assert {name for name, _ in names} == {"DiT-XL/2", "SiT-XL/2"}
    assert {row.scores[0] for row in rows_of(**AT_512)} == {
        "FID 13.78",
        "FID 11.93",
        "FID 12.03, IS 105.25",
        "FID 4.64, IS 174.77",
        "FID 3.04, IS 240.82",
        "FID 2.62, IS 252.21",
    }


def test_one_protocol_is_the_same_and_stands_first() -> None:
    first, *others = rows_of()
    assert (first.scores[0], first.differences) == ("FID 18.04, IS 73.90", ())
    counts = [len(row.differences) for row in others]
    assert counts == sorted(counts)
    assert counts[0] > 0


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "steps": ({"train.steps": 100_000}, "steps 100,000, published 400,000"),
    "batch": ({"train.batch_size": 1024}, "batch size 1,024, published 256"),
    "rate": ({"train.lr": 2e-4}, "lr 0.0002, published 0.0001"),
    "betas": ({"train.betas": [0.9, 0.95]}, "betas 0.9, 0.95, published 0.9, 0.999"),
    "schedule": ({"train.schedule": "cosine"}, "schedule cosine, published constant"),
    "clip": ({"train.clip": 1.0}, "clip 1, published none"),
    "average": ({"train.ema_warmup": True}, "ema warmup yes, published no"),
    "times": ({"train.time_scale": 1000.0}, "time scale 1000, published 1"),
    "guidance": ({"evaluate.guidance": 1.5}, "guidance 1.5, published 1"),
    "samples": (
        {"metric_samples": 10_000, "evaluate.samples": 10_000},
        "samples 10,000, published 50,000",
    ),
    "sampler": ({"evaluate.sampler": "euler"}, "sampler Euler, published Heun"),
    "NFE": ({"evaluate.nfe": 50}, "NFE 50, published 250"),
    "weights": (
        {"metric_extractor": "inception-v3-compat; efficientnet-lite0"},
        "metric's weights inception-v3-compat; efficientnet-lite0, published inception-v3-compat",
    ),
    "reference": (
        {"metric_reference": "packed/validation/32px, decoded (50000 images)", "metric_reference_count": 50_000},
        "reference all of validation, published all of train",
    ),
    "part of the reference": (
        {"metric_reference": "packed/train/32px, decoded (10000 images)", "metric_reference_count": 10_000},
        "reference 10,000 images of train, published all of train",
    ),
    "decoder": (
        {"data.autoencoder": "/models/sd-vae-ft-mse/"},
        "decoder sd-vae-ft-mse, published sd-vae-ft-ema",
    ),
    "model": ({"params": 600_000_000}, "600.0 M parameters, published 675 M"),
    "no score": ({"fid": None}, "no FID was measured here"),
    "no scores": ({"fid": None, "is": None}, "no FID or IS was measured here"),
    "elsewhere": (
        {"evaluate.resolution": 64},
        "sampled at 2 times the side that was trained on, published at the same",
    ),
    "not said here": (
        {"data.autoencoder": None, "evaluate.nfe": None},
        "not recorded here: decoder and NFE",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_each_difference_is_told_by_itself(case: str) -> None:
    changes, said = CHANGES[case]
    assert beside("18.04", **changes).differences == (said,)


def test_a_table_that_was_written_and_read_says_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame([cell()])
    frame.to_parquet(tmp_path / "table.parquet")
    again = published(make_frame(pd.read_parquet(tmp_path / "table.parquet")))
    assert again == published(make_frame(frame))
    assert again is not None
    assert again.groups[0].rows[0].differences == ()


def test_guidance_is_compared_in_scale_and_channels() -> None:
    guided = {"evaluate.guidance": 1.5, "train.steps": 7_000_000}
    assert beside("2.15", **guided).differences == ("guided channels 4, published 3",)
    assert beside("2.15", **guided, **{"evaluate.guidance_channels": 3}).differences == ()
    assert "guided channels" not in " ".join(beside("2.15").differences)  # where there is none, it has no channels


def test_a_diffusion_of_noise_is_another_protocol() -> None:
    row = beside("19.47")
    assert row.differences == (
        "predicts a flow's velocity, published a diffusion's noise",
        "decoder sd-vae-ft-ema, published sd-vae-ft-mse",
        "sampler Heun, published DDPM",
    )


def test_what_was_not_read_of_a_publication_is_no_equality() -> None:
    changes = {"model.size": "S", "model.width": 384, "params": 33_370_384, **AT_512, "model_name": "DiG-S/2"}
    frame = pd.DataFrame([synthetic.row("DiG", 64, 0, **{**SIT, **changes, "params": 33_370_384})])
    found = published(make_frame(frame))
    assert found is not None
    (row,) = found.groups[0].rows
    assert row.scores == ("FID 99.04",)
    (said,) = row.differences
    assert said.startswith("not read of the publication: steps, batch size, decoder, guidance, sampler, NFE")
    assert row.read == "read in: MHLA, Table 10, which trained it as a baseline"


PIXELS = {"channels": 3, "data.channels": None, "data.resolution": 256, "model.patch": 16, "data.autoencoder": None}


def test_pixels_of_the_same_resolution_and_tokens_are_another_space() -> None:
    row = beside("18.04", **PIXELS)
    assert row.differences == ("space pixels, published latents f8d4", "decoder none, published sd-vae-ft-ema")


NOT_NEAR: dict[str, dict[str, Any]] = {
    "a hundred classes of it": {"classes": 100},
    "a part of it": {"train_images": 1_281_166},
    "no classes": {"classes": None},
    "images that nobody counted": {"train_images": None},
    "a name alone": {"classes": 10, "train_images": 60_000, "data.name": "folder", "data.path": "/data/imagenet"},
    "64 px of it": {"channels": 3, "data.channels": None, "data.resolution": 64},
    "latents of which the size is not known": {"channels": 16, "data.channels": 16},
    "a record of before, which may be of latents": {"channels": None, "data.channels": None},
    "another size": {"model.size": "Ti"},
    "other tokens": {"tokens": 1024},
    "a family that nobody published": {"model.family": "GFNet-DiT"},
    "a cell that did not end": {"status": "oom"},
}


@pytest.mark.parametrize("case", NOT_NEAR)
def test_nothing_is_near_what_is_not_the_same_model_on_the_same_data(case: str) -> None:
    assert published(make_frame(pd.DataFrame([cell(**NOT_NEAR[case])]))) is None


def test_a_record_of_before_says_its_channels_in_its_suite() -> None:
    old = {key: value for key, value in cell().items() if key != "channels"}
    assert imagenet_side(old) == 256
    assert published(make_frame(pd.DataFrame([old]))) is not None


def test_a_report_of_other_data_is_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = synthetic.results(resolutions=(32, 64)).assign(classes=1000, train_images=1024, channels=3)
    built = page(frame, tmp_path)
    monkeypatch.setattr(html, "published", lambda table: None)
    assert built == page(frame, tmp_path)
    assert "ublished" not in built.split("<script")[0]


def test_they_change_nothing_else_of_a_report_and_none_of_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    families = [cell(seed, val_loss=0.2 + 0.01 * seed) for seed in range(3)]
    families += [
        synthetic.row("DiG", 32, seed, **{**SIT, "fid": 21.0 + seed, "model_name": "DiG-XL/2"}) for seed in range(3)
    ]
    folder = synthetic.write_folder(pd.DataFrame(families), tmp_path / "study")
    shown = _all_but_published(folder)
    assert '<section id="published"' in (folder / "report.html").read_text(encoding="utf-8")
    assert {"families.csv", "cells.csv", "findings", "quality"} <= set(shown)
    monkeypatch.setattr(html, "published", lambda table: None)
    assert shown == _all_but_published(folder)
    assert '<section id="published"' not in (folder / "report.html").read_text(encoding="utf-8")


def _all_but_published(folder: Path) -> dict[str, str | bytes]:
    """The files of a report, and its sections, by name."""
    built = build_report([folder], formats=("svg",))  # a PDF has its date in it
    parts = re.split(r'<section id="([a-z_]+)"', built.page.read_text(encoding="utf-8").split("</main>")[0])
    sections = {name: text for name, text in zip(parts[1::2], parts[2::2], strict=True) if name != "published"}
    return sections | {path.name: path.read_bytes() for path in [*built.tables, *built.figures]}


def test_names_of_a_record_are_no_markup(tmp_path: Path) -> None:
    built = page(pd.DataFrame([cell(**{"data.autoencoder": "x/<b>bold</b>"})]), tmp_path)
    assert "<b>bold" not in built
    assert "decoder b>, published" in section(built, "published")


def test_of_very_many_cells_some_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    frame = pd.DataFrame([cell(seed, cell=f"cell{seed:03d}") for seed in range(MOST_CELLS + 7)])
    text = section(page(frame, tmp_path), "published")
    assert text.count("DiT-XL/2, 32 px, seed ") == MOST_CELLS
    assert "7 more such cells are not shown" in text


def test_cells_that_differ_in_the_same_share_a_table(tmp_path: Path) -> None:
    frame = pd.DataFrame([cell(0), cell(1, fid=18.9), cell(2, cell="short", **{"train.steps": 100_000})])
    found = published(make_frame(frame))
    assert found is not None
    assert sorted(group.cells for group in found.groups) == [
        ["DiT-XL/2, 32 px, steps 100000, seed 2: FID 18.31, IS 72.50"],
        [
            "DiT-XL/2, 32 px, steps 400000, seed 0: FID 18.31, IS 72.50",
            "DiT-XL/2, 32 px, steps 400000, seed 1: FID 18.90, IS 72.50",
        ],
    ]
    assert section(page(frame, tmp_path), "published").count("Scores Differences") == 2
