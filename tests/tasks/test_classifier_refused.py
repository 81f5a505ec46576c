"""What a classifier cannot be trained on or with is refused in one sentence, before the first cell."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from classifier_cells import cell
from PIL import Image

from pdebench.data.packed.images import pack
from pdebench.data.registry import SOURCES
from pdebench.errors import DataError, SuiteError
from pdebench.run.preflight import preflight
from pdebench.suite.config import DataConfig
from pdebench.suite.load import load_suite
from pdebench.tasks.classification.task import CLASSIFICATION


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(
        "suite: wrong\n"
        "task: classification\n"
        "data: {name: digits, resolution: 8}\n"
        "model: {family: DiT, size: XXS, patch: 2}\n"
        "train: {steps: 1, batch_size: 8, lr: 1e-3}\n" + text
    )
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "train.label_dropout=.1",
            "is a key of the tasks generation and ddpm, and this is another task's suite; leave it",
        ),
        ("train.prediction=x", "is a key of the tasks generation and ddpm"),
        ("evaluate.nfe=50", "is a key of the tasks generation and ddpm"),
        ("evaluate.samples=5", "is a key of the tasks generation and ddpm"),
        ("train.smothing=.1", "did you mean 'smoothing'?"),
        ("train.smoothing=1", "must be a number of at least 0 and below 1, not 1"),
        ("train.crop=0", "must be a number above 0 and at most 1 or null, not 0"),
        ("train.randaugment=31", "must be a whole number of at least 0 and at most 30, not 31"),
        ("evaluate.resolutions=[9]", "data set 'digits' cannot give images of 9 px: take one of 16, 32"),
        ("evaluate.resolutions=[8, 8]", "8"),
    ],
)
def test_a_wrong_suite_is_one_sentence(change: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite(written(tmp_path, ""), [change])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grid: {train.mixup: [0, .8], train.batch_size: [7]}\n", "mixes images in pairs, and 7 images are taken at a"),
        ("grid: {model.family: [PDE-SSM-DiT], model.selective: [true]}\n", "gives it neither; leave it out"),
        (
            "evaluate: {resolutions: [16]}\ngrid: {model.family: [GFNet-DiT]}\n",
            "GFNet-DiT cannot be evaluated at 16 px: its weights are bound to the grid of 8 px",
        ),
        ("grid: {train.times: [uniform]}\n", "train.times"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite(written(tmp_path, text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_generation_suite_takes_no_keys_of_a_classifier(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.write_text(path.read_text().replace("task: classification", "task: generation"))
    with pytest.raises(SuiteError, match="is a key of the task classification, and this is another task's suite"):
        load_suite(path, ["train.mixup=.8"])


@pytest.mark.parametrize(
    ("data", "train", "says"),
    [
        (
            {"name": "photos", "resolution": 32},
            {},
            "data set 'photos' has no classes, and classification tells classes",
        ),
        (
            {"name": "latents", "resolution": 16, "classes": 3, "channels": 4},
            {"randaugment": 5},
            "holds images of 4 channels, and train.randaugment changes grey or RGB pictures: leave it out",
        ),
    ],
)
def test_data_that_cannot_serve_are_refused_before_training(
    data: dict[str, object], train: dict[str, object], says: str, tmp_path: Path
) -> None:
    asked = cell(data=data, train=train)
    classes = asked.data.classes or SOURCES[asked.data.name].class_count(asked.data)
    with pytest.raises(DataError, match=says):
        CLASSIFICATION.check(SOURCES[asked.data.name], asked.data, classes, asked.train, asked.evaluate)


def test_a_set_without_classes_is_refused_before_the_first_cell(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(30):
        Image.new("RGB", (8, 8), (8 * i, 0, 0)).save(pictures / f"{i}.png")
    with pytest.raises(DataError, match="data set 'folder' has no classes"):
        preflight([cell(data={"name": "folder", "path": str(pictures)})], tmp_path)
    shutil.rmtree(pictures)


def pictures_of(folder: Path, counts: dict[str, int]) -> Path:
    """So many pictures in each sub-folder."""
    for place, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (8 * number, 20 * place, 0)).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        (
            {"a": 30, "b": 30, "rare": 1},
            "class 'rare' has one sample, which can be trained on or held out, and not both",
        ),
        ({"a": 30, "b": 1, "c": 1}, "2 of 3 classes have one sample, .*: 'b', 'c'; classification needs both"),
    ],
)
def test_a_class_of_which_nothing_can_be_learned_and_tested_is_refused_before_the_first_cell(
    counts: dict[str, int], says: str, tmp_path: Path
) -> None:
    pictures = pictures_of(tmp_path / "pictures", counts)
    asked = cell(data={"name": "folder", "path": str(pictures)})
    with pytest.raises(DataError, match=says) as error:
        preflight([asked], tmp_path)
    assert "\n" not in str(error.value)


def test_a_class_whose_owner_holds_none_out_is_taken(tmp_path: Path) -> None:
    pictures = pictures_of(tmp_path / "pictures", {"train/a": 9, "val/a": 3, "train/b": 2})
    preflight([cell(data={"name": "folder", "path": str(pictures)})], tmp_path)


def shard_of(path: Path, labels: list[int]) -> None:
    with tarfile.open(path, "w") as archive:
        for number, label in enumerate(labels):
            stream = io.BytesIO()
            Image.new("RGB", (8, 8), (4 * number, 0, 0)).save(stream, "PNG")
            for name, content in ((f"{number}.png", stream.getvalue()), (f"{number}.cls", b"%d" % label)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def test_a_class_that_is_held_out_alone_is_refused_before_the_first_cell(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    shard_of(tmp_path / "set" / "train.tar", [0, 0, 1, 1])
    shard_of(tmp_path / "set" / "val.tar", [0, 1, 2, 2])
    with pytest.raises(DataError, match="class '2' has nothing to train on, only what is held out"):
        preflight([cell(data={"name": "shards", "path": str(tmp_path / "set")})], tmp_path)


@pytest.mark.parametrize("kind", ["clips", "shards", "packed"])
def test_every_set_that_knows_its_classes_before_says_so(kind: str, tmp_path: Path) -> None:
    pictures = tmp_path / "set"
    if kind == "clips":
        for name, count in {"a": 30, "b": 30, "rare": 1}.items():
            pictures_of(pictures / name, {str(number): 2 for number in range(count)})
    else:
        pictures.mkdir()
        shard_of(pictures / "all.tar", [number // 30 for number in range(61)])
    data = {"name": "shards" if kind == "packed" else kind, "path": str(pictures), "resolution": 8}
    data |= {"frames": 2} if kind == "clips" else {}
    if kind == "packed":
        pack(DataConfig(**data), tmp_path / "packed", 1, lambda done, total: None)
        data |= {"name": kind, "path": str(tmp_path / "packed")}
    sizes = SOURCES[kind].class_sizes(DataConfig(**data))
    assert sizes is not None
    assert sum(sizes.values()) == 61
    with pytest.raises(DataError, match=r"class '(rare|2)' has one sample"):
        CLASSIFICATION.check(SOURCES[kind], DataConfig(**data), 3, cell().train, cell().evaluate)
