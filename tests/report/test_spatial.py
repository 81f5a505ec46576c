"""The section on space: from a table and the cells' files to sentences, pictures and charts."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import vl_convert
from synthetic import row

from pdebench.measure.spatial.findings import SPATIAL, Survey
from pdebench.report.frame import make_frame
from pdebench.report.sections.spatial import SpatialSection, spatial_section

SIDE, LAYERS, RINGS = 16, 4, 9


def survey(reach: float, *, shift: float = 0.3, physics: bool = False, trained: bool = False) -> Survey:
    """A made-up survey whose fields are Gaussians of so many tokens; every number comes from a formula."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    field_map = np.exp(-np.hypot(x, y) / max(reach, 1e-9))
    field_map /= field_map.sum()
    locality = None if reach == 0 else 1 - reach / 6
    field = {"area_50": 1 + int(reach), "area_95": 1 + int(9 * reach), "own_share": 0.5, "length": reach}
    field |= {
        "reach": None if reach == 0 else 2 * reach,
        "locality": locality,
        "isotropy": 0.9,
        "axis": 0.0,
        "offset": (0.0, 0.0),
    }
    cycles = list(range(RINGS))
    gain = [float(np.exp(-reach * k / 40)) for k in cycles]
    frequency = {"cycles": cycles, "gain": gain, "phase": [0.1] * RINGS, "coherence": [1.0] * RINGS}
    learned = {name: [0.5 + trained, 1.0 + trained] for name in ("length", "drift", "decay", "elongation")}
    learned |= {"drift_angle": [0.0, 90.0], "resolved": 2, "channels": 2, "error": 1e-4}
    learned |= {f"median_{name}": 0.75 + trained for name in ("length", "drift", "decay")}
    mixers = [
        {
            "layer": layer,
            "lengths": [reach, reach, reach],
            "field": field,
            "field_map": field_map.tolist(),
            "impulse": field_map.tolist(),
            "impulse_share": 0.8,
            "frequency": {**frequency, "anisotropy": [0.0] * RINGS},
            "shift_error": shift,
            "physics": learned if physics else None,
        }
        for layer in range(LAYERS)
    ]
    network = {"field": field, "field_map": field_map.tolist(), "shift_error": 0.2 if trained else None}
    plain = {"grid": (SIDE, SIDE), "times": [0.1, 0.5, 0.9], "time": 0.5, "mixers": mixers, "network": network}
    return Survey.model_validate(plain)


REACH = {"PDE-SSM-DiT": 0.3, "DiT": 6.1, "Mamba-DiT": 0.9, "None-DiT": 0.0}


def folder_of(path: Path, seeds: int = 1) -> pd.DataFrame:
    """A results folder of four families, untrained and trained, and its table."""
    rows = []
    for family, reach in REACH.items():
        for steps in (0, 80):
            for seed in range(seeds):
                cell = f"{len(rows):012x}"
                extra = {"val_loss": None} if steps == 0 else {}
                rows.append(row(family, 32, seed, **{"cell": cell, "train.steps": steps, **extra}))
                grown = reach * (2 if steps else 1)
                shift = 1e-7 if family in ("PDE-SSM-DiT", "None-DiT") else 0.3
                found = survey(grown, shift=shift, physics=family == "PDE-SSM-DiT", trained=steps > 0)
                (path / "cells" / cell).mkdir(parents=True)
                (path / "cells" / cell / SPATIAL).write_text(found.model_dump_json())
    return make_frame(pd.DataFrame(rows))


def section_of(path: Path, table: pd.DataFrame) -> SpatialSection:
    made = spatial_section(table, {"": path})
    assert made is not None
    return made


def test_the_findings_say_who_is_local_and_who_is_not(tmp_path: Path) -> None:
    made = section_of(tmp_path, folder_of(tmp_path))
    told = " ".join(finding.claim for finding in made.findings)
    assert "No locality, tokens count alike near and far: DiT −0.02." in told
    assert "Near tokens count more: Mamba-DiT 0.85 and PDE-SSM-DiT 0.95." in told
    assert "Tokens see only themselves: None-DiT." in told
    assert "Shifted tokens give the shifted result, to rounding: PDE-SSM-DiT and None-DiT." in told
    assert "PDE-SSM-DiT 0.30 to 0.60" in told
    assert "Through all blocks" in told
    physics = [finding for finding in made.findings if "diffusion covers" in finding.claim]
    assert len(physics) == 2
    assert "agrees with it to 0.0001" in physics[0].basis


def test_every_run_has_a_line_and_a_picture_and_one_seed_is_shown(tmp_path: Path) -> None:
    table = folder_of(tmp_path, seeds=3)
    made = section_of(tmp_path, table)  # 24 cells
    assert [(line.who, line.state) for line in made.lines] == [
        (family, state) for state in ("untrained", "after 80 steps") for family in REACH
    ]
    assert all(len(line.values) == len(made.heads) for line in made.lines)
    assert [(maps.label, len(maps.maps)) for maps in made.maps] == [("untrained", 4), ("after 80 steps", 4)]
    assert all(one.uri.startswith("data:image/png;base64,") for maps in made.maps for one in maps.maps)
    size = len(json.dumps([figure.spec() for figure in made.figures])) + sum(
        len(m.uri) for r in made.maps for m in r.maps
    )
    assert size < 200_000


def test_the_charts_draw(tmp_path: Path) -> None:
    made = section_of(tmp_path, folder_of(tmp_path))
    names = [figure.name for figure in made.figures]
    assert len(names) == len(set(names)) == 11
    for figure in made.figures:
        drawn = vl_convert.vegalite_to_svg({**figure.spec(), "width": 400})
        assert drawn.count("<path") > 3
        assert figure.description.endswith((".", "it sharpens."))
    gain = next(figure for figure in made.figures if figure.name == "spatial-gain-untrained")
    assert {row["run"] for row in gain.rows} == set(REACH)
    assert all(row["y"] == 1 for row in gain.rows if row["x"] == 1)


def test_the_partial_shows_all_of_it(tmp_path: Path) -> None:
    made = section_of(tmp_path, folder_of(tmp_path))
    macros = (
        "{% macro chart(figure) %}[{{ figure.name }}]{% endmacro %}{% macro key() %}{% endmacro %}"
        "{% macro mark(name) %}{% endmacro %}{% macro told(finding) %}{{ finding.claim }}{% endmacro %}"
    )
    here = Path(__file__).parents[2] / "pdebench" / "report"
    loader = jinja2.ChoiceLoader([jinja2.DictLoader({"macros.html": macros}), jinja2.FileSystemLoader(here)])
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.get_template("sections/spatial.html").render(section=made)
    assert page.count("<img ") == 8
    assert all(f"[{figure.name}]" in page for figure in made.figures)
    assert "No locality" in page
    assert page.count('<th scope="row">') == 8


def test_without_surveys_there_is_no_section(tmp_path: Path) -> None:
    assert spatial_section(make_frame(pd.DataFrame([row("DiT", 32, 0)])), {"": tmp_path}) is None


def test_a_damaged_file_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    table = folder_of(tmp_path)
    (tmp_path / "cells" / f"{0:012x}" / SPATIAL).write_text('{"grid": "<script>"}')
    made = section_of(tmp_path, table)
    assert len(made.lines) == 7
    assert len(made.problems) == 1
    assert "is not a spatial survey" in made.problems[0]


def test_rows_of_several_folders_find_their_own_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    first, second = folder_of(one), folder_of(two)
    table = pd.concat([first.assign(folder="one"), second.assign(folder="two")], ignore_index=True)
    made = spatial_section(table, {"one": one, "two": two})
    assert made is not None
    assert not made.problems
