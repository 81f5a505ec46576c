"""The verb's work on folders on a disk: several in one report, files for papers, a page that follows a sweep."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import synthetic
from test_report import section
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.errors import ResultsError
from pdebench.report import follow as following
from pdebench.report.build import Built, write_base
from pdebench.report.follow import follow
from pdebench.report.frame import make_frame
from pdebench.report.papers import paper_tables

NAME = "PDE-SSM-DiT"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders: the second ran one of the first's cells again, slower, and lost another family's."""
    root = tmp_path_factory.mktemp("several")
    first = synthetic.results(families=(NAME, "DiT"), seeds=(0, 1, 2))
    again = first.head(1).assign(val_loss=0.9, finished_at="2026-02-01T00:00:00+00:00", git_commit="abc" * 13 + "d")
    bad = pd.DataFrame([synthetic.failed("Mamba-DiT", 32, 0, "oom", "needed 31 GiB_50%")])
    second = pd.concat([again, synthetic.results(families=("None-DiT",), resolutions=(64,), seeds=(0,)), bad])
    return synthetic.write_folder(first, root / "first"), synthetic.write_folder(second, root / "second")


@pytest.fixture(scope="module")
def built(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Built:
    out = tmp_path_factory.mktemp("out") / "both"
    asked = ["report", *map(str, folders), "--out", str(out), "--json", "--figures", "svg,pdf,png"]
    said = CliRunner().invoke(app, asked, catch_exceptions=False)
    wrote = json.loads(said.output)
    return Built(Path(wrote["report"]), wrote["cells"], *([*map(Path, wrote[name])] for name in ("figures", "tables")))


def test_a_cell_of_two_folders_counts_once_and_stands_in_the_table_twice(
    built: Built, folders: tuple[Path, Path]
) -> None:
    html = built.page.read_text()
    assert built.cells == 9
    findings, provenance = section(html, "findings"), section(html, "provenance")
    assert "At 32 px: PDE-SSM-DiT leads with 0.2119, then DiT 0.2242 (+5.8%). Over 3 seeds" in findings  # not the 0.9
    assert "1 of the cells have run in an earlier folder too" in provenance
    frame = pd.read_parquet(built.page.parent / "table.parquet")
    cell = synthetic.row(NAME, 32, 0)["cell"]
    assert list(frame.loc[frame["cell"] == cell, "folder"]) == ["first", "second"]
    turned, _, _ = write_base(folders[::-1], built.page.parent.parent / "turned")
    highest = paper_tables(turned.table)[0].frame["val_loss_high"]
    assert highest.max() == 0.9  # which now is the one that counts


def test_pictures_and_curves_are_those_of_a_rows_own_folder(built: Built, folders: tuple[Path, Path]) -> None:
    html = built.page.read_text()
    assert html.count("data:image/webp;base64,") == 3
    charts = json.loads(html.split('id="specs">')[1].split("</script>")[0])["charts"]
    drawn = {row["cell"] for row in charts["loss-curves"]["data"]["values"]}
    assert len(drawn) == 7
    assert f"second/{synthetic.row('None-DiT', 64, 0)['cell']}" in drawn


def test_provenance_names_folders_commits_and_suites(built: Built) -> None:
    text = section(built.page.read_text(), "provenance")
    assert re.search(r"first suite synthetic cells 6 of 6 finished finished 2026-01-01 00:00 to .* UTC", text)
    assert "second suite synthetic cells 2 of 3 finished" in text
    assert "000000000000 and abcabcabcabc" in text
    assert "grid: {model.family: [PDE-SSM-DiT, DiT]}" in text


def test_every_chart_of_the_page_is_a_file_of_each_kind_with_its_families(built: Built) -> None:
    html = built.page.read_text()
    names = set(re.findall(r'id="chart-([^"]+)"', html)) - {"loss-curves"}
    files = {path.name for path in built.figures}
    menu = {"loss-curves-32-px", "loss-curves-64-px"}  # paper has no menus
    assert files == {f"{name}{suffix}" for name in names | menu for suffix in (".svg", ".pdf", ".png")}
    for path in built.figures:
        content = path.read_bytes()
        if path.suffix == ".svg":
            texts = {node.text for node in ElementTree.fromstring(content).iter() if node.text}
            assert "DiT" in texts
            assert "#0067b1" in content.decode()
        elif path.suffix == ".png":
            assert content.startswith(b"\x89PNG")
            assert struct.unpack(">I", content[16:20])[0] > 800  # pixels wide
        else:
            assert content.startswith(b"%PDF")


def test_tables_say_the_same_in_every_form(built: Built) -> None:
    files = {path.name: path for path in built.tables}
    assert set(files) == {
        f"{name}{suffix}" for name in ("families", "cells") for suffix in (".csv", ".parquet", ".md", ".tex")
    }
    frame = pd.read_parquet(files["families.parquet"])
    pd.testing.assert_frame_equal(frame, pd.read_csv(files["families.csv"]).fillna({"setting": ""}), check_dtype=False)
    ours = frame[(frame["family"] == NAME) & (frame["comparison"] == "32 px")]
    assert ours["val_loss_median"].item() == pytest.approx(0.21193, abs=1e-4)
    for suffix in (".md", ".tex"):
        text = files[f"families{suffix}"].read_text()
        assert "0.2119 (" in text
        assert sum(NAME in line for line in text.splitlines()) == len(frame[frame["family"] == NAME])
    assert r"\textbf{0.2119 (" in files["families.tex"].read_text()
    assert len(pd.read_csv(files["cells.csv"])) == 9


def test_an_ablation_is_a_table_with_its_intervals() -> None:
    frame = synthetic.ablation(references=("DiT",))
    (one,) = (one for one in paper_tables(make_frame(frame)) if one.name.startswith("ablation"))
    table = one.frame.set_index("setting")
    row = table.loc["no convection"]
    assert row["low"] < row["difference"] < row["high"]
    assert table["difference"].isna().sum() == 1  # of the plain one from itself
    assert "no convection & 0.4" in one.contents()[".tex"].decode()


def test_what_cannot_be_one_report_is_refused_in_a_sentence(folders: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = map(str, folders)
    for arguments, said in (
        ([first, second], "give it with --out FOLDER"),
        ([first, first, "--out", str(tmp_path)], "is given twice"),
        ([first, second, "--out", first], "is one of the results folders"),
        ([first, "--out", str(tmp_path / "page.html")], "give a folder"),
        ([first, "--figures", "svg,pgn"], "there is no format 'pgn'; did you mean 'png'?"),
        ([first, str(tmp_path / "nowhere"), "--out", str(tmp_path)], "there is no results folder"),
    ):
        with pytest.raises(ResultsError, match=re.escape(said)):
            CliRunner().invoke(app, ["report", *arguments], catch_exceptions=False)


def test_watching_redraws_with_each_record_and_ends_with_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = synthetic.results(families=(NAME, "DiT"), seeds=(0,))[synthetic.FEW]
    folder = synthetic.write_folder(cells.head(0), tmp_path, tuple(cells["cell"]))
    page, said, seen = folder / "report.html", [], []
    coming = cells.to_dict("records")

    def wait(_: float) -> None:
        seen.append(page.read_text() if page.exists() else None)
        synthetic.write_record(coming.pop(0), folder)

    monkeypatch.setattr(following.time, "sleep", wait)
    built = follow([folder], None, ("svg",), said.append)
    assert [text.split(":")[0] for text in said] == ["0 of 2 cells have ended", "1 of 2 cells have ended"]
    assert seen[0] is None
    assert 'http-equiv="refresh"' in seen[1]
    assert "1 of 2 cells have ended." in seen[1]
    assert "refresh" not in page.read_text().split("<style>")[0]
    assert built.cells == 2
    assert built.tables


def test_a_watch_that_is_ended_by_hand_leaves_a_page_that_does_not_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = synthetic.results(families=(NAME,), seeds=(0,))[synthetic.FEW]
    folder = synthetic.write_folder(cells, tmp_path, ("0" * 12,))

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(following.time, "sleep", stop)
    said: list[str] = []
    assert follow([folder], None, ("svg",), said.append).cells == 1
    assert said[-1] == "no longer watching"
    assert "refresh" not in (folder / "report.html").read_text().split("<style>")[0]
