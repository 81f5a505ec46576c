"""A report is written beside files of its user: none of them is replaced or removed, and no link is written through."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import synthetic

from pdebench.errors import ResultsError
from pdebench.files.manifest import MANIFEST, Manifest
from pdebench.report.build import build_report, write_base
from pdebench.report.charts import FEWEST_POINTS
from pdebench.results.store import PUBLISHED, Results
from pdebench.suite.load import load_suite

ROOT = ("table.csv", "table.parquet", "curves.parquet", "report.html")


def results(folder: Path, cells: int = 1) -> Path:
    """A results folder with few cells, whose report has few charts."""
    made = synthetic.results(families=("DiT",), resolutions=(32,), seeds=tuple(range(cells)))
    return synthetic.write_folder(made[synthetic.FEW], folder)


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder with what it holds, every link with what it names."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A results folder, and a folder that a report of it was written to."""
    folder = tmp_path_factory.mktemp("reported")
    source = results(folder / "of", cells=FEWEST_POINTS)
    build_report([source], folder / "out")
    return source, folder / "out"


@pytest.fixture
def out(reported: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of that report."""
    return shutil.copytree(reported[1], tmp_path / "out")


@pytest.fixture
def source(reported: tuple[Path, Path]) -> Path:
    return reported[0]


def test_pictures_and_tables_of_the_user_stay(source: Path, tmp_path: Path) -> None:
    """What has no name of ours has nothing to do with us, whatever its suffix."""
    for name in ("figures/mine.png", "figures/mine.pdf", "figures/a.svg", "tables/README.md", "tables/own.tex"):
        path = tmp_path / "report" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("the user's")
    before = contents(tmp_path)
    build_report([source], tmp_path)
    build_report([source], tmp_path)
    assert contents(tmp_path).items() >= before.items()


@pytest.mark.parametrize(
    "place", ["table.csv", "curves.parquet", "report.html", "report/tables/cells.md", "report/figures/*.svg"]
)
def test_a_file_of_the_users_that_has_a_name_of_ours_is_not_replaced(
    source: Path, out: Path, tmp_path: Path, place: str
) -> None:
    """Neither where there was no report, nor where the user changed what we wrote; nothing is written then."""
    (there,) = list(out.glob(place))[:1]
    name = there.relative_to(out)
    for target in (out, tmp_path / "fresh"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("the user's")
        before = contents(target)
        with pytest.raises(ResultsError, match=f"{name} is not as pdebench wrote it"):
            build_report([source], target)
        assert contents(target).items() - {(MANIFEST, b"")} == before.items()


@pytest.mark.parametrize("place", ["report", "report/figures", "table.csv", "report.html", "report/tables/cells.md"])
@pytest.mark.parametrize("kind", ["to something", "to nothing"])
def test_no_link_is_written_through(source: Path, out: Path, tmp_path: Path, place: str, kind: str) -> None:
    far = tmp_path / "far"
    far.mkdir()
    if kind == "to something":
        shutil.move(out / place, far / "it")
        (far / "README.md").write_text("the user's")
    else:
        shutil.rmtree(out / place) if (out / place).is_dir() else (out / place).unlink()
    (out / place).symlink_to(far / "it")
    before = contents(tmp_path)
    with pytest.raises(ResultsError, match=f"{place} is a link"):
        build_report([source], out)
    assert contents(tmp_path) == before


def test_a_folder_that_is_a_link_is_the_users_choice(source: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to("far")
    build_report([source], tmp_path / "near")
    build_report([source], tmp_path / "near")
    assert (tmp_path / "far" / "report.html").is_file()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
@pytest.mark.parametrize("place", ["report.html", "report/figures", MANIFEST])
def test_what_is_no_file_in_the_place_of_one_is_refused(
    source: Path, tmp_path: Path, place: str, make: Callable[[Path], None]
) -> None:
    if (make, place) == (Path.mkdir, "report/figures"):
        pytest.skip("is one")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    make(tmp_path / place)
    with pytest.raises(ResultsError, match=Path(place).name):
        build_report([source], tmp_path)


def test_figures_of_an_earlier_report_go_unless_they_were_changed(source: Path, out: Path) -> None:
    (old, changed) = sorted((out / "report" / "figures").glob("*.pdf"))[:2]
    changed.write_text("retouched")
    linked = old.with_name("linked.pdf")
    linked.symlink_to(old.name)
    build_report([source], out, ("svg",))
    left = {path.name for path in (out / "report" / "figures").glob("*.pdf")}
    assert left == {changed.name, linked.name}
    assert changed.read_text() == "retouched"


def test_a_report_is_written_anew_as_cells_come(tmp_path: Path) -> None:
    """Also where a kill fell between what the manifest says and the file, and beside another run."""
    source = results(tmp_path / "of", cells=2)
    first, second = results(tmp_path / "one"), source
    out = tmp_path / "out"
    write_base([first], out)
    early = contents(out)
    write_base([second], out)
    (out / "table.csv").write_bytes(bytes(early["table.csv"]))  # type: ignore[arg-type]
    with (out / MANIFEST).open("a") as file:
        file.write("0123456789abcdef")  # cut short
    write_base([second], out)
    write_base([first], out)
    assert {name: contents(out)[name] for name in ROOT} == {name: early[name] for name in ROOT}


def test_a_folder_of_an_older_version_goes_on(source: Path, out: Path) -> None:
    """It has no manifest: what we write anew is replaced; what we do not is left, whosesoever it is."""
    (out / MANIFEST).unlink()
    (out / "report" / "figures" / "mine.png").write_bytes(b"\x89PNG")
    for path in (out / "report.html", out / "table.csv"):
        path.write_bytes(path.read_bytes() + b"\n")  # as another version wrote it
    before = contents(out)
    build_report([source], out, ("svg",))
    after = contents(out)
    assert set(before) < set(after)
    assert after["report/figures/mine.png"] == b"\x89PNG"
    assert after["table.csv"] != before["table.csv"]


COMMENTED = """\
suite: own  # my first
task: generation
data: {name: photos, resolution: 32}
model: {family: DiT, size: XXS, patch: 8}
train: {steps: 3, batch_size: 4, lr: 1e-3}
evaluate: {}
"""


@pytest.mark.parametrize("name", ["suite.yaml", "plan.json"])
@pytest.mark.parametrize("text", [COMMENTED, COMMENTED.replace("  # my first", ""), "[]\n", ""])
def test_a_suite_of_the_users_in_the_results_folder_stays(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ResultsError, match=rf"{name} is not as pdebench wrote it.*move it away"):
        Results(tmp_path).make(load_suite("quickstart").to_yaml(), ["0" * 12])
    assert (tmp_path / name).read_text() == text


def test_a_suite_that_the_user_changed_stays(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.make(load_suite("quickstart").to_yaml(), ["0" * 12])
    results.make(load_suite("quickstart", ["train.weight_decay=0.1"]).to_yaml(), ["1" * 12])
    changed = f"# what I tried\n{(tmp_path / 'suite.yaml').read_text()}"
    (tmp_path / "suite.yaml").write_text(changed)
    with pytest.raises(ResultsError, match=r"suite\.yaml is not as pdebench wrote it"):
        results.make(load_suite("quickstart").to_yaml(), ["0" * 12])
    assert (tmp_path / "suite.yaml").read_text() == changed


COMMITTED = sorted((Path(__file__).parents[2] / "results").glob("*/suite.yaml"))


@pytest.mark.parametrize("file", COMMITTED, ids=[file.parent.name for file in COMMITTED])
def test_a_results_folder_of_an_older_version_is_run_into(tmp_path: Path, file: Path) -> None:
    for name in ("suite.yaml", "table.csv", "machine.json"):
        shutil.copy(file.with_name(name), tmp_path)
    results = Results(tmp_path)
    results.make(load_suite("quickstart").to_yaml(), ["0" * 12])
    Manifest(tmp_path).refuse_foreign(PUBLISHED)
