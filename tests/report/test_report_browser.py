"""The report as its reader has it: opened from the disk in a real browser, with no network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from pdebench.report.build import write_base
from pdebench.report.html import write_report
from pdebench.report.section import SweepProgress

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(os.environ.get("PDEBENCH_NO_BROWSER") == "1", reason="PDEBENCH_NO_BROWSER=1"),
]

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ATTACK = "</script><script>console.error('ran')</script><img src=x onerror=\"console.error('ran')\">"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for path in map(shutil.which, names) if path), None)
    with sync_playwright() as driver:
        # Without a Chromium of the system this takes Playwright's own, and fails if there is none.
        opened = driver.chromium.launch(executable_path=found, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a folder of 24 cells, one of which failed."""
    folder = tmp_path_factory.mktemp("results")
    bad = [synthetic.failed("Mamba-DiT", 64, 9, "oom", f"needed 31 GiB {ATTACK}")]
    whole = synthetic.results(families=(*synthetic.FAMILIES, "None-DiT"), resolutions=(32, 64))
    frame = pd.concat([whole.head(23), pd.DataFrame(bad)], ignore_index=True)
    frame.loc[0, "model_name"] = f"PDE {ATTACK}"
    synthetic.write_folder(frame, folder)
    return write_base([folder], folder)[2]


class Opened:
    """A page, and all that it said and asked for."""

    def __init__(self, browser, path: Path, **options):  # type: ignore[no-untyped-def]
        self.page = browser.new_page(**options)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-charts]", timeout=30_000)

    def check(self) -> None:
        """No message of any kind, and nothing but the file itself."""
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture
def opened(browser, report: Path) -> Iterator[Opened]:  # type: ignore[no-untyped-def]
    page = Opened(browser, report, viewport={"width": 1280, "height": 900})
    yield page
    page.check()
    page.page.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_drawn_and_nothing_scrolls_sideways(  # type: ignore[no-untyped-def]
    browser, report: Path, width: int, scheme: str
) -> None:
    page = Opened(browser, report, viewport={"width": width, "height": 844}, color_scheme=scheme)
    assert page.page.evaluate("document.documentElement.dataset.charts") == "ready"
    marks = page.page.eval_on_selector_all(
        ".chart", "nodes => nodes.map(n => n.querySelectorAll('svg .mark-symbol path').length)"
    )
    assert len(marks) == 22
    assert min(marks) > 0
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    edges = page.page.eval_on_selector_all(
        ".chart svg", "charts => charts.map(chart => chart.getBoundingClientRect().right)"
    )
    assert max(edges) <= width
    colour = page.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(colour) > 600) == (scheme == "light")
    page.check()
    page.page.close()


COLLIDING = """charts => charts.flatMap(chart => {
  const labels = [...chart.querySelectorAll('.role-axis')].map(axis =>
    [...axis.querySelectorAll('.role-axis-label text')].filter(label => getComputedStyle(label).opacity !== '0')
      .map(label => [label.textContent, label.getBoundingClientRect()]));
  const over = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom - 2 && b.top < a.bottom - 2;
  return labels.flatMap(axis => axis.flatMap(([text, a], i) =>
    axis.slice(i + 1).filter(([, b]) => over(a, b)).map(([other]) => `${chart.id}: ${text} on ${other}`)));
})"""
CUT = """charts => charts.flatMap(chart => {
  const clips = [...chart.querySelectorAll('[clip-path]')];
  const cut = [...chart.querySelectorAll('.mark-symbol path')].filter(mark => {
    const box = mark.getBoundingClientRect();
    const around = [chart.querySelector('svg'), ...clips.filter(clip => clip.contains(mark))];
    return around.some(one => one.tagName === 'svg' && one.getBoundingClientRect().right < box.right - .5)
      || clips.some(clip => clip.contains(mark));
  });
  return cut.length ? [chart.id] : [];
})"""


@pytest.mark.parametrize("width", [390, 1280])
def test_no_labels_of_an_axis_collide_and_no_mark_is_cut(browser, report: Path, width: int) -> None:  # type: ignore[no-untyped-def]
    page = Opened(browser, report, viewport={"width": width, "height": 844})
    assert page.page.eval_on_selector_all(".chart", COLLIDING) == []
    assert page.page.eval_on_selector_all(".chart", CUT) == []
    page.page.close()


def test_on_paper_headings_stay_with_what_follows_and_figures_whole(opened: Opened) -> None:
    opened.page.emulate_media(media="print")
    opened.page.set_viewport_size({"width": 760, "height": 1000})
    style = "(query, name) => [...document.querySelectorAll(query)].map(one => getComputedStyle(one)[name])"
    for query in ("h2", "h3", "h4", ".key", "h2 + p"):
        assert set(opened.page.evaluate(f"() => ({style})('{query}', 'breakAfter')")) == {"avoid"}, query
    for query in ("figure", "tr", "h2 + p"):
        assert set(opened.page.evaluate(f"() => ({style})('{query}', 'breakInside')")) == {"avoid"}, query
    tops = opened.page.eval_on_selector_all(
        "#quality .thirds", "rows => rows.map(row => new Set([...row.children].map(one => one.offsetTop)).size)"
    )
    assert set(tops) == {1}  # the three figures of a row stand side by side: no half page is white


def test_charts_follow_the_colour_scheme_and_print_light(opened: Opened) -> None:
    label = "getComputedStyle(document.querySelector('.chart svg text')).fill"
    mark = "getComputedStyle(document.querySelector('.chart svg .mark-symbol path')).fill"
    light = opened.page.evaluate(f"[{label}, {mark}]")
    opened.page.emulate_media(color_scheme="dark")
    dark = opened.page.evaluate(f"[{label}, {mark}]")
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    opened.page.emulate_media(color_scheme="dark", media="print")
    assert opened.page.evaluate(f"[{label}, {mark}]") == light
    opened.page.set_viewport_size({"width": 760, "height": 1000})  # about an A4 page: a wider one is shrunk
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 760


def test_table_sorts_by_click_and_by_keyboard_with_missing_last(opened: Opened) -> None:
    page = opened.page
    place = page.eval_on_selector_all("#results th", "heads => heads.map(h => h.innerText.trim())").index("val_loss")

    def column() -> list[str]:
        return page.eval_on_selector_all("#results tbody tr", f"rows => rows.map(r => r.cells[{place}].dataset.key)")

    head = page.locator("#results th").nth(place)
    head.locator("button").click()
    up = column()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(key) for key in up[:-1]] == sorted(float(key) for key in up[:-1])
    assert up[-1] == ""
    head.locator("button").focus()
    page.keyboard.press("Enter")
    down = column()
    assert head.get_attribute("aria-sort") == "descending"
    assert down == [*reversed(up[:-1]), ""]
    assert page.locator("#results th[aria-sort]").count() == 1


def test_filter_keeps_the_rows_with_every_word(opened: Opened) -> None:
    page = opened.page
    page.get_by_label("Filter").fill("mamba oom")
    assert page.locator("#results tbody tr:visible").count() == 1
    assert page.locator("#count").inner_text() == "1 of 24 rows"
    page.get_by_label("Filter").fill("")
    assert page.locator("#results tbody tr:visible").count() == 24


def test_menu_chooses_the_resolution_of_the_loss_curves(opened: Opened) -> None:
    drawn = "document.querySelector('#chart-loss-curves .mark-line path').getAttribute('d')"
    before = opened.page.evaluate(drawn)
    opened.page.get_by_label("Resolution").select_option("64 px")
    opened.page.wait_for_function(f"before => {drawn} !== before", arg=before)


def test_hovering_a_mark_tells_its_run_without_running_it(opened: Opened) -> None:
    name = "#chart-val-loss-flops-train-32-px"
    marks = opened.page.locator(f"{name} .mark-symbol path")
    marks.first.scroll_into_view_if_needed()
    for place in range(marks.count()):
        marks.nth(place).hover(force=True)
    tip = opened.page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "validation loss" in tip.inner_text()


def test_page_has_landmarks_and_every_picture_a_description(opened: Opened) -> None:
    page = opened.page
    for landmark in ("header", "nav[aria-label]", "main", "h1"):
        assert page.locator(landmark).count() == 1
    assert page.locator("img:not([alt]), .drawing:not([aria-label])").count() == 0
    description = page.locator(".drawing:has(#chart-val-loss-flops-train-32-px)").get_attribute("aria-label")
    assert "Lowest: PDE-SSM-DiT, 0.2119" in description


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ablation_scrolls_in_its_own_box_beside_the_settings(  # type: ignore[no-untyped-def]
    browser, tmp_path: Path, scheme: str
) -> None:
    path = write_report(synthetic.ablation(), synthetic.curves(pd.DataFrame([synthetic.row("DiT", 32, 0)])), tmp_path)
    opened = Opened(browser, path, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page, box = opened.page, opened.page.locator("#ablation .scroll")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    name = page.locator(".ablation tbody th").first
    before = name.bounding_box()
    box.evaluate("box => box.scrollLeft = 300")
    assert name.bounding_box() == before  # the name of the setting stays in sight
    ink, back = page.evaluate(
        "[...document.querySelectorAll('.forest .whisker')].slice(0, 1).flatMap(line => "
        "[getComputedStyle(line).stroke, getComputedStyle(document.body).backgroundColor])"
    )
    assert ink != back
    page.set_viewport_size({"width": 1280, "height": 900})
    assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 760, "height": 1000})
    assert page.evaluate("document.documentElement.scrollWidth") <= 760
    opened.check()
    page.close()


def test_a_page_that_is_redrawn_loads_itself_again_until_paused_or_filtered(browser, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    synthetic.write_folder(synthetic.results(families=("DiT",), seeds=(0,))[synthetic.FEW], tmp_path)
    path = write_base([tmp_path], tmp_path, SweepProgress(1, 24, 2))[2]
    opened = Opened(browser, path)
    page = opened.page
    with page.expect_event("load"):
        pass
    page.wait_for_selector("html[data-charts]")
    page.get_by_role("button", name="Pause").press("Enter")
    page.evaluate("window.here = true")
    page.wait_for_timeout(3000)  # a page that is not paused would have loaded again
    assert page.evaluate("window.here") is True
    assert "1 of 24 cells have ended." in page.get_by_role("status").first.inner_text()
    opened.check()
    page.close()
