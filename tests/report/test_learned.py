"""The section on what was learned: from a table and the cells' files to sentences, a table and charts."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import vl_convert
from synthetic import row

from pdebench.errors import ResultsError
from pdebench.measure.probes import (
    PROBES,
    Counted,
    Probe,
    ProbedPlace,
    ProbeScores,
    Protocol,
    best,
    read_probes,
    write_probes,
)
from pdebench.report.frame import make_frame
from pdebench.report.html import render, sections
from pdebench.report.section import Page
from pdebench.report.sections.learned import LearnedSection, learned_section

ALL = 200
REACHED = {"PDE-SSM-DiT": 150, "DiT": 120, "None-DiT": 60}


def judged(hits: int, tuning: int = 10) -> ProbeScores:
    return ProbeScores(
        linear=Counted(hits=hits, trials=ALL), tuning=Counted(hits=tuning, trials=20), penalty=0.1, converged=True,
        neighbours=Counted(hits=hits - 10, trials=ALL),
    )  # fmt: skip


def probe(most: int, *, own: bool = True, times: tuple[float, ...] = (0.3, 0.9), weights: str = "w") -> Probe:
    """Made up: layer 1 of three is best at the last time, and on training images, layer 2 by luck on held-out ones."""

    def place(top: int, layer: int, time: float) -> ProbedPlace:
        hits = top - 10 * (layer == 0) + 2 * (layer == 2) - 20 * (time < 0.9)
        found = judged(hits, 10 + (layer == 1) + (time > 0.5))
        return ProbedPlace(**found.model_dump(), layer=layer, time=time)

    def places(top: int) -> tuple[ProbedPlace, ...]:
        return tuple(place(top, layer, time) for time in times for layer in range(3))

    protocol = Protocol(
        revision=1, weights=weights, training="t", held_out="h", training_images=1000, held_out_images=ALL,
        precision="fp32", seed=0, initial_seed=0,
    )  # fmt: skip
    return Probe(
        model="DiT-XXS/4", task="generation", data="emoji, 32 px", own_data=own, protocol=protocol, classes=4,
        unknown=0, largest=Counted(hits=60, trials=ALL), label_unknown=False, pixels=judged(130), trained=places(most),
        initial=places(50),
    )  # fmt: skip


def folder_of(path: Path, **how: bool) -> pd.DataFrame:
    rows = []
    for place, (family, most) in enumerate(REACHED.items()):
        for seed in (0, 1):
            cell = f"{2 * place + seed:012x}"
            rows.append(row(family, 32, seed, cell=cell))
            (path / "cells" / cell).mkdir(parents=True)
            write_probes(path / "cells" / cell / PROBES, [probe(most - seed, **how)])
    return make_frame(pd.DataFrame(rows))


def section_of(path: Path, table: pd.DataFrame) -> LearnedSection:
    made = learned_section(table, {"": path})
    assert made is not None
    return made


def render_page(path: Path, table: pd.DataFrame) -> str:
    page = Page(table, pd.DataFrame(columns=["folder", "cell", "step"]), {"": path})
    return render(page, sections(page))


def test_the_best_place_is_chosen_on_training_images() -> None:
    first = best(probe(150).trained)
    assert (first.layer, first.time, first.linear.hits) == (1, 0.9, 150)
    assert max(one.linear.hits for one in probe(150).trained) == 152


def test_every_family_has_a_line_and_what_is_no_better_than_pixels_is_said(tmp_path: Path) -> None:
    made = section_of(tmp_path, folder_of(tmp_path))
    assert [line.who for line in made.lines] == list(REACHED)
    assert all(len(line.values) == len(made.heads) for line in made.lines)
    values = made.lines[0].values
    assert [value for value, _ in values] == ["1", "0.9", "75.0%", "70.0%", "25.0%", "65.0%", "25.0%", "200"]
    assert values[2][1] == "68.6 to 80.5"  # Wilson's
    told = " ".join(finding.claim for finding in made.findings)
    assert "None-DiT 30.0% (layer 1, t = 0.9), DiT 60.0% (layer 1, t = 0.9) and PDE-SSM-DiT 75.0%" in told
    assert "No more than one of the pixels themselves, within the intervals: None-DiT, DiT and PDE-SSM-DiT." in told


def test_the_charts_draw(tmp_path: Path) -> None:
    made = section_of(tmp_path, folder_of(tmp_path))
    names = [figure.name for figure in made.figures]
    assert len(names) == len(set(names)) == 1 + len(REACHED)
    for figure in made.figures:
        drawn = vl_convert.vegalite_to_svg({**figure.spec(), "width": 400})
        assert drawn.count("<path") > 3
    (curve,) = made.curves
    assert {row["x"] for row in curve.rows} == {0, 1, 2}
    assert all(row["low"] < row["y"] < row["high"] for row in curve.rows)
    assert [row["told"] for row in made.maps[0].rows] == ["60.0", "65.0", "66.0", "70.0", "75.0", "76.0"]


def test_the_page_shows_all_of_it(tmp_path: Path) -> None:
    text = render_page(tmp_path, folder_of(tmp_path))
    assert 'id="learned"' in text
    assert text.count('id="chart-learned-') == 4
    assert "68.6 to 80.5" in text


def test_without_noise_there_is_one_level_and_no_time_is_told(tmp_path: Path) -> None:
    table = folder_of(tmp_path)
    for path in tmp_path.glob(f"cells/*/{PROBES}"):
        write_probes(path, [probe(150, times=(1.0,))])
    made = section_of(tmp_path, table)
    assert all(len(line.values) == len(made.heads) for line in made.lines)
    assert [line.values[1][0] for line in made.lines] == ["75.0%"] * 3  # behind the best layer stands the probe
    page = render_page(tmp_path, table)
    section = page[page.index('id="learned"') :].split("</section>")[0]
    for word in ("noise", "noised", "time", "t ="):
        assert word not in section
    assert not made.maps  # of one column each: the lines by layer have those numbers


def test_probes_of_other_images_are_not_shown(tmp_path: Path) -> None:
    assert learned_section(folder_of(tmp_path, own=False), {"": tmp_path}) is None
    assert learned_section(make_frame(pd.DataFrame([row("DiT", 32, 0)])), {"": tmp_path}) is None


def test_a_damaged_file_is_named_and_another_seed_is_shown(tmp_path: Path) -> None:
    table = folder_of(tmp_path)
    (tmp_path / "cells" / f"{0:012x}" / PROBES).write_text('{"probes": "<script>"}')
    made = section_of(tmp_path, table)
    assert len(made.problems) == 1
    assert "is not a file of probes" in made.problems[0]
    assert made.lines[0].values[2][0] == "74.5%"  # of the second seed


def test_a_file_never_grows_beyond_what_can_be_read(tmp_path: Path) -> None:
    large = probe(150, times=tuple(time / 1000 for time in range(1, 500)))
    write_probes(tmp_path / PROBES, [large, probe(120)])
    assert read_probes(tmp_path / PROBES) == [large, probe(120)]
    many = [large.model_copy(update={"model": str(place)}) for place in range(5)]
    write_probes(tmp_path / PROBES, many)
    kept = read_probes(tmp_path / PROBES)
    assert 1 <= len(kept) < len(many)
    assert kept == many[-len(kept) :]
    with pytest.raises(ResultsError, match="cannot hold so many"):
        write_probes(tmp_path / PROBES, [large.model_copy(update={"initial": large.trained * 9})])


@pytest.mark.parametrize(
    "changed",
    [
        {"classes": -1},
        {"trained": [{"layer": 0}]},
        {"largest": {"hits": 3, "trials": 2}},
        {"model": 5},
        {"more": 1},
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    path = tmp_path / PROBES
    path.write_text(json.dumps({"probes": [probe(150).model_dump(mode="json") | changed]}))
    with pytest.raises(ResultsError, match="is not a file of probes"):
        read_probes(path)
    write_probes(path, [probe(150)])
    assert read_probes(path) == [probe(150)]
    path.write_text(path.read_text().replace("150", "151"))
    with pytest.raises(ResultsError, match="is not a file of probes"):
        read_probes(path)  # its checksum is another
