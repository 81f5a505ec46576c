"""The command as a newcomer meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.models.registry import FAMILIES
from pdebench.models.sizes import SIZES


def pdebench(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"COLUMNS": "80", "PATH": "", "HOME": "/nonexistent"}
    return subprocess.run(
        [sys.executable, "-m", "pdebench", *arguments], capture_output=True, text=True, timeout=60, env=environment
    )


@pytest.mark.parametrize(
    "verb",
    [
        *(
            "run",
            "report",
            "validate",
            "schema",
            "list",
            "sample",
            "evaluate",
            "doctor",
            "plan",
            "status",
            "cancel",
            "worker",
        ),
        *("inspect", "probe", "fit", "regress", "baseline save", "anchors", "import"),
    ],
)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    shown = pdebench(*verb.split(), "--help")
    assert shown.returncode == 0
    _, _, examples = shown.stdout.partition("Example:")
    assert examples.split()[:1] == ["pdebench"]


@pytest.mark.parametrize("what", ["suites", "data", "metrics"])
def test_lists_fit_80_columns_and_have_json(what: str) -> None:
    shown = pdebench("list", what)
    assert shown.returncode == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert len(json.loads(pdebench("list", what, "--json").stdout)) >= 1


def test_published_results_fit_80_columns_and_are_chosen_by_family_resolution_and_metric() -> None:
    shown = pdebench("anchors")
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "XL/2   256   400K      1  DDPM 250   19.47" in shown.stdout
    assert "XL/2 256 px 400K: FID 19.47, elsewhere 18.1: the authors' PyTorch training" in " ".join(
        shown.stdout.split()
    )
    assert "ZigMa on FacesHQ" in shown.stdout
    few = json.loads(
        pdebench("anchors", "--family", "SiT", "--resolution", "512", "--metric", "is", "--json").stdout
    )  # all that is known
    assert [(one["name"], one["values"]["is"], one["steps"], one["params"]) for one in few] == [
        ("SiT-XL/2", 252.21, 3_000_000, 675.0)
    ]


def test_the_scores_of_one_metric_are_shown_alone() -> None:
    shown = pdebench("anchors", "--family", "SiT", "--metric", "fid").stdout
    assert "2.06" in shown
    assert "277.50" not in shown
    assert "270.27" not in shown  # what others have of another metric


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--family", "Dit"), "of family 'Dit' is kept; did you mean 'DiT'?"),
        (("--resolution", "300"), "of resolution '300' is kept; known: 256, 512, 1024"),
        (("--metric", "fud"), "of metric 'fud' is kept; did you mean 'fid'?"),
        (("--family", "SiT", "--resolution", "1024"), "of resolution '1024' is kept; known: 256, 512"),
    ],
)
def test_what_is_not_kept_of_published_results_is_said(option: tuple[str, ...], said: str) -> None:
    shown = pdebench("anchors", *option)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == f"error: no published result {said}\n"


@pytest.mark.parametrize(
    "sizes", [("XXS", "S"), pytest.param(tuple(SIZES), marks=pytest.mark.exhaustive)], ids=["two", "all"]
)
def test_the_models_are_listed_with_every_size_and_cost(
    sizes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdebench.models.sizes.SIZES", {size: SIZES[size] for size in sizes})
    rows = json.loads(
        CliRunner().invoke(app, ["list", "models", "--json"]).stdout
    )  # a process would import for seconds
    shown = {(row["family"], row["size"], row["resolution"]) for row in rows}
    assert shown == {(family, size, px) for family in FAMILIES for size in sizes for px in (256, 512)}
    assert all(row["params"] > 0 and row["macs"] > 0 for row in rows)


def test_validate_counts_cells() -> None:
    assert "is valid: 6 cells" in pdebench("validate", "quickstart").stdout
    assert len(json.loads(pdebench("validate", "quickstart", "--json").stdout)["cells"]) == 6


def test_quick_verbs_import_neither_torch_nor_pandas() -> None:
    script = (
        "import sys; from pdebench.cli import app\n"
        "try: app({arguments})\n"
        "except SystemExit: pass\n"
        "heavy = {{'torch', 'pandas', 'numpy', 'altair'}} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    for arguments in (
        ["--help"],
        ["validate", "quickstart"],
        ["list", "suites"],
        ["list", "data"],
        ["list", "metrics"],
        ["schema"],
        ["anchors"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", script.format(arguments=arguments)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr


def test_public_names() -> None:
    import pdebench as package

    assert package.__all__ == ["create_model", "load_results", "load_suite"]
    assert all(callable(getattr(package, name)) for name in package.__all__)


@pytest.mark.parametrize("path", ["~nobody_at_all/images", "x" * 5000])
def test_a_path_that_cannot_be_is_named(tmp_path: Path, path: str) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        f"suite: tiny\ndata: {{name: folder, path: {path}, resolution: 16}}\n"
        "model: {family: DiT, size: XXS, patch: 8}\ntrain: {steps: 1, batch_size: 4, lr: 1e-3}\n"
    )
    typed = [sys.executable, "-m", "pdebench"]
    out, long = tmp_path / "out", "x" * 300
    odd = ["status", "two\nlines"], ["validate", "two\nlines.yaml"]
    for verb in (["run", suite, "--results", out], ["status", long], ["run", suite, "--results", long], *odd):
        done = subprocess.run([*typed, *map(str, verb)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert len(done.stderr) < 1000
