"""What a newcomer gets wrong: each verb says in one sentence what, where and what to do, and ends with 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pdebench.cli import main

TABLE = "params;images;loss\n" + "".join(f"{n}00000;{n}00000;0,{n}\n" for n in range(1, 9)) + ";;Average\n"
STUDY = """\
suite: study
data: {name: folder, path: brids, resolution: 32}
model: {family: DiT, size: XXS, patch: 8}
train: {steps: 2, batch_size: 4, lr: 1e-3}
"""


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("run nosuch", "there is no suite of the name 'nosuch'; `pdebench list suites` lists them"),
        ("validate quikstart", "there is no suite of the name 'quikstart'; did you mean 'quickstart'?"),
        ("run quickstart --set nonsense", "--set nonsense: must be KEY=VALUE, such as train.lr=1e-4"),
        ("status nosuch", "there is no folder nosuch: pass a results folder, such as runs/quickstart"),
        ("cancel nosuch", "there is no folder nosuch: pass a results folder, such as runs/quickstart"),
        ("report nosuch", "there is no results folder nosuch"),
        ("compare nosuch other", "nosuch is not there: give a results folder"),
        ("worker nosuch", "nosuch is not a cell's folder: pass RESULTS/cells/ID"),
        ("sample nosuch", "cannot read the checkpoint nosuch: No such file or directory"),
        (
            "sample study.yaml",
            "study.yaml is not a checkpoint of pdebench but a suite, or part of one: name a cell's, ",
        ),
        ("sample study.yaml", "such as runs/study/cells/*/checkpoint.safetensors"),
        ("sample done", "but a results folder: name a cell's, such as done/cells/*/checkpoint.safetensors"),
        ("inspect done", "but a results folder: name a cell's, such as done/cells/*/checkpoint.safetensors"),
        ("sample done/cells/a", "but a cell's folder: name a cell's, such as done/cells/a/checkpoint.safetensors"),
        ("sample birds", "but a folder: name a cell's, such as runs/NAME/cells/*/checkpoint.safetensors"),
        ("run study.yaml", "study.yaml:2: data.path: there is no folder"),
        ("run study.yaml --set data.name=nosuch", "--set data.name=nosuch: data.name: unknown"),
        ("validate study.yaml", "study.yaml:2: data.path: there is no folder"),
        ("probe nosuch", "there is no nosuch: name a checkpoint, or a folder of results"),
        ("evaluate nosuch", "there is no nosuch: name a results folder, a checkpoint"),
        ("inspect", "inspect takes a CHECKPOINT, or --model such as PDE-SSM-DiT-S/2: give one of them"),
        ("fit nosuch.csv", "there is no table nosuch.csv; give a CSV, a Parquet file or a results folder"),
        (
            "fit runs.csv --n params --d images --loss loss",
            "runs.csv, line 10, column 'loss': 'Average' is no number",
        ),
        ("regress quickstart", "pass either --against REV or --baseline FILE"),
        ("anchors --family Foo", "no published result of family 'Foo' is kept; known: DiCo, DiG"),
        ("list models --shell foo", "--shell: there is no shell 'foo'; known: dit, lightning, uvit"),
        (
            "data stats nosuch",
            "nosuch: there is no such folder of images, packed set, suite or suite's file, and no data set of that "
            "name; see `pdebench data list` and `pdebench list suites`",
        ),
        ("data stats brids --resolution 32", "and no data set of that name; did you mean 'birds'?"),
        ("data stats ./brids --resolution 32", "./brids: there is no such folder of images, packed set, suite or "),
        ("data stats ./brids --resolution 32", "did you mean './birds'?"),
        ("data pack quikstart --out packed", "did you mean 'quickstart'?"),
        ("data show digit --resolution 32", "did you mean 'digits'?"),
        ("evaluate birds --reference brids --resolution 32 --metrics fid", "brids: there is no such folder of images"),
        (
            "data stats birds --resolution 32 --set frames=big",
            "data.frames: must be a whole number above 0 or null, not 'big'",
        ),
        ("data stats digits", "digits: say the side of the images with --resolution"),
        ("data stats digits --resolution 9", "data set 'digits' has no images of 9 px"),
        ("doctor --evaluation a b", "a is not there; give the path of a .npz file"),
    ],
)
def test_one_sentence_and_no_traceback(
    typed: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pdebench", *typed.split()])
    Path("runs.csv").write_text(TABLE)
    Path("birds").mkdir()
    Path("done/cells/a").mkdir(parents=True)
    Path("done/cells/a/checkpoint.safetensors").touch()
    Path("study.yaml").write_text(STUDY)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("data stats birds --resolution big", "'--resolution': must be a whole number of at least 1, not 'big'"),
        ("data stats birds --resolution=0", "'--resolution': must be a whole number of at least 1, not '0'"),
        ("sample a.safetensors --guidance much", "'--guidance': must be a number of at least 0, not 'much'"),
        ("sample a.safetensors --seed 1.5", "'--seed': must be a whole number, not '1.5'"),
        ("fit runs.csv --predict 1e18 --predict more", "'--predict': must be a number of at least 1"),
        ("sample a.safetensors --guidance-interval 0.1 high", "'--guidance-interval': must be a number"),
    ],
)
def test_a_number_that_is_none_is_told_as_a_suites_is(
    typed: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["pdebench", *typed.split()])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert said in capsys.readouterr().err
