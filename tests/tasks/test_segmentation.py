"""Segmentation: that it learns, that runs are resumed bit for bit, what it begins with, and what it refuses."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from runs import pdebench_run
from safetensors.torch import load_file
from torch.nn import functional as F

from pdebench.data.source import ImageSet
from pdebench.models.backbone import create_model
from pdebench.plan.closed_form_check import disagreement
from pdebench.plan.cost import count_by_name
from pdebench.results.store import Results
from pdebench.run.cell import run_cell
from pdebench.suite.load import load_suite
from pdebench.system.distributed import ALONE
from pdebench.tasks.learner import Learner
from pdebench.tasks.segmentation.learner import SegmentationLearner, logits_of
from pdebench.tasks.segmentation.training import SegmentationTraining
from pdebench.train.batches import Images, as_trained_on
from pdebench.train.loop import train
from pdebench.train.state import Snapshots

SIDE, CLASSES = 16, ("sky", "ground", "sun")
TINY = {"input_size": SIDE, "in_channels": 3, "num_classes": None, "head": "tokens", "out_channels": 3}
TINY |= {"conditioned": False, "depth": 1, "width": 64}
CPU = torch.device("cpu")


def scenes(count, seed):
    """Sky above the ground, and in either a sun that is a square of another colour; images and maps."""
    random = np.random.default_rng(seed)
    images, maps = np.empty((count, 3, SIDE, SIDE), np.uint8), np.zeros((count, SIDE, SIDE), np.uint8)
    for number in range(count):
        horizon, left, top = random.integers(4, 12), *random.integers(0, SIDE - 5, 2)
        maps[number, horizon:] = 1
        maps[number, top : top + 5, left : left + 5] = 2
        colours = np.array([[60, 90, 200], [90, 160, 60], [240, 220, 40]])
        images[number] = colours[maps[number]].transpose(2, 0, 1)
    return (images + random.integers(0, 15, images.shape)).astype(np.uint8), maps


def image_set(count=32, seed=0, split="train"):
    images, maps = scenes(count, seed)
    return ImageSet(images, None, None, "scenes", SIDE, split, f"{seed}", maps=maps, map_names=CLASSES)


def write_scenes(folder):
    for split, count, seed in (("train", 24, 0), ("val", 8, 1)):
        for number, (image, classes) in enumerate(zip(*scenes(count, seed), strict=True)):
            for kind, picture in (("images", image.transpose(1, 2, 0)), ("masks", classes)):
                path = folder / "set" / kind / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.ascontiguousarray(picture)).save(path)
    (folder / "set" / "classes.txt").write_text("\n".join(CLASSES))


SUITE = """\
suite: outlines
task: segmentation
data: {{name: masks, path: set, resolution: 16}}
model: {{size: XXS, patch: 4, depth: 1, width: 64}}
train: {{steps: {steps}, batch_size: 8, lr: 4e-3, ema: 0.5}}
evaluate: {{batch_size: 3}}
grid:
  model.family: [{families}]
"""


def write_suite(folder, steps=40, families="DiT", more=""):
    path = folder / "outlines.yaml"
    path.write_text(SUITE.format(steps=steps, families=families) + more)
    return path


def records(results: Path):
    found = Results(results)
    return [found.record(name) for name in found.plan()]


def largest_share(maps):
    return np.bincount(maps[maps != 255]).max() / (maps != 255).sum()


@pytest.mark.parametrize("family", ["DiT", "PDE-SSM-DiT"])
def test_it_learns_more_than_the_most_frequent_class(family):
    torch.manual_seed(0)
    model = create_model(f"{family}-XXS/4", **TINY)
    config = SegmentationTraining(steps=60, batch_size=8, lr=4e-3, ema=0.5)
    learner = SegmentationLearner()
    data, held_out = as_trained_on(image_set(), "maps"), image_set(16, 1, "validation")
    trained = train(model, data, config, learner=learner, device=CPU, precision="fp32", flip=True)
    applied = learner.apply(
        trained.model, _Asked(), image_set(), held_out, weights="averaged", world=ALONE,
        arithmetic=torch.no_grad(), folder=Path(), watch=lambda event: None,
    )  # fmt: skip
    found = learner.judge(applied, _Asked(), image_set(), meaningful=True, device=CPU).columns
    assert found["pixel_accuracy"] > largest_share(np.asarray(held_out.maps)) + 0.2
    assert found["miou"] > 0.6
    assert found["miou_error"] == 1 - found["miou"]
    assert 0 < found["boundary_f"] <= 1
    assert applied.columns["segmented_images"] == 16


class _Asked:
    batch_size = 5


def test_the_loss_is_that_of_the_upsampled_logits_and_of_known_pixels_alone():
    torch.manual_seed(0)
    model = create_model("DiT-XXS/4", **TINY)
    torch.nn.init.normal_(model.final_layer.linear.weight)
    images, maps = (torch.from_numpy(part) for part in scenes(4, 0))
    learner = SegmentationLearner()
    x = learner.to_model(images)
    assert model(x, None).shape == (4, 3, 4, 4)
    logits = logits_of(model, x, (SIDE, SIDE))
    expected = F.interpolate(model(x, None), scale_factor=4, mode="bilinear")
    assert torch.allclose(logits, expected)
    maps[:, :7] = 255
    kept = logits.permute(0, 2, 3, 1)[:, 7:].reshape(-1, 3)
    by_hand = F.cross_entropy(kept, maps[:, 7:].reshape(-1).long())
    assert learner.loss(model, x, maps, None).item() == pytest.approx(by_hand.item(), rel=1e-5)
    of_batches = learner.validation_loss(model, images, maps, batch_size=3, device=CPU, world=ALONE)
    assert of_batches == pytest.approx(by_hand.item(), rel=1e-5)
    assert learner.loss(model, x, torch.full_like(maps, 255), None).item() == 0


def test_maps_of_sixteen_bits_ignore_what_is_below_zero():
    model = create_model("DiT-XXS/4", **TINY)
    images, maps = (torch.from_numpy(part) for part in scenes(2, 0))
    x = SegmentationLearner().to_model(images)
    short = maps.to(torch.int16)
    short[:, :3], maps[:, :3] = -1, 255
    losses = [SegmentationLearner().loss(model, x, given, None).item() for given in (maps, short)]
    assert losses[0] == losses[1]


def test_maps_are_mirrored_with_their_images():
    data = as_trained_on(image_set(), "maps")
    index, mirror = torch.arange(8), torch.arange(8) % 2 == 0
    images, maps = data.read(index, mirror), data.read_targets(index, mirror)
    plain_images, plain_maps = data.read(index), data.read_targets(index)
    assert torch.equal(images[0], plain_images[0].flip(-1))
    assert torch.equal(maps[0], plain_maps[0].flip(-1))
    assert torch.equal(maps[1], plain_maps[1])
    for image, one in zip(images, maps, strict=True):  # the sun is yellow, wherever it is
        assert torch.equal(one == 2, (image[0] > 200) & (image[2] < 100))


class Watching(Learner):
    """Keeps what is given to the loss."""

    task = "segmentation"

    def __init__(self):
        self.inner, self.seen = SegmentationLearner(), []

    def to_model(self, images):
        return self.inner.to_model(images)

    def draw(self, shape, generator, *, labelled):
        return self.inner.draw(shape, generator, labelled=labelled)

    def loss(self, model, x, labels, draws):
        self.seen.append((x.clone(), labels.clone()))
        return self.inner.loss(model, x, labels, draws)

    def validation_loss(self, model, images, labels, **more):
        return self.inner.validation_loss(model, images, labels, **more)


def test_training_is_given_maps_that_are_mirrored_with_their_images():
    learner = Watching()
    config = SegmentationTraining(steps=4, batch_size=8, lr=1e-3)
    data = as_trained_on(image_set(), "maps")
    train(
        create_model("None-DiT-XXS/4", **TINY), data, config, learner=learner, device=CPU, precision="fp32", flip=True
    )
    assert len(learner.seen) == 4
    for x, maps in learner.seen:
        assert torch.equal(maps == 2, ((x[:, 0] + 1) * 127.5 > 200) & ((x[:, 2] + 1) * 127.5 < 100))


def test_what_is_trained_on_tells_maps_from_others():
    images, maps = scenes(4, 0)
    first = Images(torch.from_numpy(images), None, maps=torch.from_numpy(maps))
    other = Images(torch.from_numpy(images), None, maps=torch.from_numpy(maps[::-1].copy()))
    assert first.digest() != other.digest()


# ---- whole runs


def test_a_run_leaves_scores_lists_and_a_picture(tmp_path):
    write_scenes(tmp_path)
    results = tmp_path / "out"
    ran = pdebench_run("run", write_suite(tmp_path, families="DiT, None-DiT"), "--results", results)
    assert ran.returncode == 0, ran.stderr
    for record in records(results):
        folder = results / "cells" / record["cell"]
        assert 0 < record["miou"] < 1
        assert record["classes"] == record["segmented_classes"] == 3
        assert record["segmented_images"] == 8
        assert record["segmented_images_per_s"] > 0
        of_classes = json.loads((folder / "classes.json").read_text())
        assert of_classes["names"] == list(CLASSES)
        assert np.mean(of_classes["iou"]) == pytest.approx(record["miou"])
        assert sum(of_classes["pixels"]) == pytest.approx(1)
        shown = Image.open(folder / "segmented.png")
        assert shown.width > 6 * SIDE
    text = _text_of(results / "report.html")
    for told in ("Mean IoU", "Boundary F", "IoU of each class", *CLASSES, "image, true map, predicted map"):
        assert told in text
    assert not re.search(r"\b(sampl|generat|FID|Fréchet|noise|KID|top-1)", text)
    table = pd.read_csv(results / "table.csv")
    assert table["miou"].notna().all()


def _text_of(page):
    """What a reader sees of a report."""
    text = re.sub(r"<(script|style).*?</\1>", "", page.read_text(), flags=re.S)
    return re.sub(r"<[^>]+>", " ", text)


class Killed(Exception):
    """The machine went down."""


class UntilKilled(Snapshots):
    """Saves after every step, and does not live beyond one in the middle."""

    def save(self, step, state):
        super().save(step, state)
        if step == 5:
            raise Killed


def test_a_run_that_was_killed_goes_on_to_the_same_bits(tmp_path):
    write_scenes(tmp_path)
    random = ["train.rescale=[0.5, 2.0]", "train.stochastic_depth=0.2", "model.depth=2"]
    (cell,) = load_suite(write_suite(tmp_path, steps=12), random).cells()
    rows, weights = [], []
    for name in ("whole", "halves"):
        folder = tmp_path / name
        folder.mkdir()
        snapshots = UntilKilled(folder / "state", steps=1, cell=cell.id)
        if name == "halves":
            with pytest.raises(Killed):
                run_cell(cell, folder, snapshots=snapshots)
        rows.append(run_cell(cell, folder, snapshots=Snapshots(folder / "state", cell=cell.id)))
        weights.append(load_file(folder / "checkpoint.safetensors"))
    assert rows[1]["resumed_from_step"] == 5
    assert rows[1]["resumed_bit_exact"]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    for column in ("miou", "boundary_f", "pixel_accuracy", "val_loss", "train_loss", "data_checksum"):
        assert rows[0][column] == rows[1][column]


# ---- refusals


def test_data_without_maps_are_refused_before_anything_is_trained(tmp_path):
    suite = (
        write_suite(tmp_path)
        .read_text()
        .replace("name: masks, path: set, resolution: 16", "name: emoji, resolution: 32")
    )
    (tmp_path / "outlines.yaml").write_text(suite)
    ran = pdebench_run("run", tmp_path / "outlines.yaml", "--results", tmp_path / "out")
    assert ran.returncode == 2
    assert "data set 'emoji' has no maps of the classes of pixels, which the task segmentation learns" in ran.stderr


def test_values_that_are_no_classes_fail_the_cell_in_a_sentence_before_it_trains(tmp_path):
    write_scenes(tmp_path)
    (tmp_path / "set" / "classes.txt").write_text("sky\nground\n")
    ran = pdebench_run("run", write_suite(tmp_path), "--results", tmp_path / "out")
    assert ran.returncode == 4
    (record,) = records(tmp_path / "out")
    assert "has the value 2, and may have 0 to 1" in record["message"]
    assert "train_loss" not in record


def test_what_acts_by_a_time_is_refused(tmp_path):
    suite = write_suite(
        tmp_path, families="PDE-SSM-DiT", more="include: [{model.family: PDE-SSM-DiT, model.selective: true}]\n"
    )
    ran = pdebench_run("validate", suite)
    assert ran.returncode == 2
    assert "the task segmentation gives it neither" in ran.stderr


# ---- what a training begins with


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with scenes, and finished cells of two tasks on them."""
    folder = tmp_path_factory.mktemp("begun")
    write_scenes(folder)
    asked = "evaluate: {{batch_size: 3}}\n"
    generation = SUITE.replace("task: segmentation\n", "").replace(asked, "")
    generation = generation.replace("name: masks, path: set,", "name: folder, path: set/images,")
    classification = SUITE.replace("segmentation", "classification").replace(
        "masks, path: set,", "folder, path: kinds,"
    )
    for number in range(8):  # a class by each of two kinds of weather
        for split in ("train", "val"):
            path = folder / "kinds" / split / ("fair", "foul")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "set" / "images" / split / f"{number}.png", path)
    found = {}
    for task, text in (("generation", generation), ("classification", classification), ("segmentation", SUITE)):
        path = folder / f"{task}.yaml"
        path.write_text(text.format(steps=3, families="DiT, GFNet-DiT"))
        ran = pdebench_run("run", path, "--results", folder / task, report=False)
        assert ran.returncode == 0, ran.stderr
        found[task] = {
            record["model.family"]: folder / task / "cells" / record["cell"] / "checkpoint.safetensors"
            for record in records(folder / task)
        }
    return folder, found


@pytest.mark.parametrize("task", ["generation", "classification", "segmentation"])
def test_it_begins_with_the_weights_of_a_checkpoint(begun, task, tmp_path):
    folder, found = begun
    suite = folder / "outlines.yaml"
    suite.write_text(SUITE.format(steps=1, families="DiT").replace("lr: 4e-3", "lr: 1e-30, init: from.safetensors"))
    shutil.copy(found[task]["DiT"], folder / "from.safetensors")
    ran = pdebench_run("run", suite, "--results", tmp_path)
    assert ran.returncode == 0, ran.stderr
    (record,) = records(tmp_path)
    before = load_file(folder / "from.safetensors")
    after = load_file(tmp_path / "cells" / record["cell"] / "checkpoint.safetensors")
    taken = ["blocks.0.mixer.qkv.weight", "blocks.0.mlp.fc1.weight", "x_embedder.proj.weight"]
    assert all(torch.allclose(before[key], after[key]) for key in taken)
    said = record["initialised_from"]
    assert said.startswith(f"DiT-XXS/4, trained for {task}: ")
    if task == "generation":
        assert "as made at random: norms 6, head 2" in said
        assert said.endswith("not used of it: times 4, adaLN 4, head 2")
    elif task == "classification":
        assert said.endswith("as made at random: head 2; not used of it: head 2")
        assert torch.allclose(before["blocks.0.norm1.weight"], after["blocks.0.norm1.weight"])
    if task != "segmentation":
        assert after["final_layer.linear.weight"].abs().max() < 1e-20
    else:
        assert "random" not in said
        assert torch.allclose(before["final_layer.linear.weight"], after["final_layer.linear.weight"])


@pytest.mark.parametrize("task", ["generation", "classification"])
def test_other_tasks_begin_with_a_segmenter_too(begun, tmp_path, task):
    folder, found = begun
    suite = folder / "images.yaml"
    text = (folder / f"{task}.yaml").read_text().replace("DiT, GFNet-DiT", "DiT")
    suite.write_text(text.replace("lr: 4e-3", f"lr: 4e-3, init: {found['segmentation']['DiT']}"))
    ran = pdebench_run("run", suite, "--results", tmp_path)
    assert ran.returncode == 0, ran.stderr
    (record,) = records(tmp_path)
    assert "trained for segmentation" in record["initialised_from"]


def test_what_it_begins_with_is_part_of_what_a_cell_is_and_where_that_lies_is_not(begun, tmp_path):
    folder, found = begun
    ids = []
    shutil.copy(found["generation"]["DiT"], folder / "copy.safetensors")
    for path in (found["generation"]["DiT"], folder / "copy.safetensors", found["segmentation"]["DiT"], None):
        suite = folder / "outlines.yaml"
        suite.write_text(SUITE.format(steps=1, families="DiT").replace("lr: 4e-3", f"lr: 4e-3, init: {path or 'null'}"))
        (cell,) = load_suite(suite).cells()
        ids.append(cell.id)
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def other_family(folder, found):
    return found["generation"]["DiT"], "None-DiT", {}


def other_width(folder, found):
    return found["generation"]["DiT"], "DiT", {"width: 64": "width: 128"}


def other_patch(folder, found):
    return found["generation"]["DiT"], "DiT", {"patch: 4": "patch: 8"}


def not_there(folder, found):
    return folder / "nowhere.safetensors", "DiT", {}


def no_checkpoint(folder, found):
    (folder / "text.safetensors").write_text("weights")
    return folder / "text.safetensors", "DiT", {}


REFUSED = {
    other_family: "is a DiT-XXS/4 of family DiT, and this cell's None-DiT-XXS/4 has family None-DiT",
    other_width: "of width 64, and this cell's DiT-XXS/4 has width 128",
    other_patch: "of patch 4, and this cell's DiT-XXS/8 has patch 8",
    not_there: "train.init: there is no checkpoint",
    no_checkpoint: "is not a checkpoint of pdebench",
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.__name__)
def test_checkpoints_that_no_training_begins_with(begun, tmp_path, case):
    path, family, changes = case(*begun)
    text = SUITE.format(steps=1, families=family).replace("lr: 4e-3", f"lr: 4e-3, init: {path}")
    for old, new in changes.items():
        text = text.replace(old, new)
    (begun[0] / "refused.yaml").write_text(text)
    ran = pdebench_run("run", begun[0] / "refused.yaml", "--results", tmp_path)
    assert ran.returncode == 2, ran.stdout
    assert REFUSED[case] in ran.stderr


def test_mixers_of_which_nothing_fits_are_refused(begun, tmp_path):
    folder, found = begun
    text = SUITE.format(steps=1, families="GFNet-DiT").replace("resolution: 16", "resolution: 32")
    (folder / "refused.yaml").write_text(
        text.replace("lr: 4e-3", f"lr: 4e-3, init: {found['generation']['GFNet-DiT']}")
    )
    ran = pdebench_run("run", folder / "refused.yaml", "--results", tmp_path)
    assert ran.returncode == 4
    (record,) = records(tmp_path)
    assert "nothing of the mixers of" in record["message"]


@pytest.mark.parametrize("family", ["DiT", "PDE-SSM-DiT", "ZigMa"])
def test_costs_by_hand_are_those_counted(family):
    build = {**TINY, "out_channels": 150, "depth": 2, "width": 128}
    name = f"{family}-XXS/4"
    assert disagreement(name, build, *count_by_name(name, **build)) is None
