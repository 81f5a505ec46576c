"""A results folder of which only the table was kept: it is read back as its cells were, and rendered."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from test_report import section
from typer.testing import CliRunner

import pdebench
from pdebench.cli import app
from pdebench.errors import ResultsError
from pdebench.report.folders import load, named
from pdebench.report.frame import make_frame
from pdebench.report.html import make_page, render, sections
from pdebench.results.store import LEFT_OUT, REMARKS, read_results
from pdebench.results.tables import write_tables

ROOT = Path(__file__).parents[2]
COMMITTED = sorted(
    {
        str(Path(name).parent)
        for name in subprocess.run(
            ["git", "ls-files", "results/*/table.csv", "results/*/table.parquet"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        ).stdout.split()
    }
)  # fmt: skip
RENDERED = ["results/protocol"]  # the others with `-m exhaustive`: seconds each


def keep(tmp_path: Path, name: str) -> tuple[pd.DataFrame, Path]:
    """The results of a folder with cells, and the folder with its cells gone and one of its tables left."""
    frame = synthetic.results(families=("PDE-SSM-DiT", "DiT"), seeds=(0, 1, 2))
    frame.loc[0, "cell"] = "012345678901"  # which is a text, and no number
    frame["spatial_wrapped"] = 3e-151  # of a short diffusion
    lost = pd.DataFrame([synthetic.failed("DiT", 32, 7, "oom", "=needed 31 GiB,\nand 'more'")])
    folder = synthetic.write_folder(pd.concat([frame, lost], ignore_index=True), tmp_path / "kept")
    table, _ = write_tables(folder)
    shutil.rmtree(folder / "cells")
    for other in {"table.csv", "table.parquet", "curves.parquet", "plan.json"} - {name}:
        (folder / other).unlink()
    return table, folder


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_table_is_read_back_as_its_cells_were(name: str, tmp_path: Path) -> None:
    table, folder = keep(tmp_path, name)
    found = pdebench.load_results(folder)
    assert len(found.attrs[REMARKS]) == 1
    assert "were not kept" in found.attrs[REMARKS][0]
    found.attrs.clear()
    if name == "table.csv":  # in which an empty text and none are the same
        table["macs_uncounted"] = table["macs_uncounted"].replace("", pd.NA)
    pd.testing.assert_frame_equal(found, table)


def test_its_report_says_what_is_missing_and_leaves_the_table_alone(tmp_path: Path) -> None:
    _, folder = keep(tmp_path, "table.csv")
    before = (folder / "table.csv").read_bytes()
    said = CliRunner().invoke(app, ["report", str(folder), "--figures", "svg", "--json"], catch_exceptions=False)
    wrote = json.loads(said.stdout)
    assert wrote["cells"] == 7
    assert wrote["left_out"] == []
    assert "training curves, samples" in wrote["remarks"][0]
    page = (folder / "report.html").read_text()
    assert "were not kept" in page
    assert "PDE-SSM-DiT leads with 0.2119, then DiT 0.2242 (+5.8%). Over 3 seeds" in section(
        page, "findings"
    )  # as of its cells
    assert (folder / "table.csv").read_bytes() == before
    assert not (folder / "curves.parquet").exists()


def test_rows_that_are_none_are_left_out_and_named(tmp_path: Path) -> None:
    head = "suite,cell,status,finished_at,model.family,val_loss,train.steps\n"
    rows = ["s,aaaaaaaaaaaa,done,2026-01-01T00:00:00+00:00,DiT,0.5,10\n"]
    (tmp_path / "table.csv").write_text(head + rows[0] + rows[0].replace("0.5", "low").replace("aaaa", "bbbb"))
    found = read_results(tmp_path)
    assert list(found["val_loss"]) == [0.5]
    assert found.attrs[LEFT_OUT] == [f"row 2 of {tmp_path / 'table.csv'}: val_loss is 'low'"]
    assert (
        "is of an older pdebench and lacks columns of today, such as params, macs_forward: what"
        in found.attrs[REMARKS][1]
    )
    for text, why in (
        ("a,b\n1,2\n", "has no column cell"),
        (head, "has no row of a cell"),
        (head + "s,aaaaaaaaaaaa,done\n", "row 1 has 3 cells, where the header names 7 columns"),
        (head.replace("suite", "cell"), "has the column 'cell' twice"),
    ):
        (tmp_path / "table.csv").write_text(text)
        with pytest.raises(ResultsError, match=why):
            read_results(tmp_path)


@given(st.data())
def test_a_damaged_table_is_read_or_named_in_a_sentence(data: st.DataObject) -> None:
    head = "suite,cell,status,finished_at,model.family,train.betas,val_loss,train.steps,git_dirty\n"
    text = bytearray((head + 's,aaaaaaaaaaaa,done,2026-01-01T00:00:00+00:00,DiT,"0.9, 0.99",0.5,10,True\n').encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 9))] = data.draw(
            st.sampled_from([b",", b'"', b"\n", b"\0", b"1e999", b"nan", b"-" + b"9" * 50, b"\xff", b"'=", b"[]"])
        )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "table.csv").write_bytes(text)
        said = ""
        try:
            assert len(make_frame(read_results(Path(folder)))) == 1
        except ResultsError as error:
            said = str(error)
    assert "\n" not in said


def test_no_link_is_followed_to_a_table(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.csv").write_text("cell,status\n")
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "table.csv").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(ResultsError, match="has no records yet"):
        read_results(folder)


def test_a_report_of_several_folders_is_a_table_of_each_run_once(tmp_path: Path) -> None:
    frame = synthetic.results(families=("DiT",), seeds=(0, 1))[synthetic.FEW]
    first = synthetic.write_folder(frame, tmp_path / "first")
    second = synthetic.write_folder(frame.head(1).assign(val_loss=0.9), tmp_path / "second")
    out = tmp_path / "both"
    asked = ["report", str(first), str(second), "--out", str(out), "--figures", "svg"]
    CliRunner().invoke(app, asked, catch_exceptions=False)
    found = read_results(out)
    assert sorted(found["val_loss"]) == sorted(frame["val_loss"])
    assert any("1 row is of a run that an earlier row is of" in text for text in found.attrs[REMARKS])


@pytest.mark.skipif(not COMMITTED, reason="no git checkout")
@pytest.mark.parametrize("folder", COMMITTED)
def test_every_committed_table_is_read_whole(folder: str) -> None:
    found = read_results(ROOT / folder)
    text = pd.read_csv(ROOT / folder / "table.csv", dtype=str)
    assert LEFT_OUT not in found.attrs
    assert list(found["cell"]) == list(text["cell"])
    assert list(found["status"]) == list(text["status"])
    losses = pd.to_numeric(text["val_loss"]).tolist() if "val_loss" in text else []
    assert found["val_loss"].astype(float).tolist()[: len(losses)] == pytest.approx(losses, nan_ok=True, abs=0)
    assert (make_frame(found)["status"] == "done").sum() == (text["status"] == "done").sum()


@pytest.mark.parametrize(
    "folder", [pytest.param(name, marks=[] if name in RENDERED else pytest.mark.exhaustive) for name in COMMITTED]
)
def test_a_committed_folder_has_its_page(folder: str) -> None:
    sources = named([ROOT / folder])
    page = make_page(*load(sources), sources)
    html = render(page, sections(page))
    assert "were not kept" in html
    assert "Traceback" not in html
    for family in page.table["model.family"].unique():
        assert family in html
