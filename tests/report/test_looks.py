"""What families look like: the built-in ones always the same, no two of a chart alike."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from pdebench.errors import ModelError
from pdebench.models.registry import FAMILIES
from pdebench.report import palette
from pdebench.report.drawings import figure_files
from pdebench.report.frame import FAMILIES as BUILT_IN
from pdebench.report.frame import family_order, make_frame
from pdebench.report.html import write_report
from pdebench.report.looks import looks_of
from pdebench.report.sections.quality import quality_figures


def looks(*names: str) -> dict[str, tuple[str, str]]:
    """The colour on white and the shape of families of other packages."""
    order = [*BUILT_IN, *sorted(names)]
    return {name: (look.light, look.shape) for name, look in zip(order, looks_of(order), strict=True)}


def test_the_built_in_families_keep_their_colours_and_shapes_whoever_comes_along() -> None:
    assert len(BUILT_IN) == palette.BUILT_IN
    assert len(set(palette.LIGHT)) == len(palette.LIGHT) == len(palette.DARK) == len(set(palette.SHAPES))
    found = looks("Own-DiT")
    assert [found[name] for name in BUILT_IN] == list(
        zip(palette.LIGHT[: palette.BUILT_IN], palette.SHAPES[: palette.BUILT_IN], strict=True)
    )
    assert found["PDE-SSM-DiT"][0] == "#0067b1"


@pytest.mark.parametrize("count", [1, 9, 40])
def test_no_two_families_look_the_same(count: int) -> None:
    names = [f"Own{number}-DiT" for number in range(count)]
    found = looks(*names)
    own = [found[name] for name in names]
    assert len(set(own)) == count
    assert {colour for colour, _ in own}.isdisjoint(palette.LIGHT[: palette.BUILT_IN])
    assert {shape for _, shape in own}.isdisjoint(palette.SHAPES[: palette.BUILT_IN])
    assert len({colour for colour, _ in own}) == min(count, len(palette.LIGHT) - palette.BUILT_IN)


def test_a_family_looks_the_same_in_every_table_that_has_room() -> None:
    alone, other = looks("Own-DiT")["Own-DiT"], looks("Own1-DiT")["Own1-DiT"]
    assert alone != other
    assert looks("Own-DiT", "Own1-DiT")["Own-DiT"] == alone


def test_a_family_brings_a_colour_and_a_mark_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = looks("Plain-DiT")["Plain-DiT"][0]
    for name in ("Bold-DiT", "Brave-DiT"):
        family = replace(FAMILIES["DiT"], name=name, colour=taken, mark="M-1,-1H1L0,1Z")
        monkeypatch.setitem(FAMILIES.built_in, name, family)
    found = looks("Bold-DiT", "Brave-DiT", "Plain-DiT")
    assert found["Bold-DiT"] == (taken, "M-1,-1H1L0,1Z")
    assert found["Brave-DiT"][0] == taken
    assert found["Brave-DiT"][1] != "M-1,-1H1L0,1Z"
    assert found["Plain-DiT"][0] != taken


@pytest.mark.parametrize("wrong", [{"colour": "red"}, {"colour": "#12345g"}, {"mark": "star"}, {"mark": 'M0,0"/>'}])
def test_what_is_no_colour_or_mark_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=rf"family DiT: {next(iter(wrong))} must be"):
        replace(FAMILIES["DiT"], **wrong)


def test_the_page_and_the_files_draw_them_so(tmp_path: Path) -> None:
    names = [f"Own{number}-DiT" for number in range(3)]
    frame = pd.concat([synthetic.results()] + [synthetic.results(families=(name,)) for name in names])
    page = write_report(frame, pd.DataFrame(), tmp_path).read_text()
    key = {name: int(place) for place, name in re.findall(r'"var\(--family-(\d+)\)"/></svg>([\w-]+)', page)}
    light = re.search(r":root{(.*?)}", page)
    assert light is not None
    colours = dict(re.findall(r"--family-(\d+):(#\w+);", light[1]))
    expected = looks(*names)
    assert {name: colours[str(key[name])] for name in names} == {name: expected[name][0] for name in names}
    table = make_frame(frame)
    figure = quality_figures(table)[0][1][0][0]
    drawn = figure_files([figure], family_order(table), ["svg"])[0][f"{figure.name}.svg"]().decode()
    assert all(expected[name][0] in drawn for name in names)
