"""`photographs`: the table, how files are had, and that no photograph is on two sides. Real ones where apt has them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from made_up_debs import PICTURES, deb, instead_of_apt, photographs
from PIL import Image
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.data import photos, registry
from pdebench.data.photographs import fetch, table
from pdebench.errors import DataError

DEB = "mate-backgrounds_1.26.0-1_all.deb"


@pytest.fixture
def made_up(monkeypatch):
    """The pictures of `made_up_debs` in the place of the table's photographs, and no others."""
    monkeypatch.setattr(table, "PHOTOGRAPHS", photographs())
    monkeypatch.setattr(photos, "FILES", ())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "debs").mkdir()
    return tmp_path / "debs"


def both(config):
    return [registry.load(config, split) for split in ("train", "validation")]


def seen(images):
    """Which pictures crops are of, by their red."""
    return {round(float(image[0].mean()) / 10) for image in images}


def test_the_table_is_whole():
    names = [one.name for one in table.PHOTOGRAPHS]
    assert len(names) == len(set(names)) == 46
    assert {one.package for one in table.PHOTOGRAPHS} == set(table.PACKAGES)
    for one in table.PHOTOGRAPHS:
        assert one.author
        assert set(one.licence.split(" and ")) <= {
            "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "GPL-2.0-or-later", "LGPL-2.1-or-later",
            "LGPL-3.0-only",
        }  # fmt: skip
        assert one.width * one.height >= 1.7e6
        assert len(one.sha256) == 64
    held_out = sum(one.width * one.height for one in table.PHOTOGRAPHS if one.split == "validation")
    assert 0.1 < held_out / sum(one.width * one.height for one in table.PHOTOGRAPHS) < 0.2


def test_no_scene_and_no_file_is_on_both_sides():
    sides = {}
    for one in table.PHOTOGRAPHS:
        for what in (one.scene, one.sha256):
            assert sides.setdefault(what, one.split) == one.split
    assert len({one.sha256 for one in table.PHOTOGRAPHS}) == 46


def test_the_docs_name_every_author():
    text = (Path(__file__).parents[2] / "docs" / "packaged_sets.md").read_text()
    for one in table.PHOTOGRAPHS:
        assert f"| {one.name} | {one.author} | {one.licence} |" in text
    for package in table.PACKAGES.values():
        assert package.sha256 in text


def test_the_product_names_no_archive():
    for path in Path(table.__file__).parent.iterdir():
        if path.suffix in (".py", ".csv"):
            assert "http" not in path.read_text()


def test_no_crop_of_a_held_out_photograph_is_ever_trained_on(data, made_up, folder):
    (folder / DEB).write_bytes(deb(PICTURES))
    train, held_out = both(data("photographs", path=folder))
    drawn = np.concatenate([train.images.drawn(np.arange(400), epoch) for epoch in range(4)])
    assert seen(drawn) == {1, 2, 3, 4, 5, 6}
    assert seen(held_out.images[:200]) == {7, 8}
    assert (len(train), len(held_out), train.labels, train.class_names) == (4096, 512, None, None)
    assert train.checksum != held_out.checksum


def test_a_folder_serves_once_and_any_version_that_has_the_files(data, made_up, folder):
    old, new = dict(list(PICTURES.items())[:5]), dict(list(PICTURES.items())[5:])
    (folder / "mate-backgrounds_1.20.0-1_all.deb").write_bytes(deb(old, ".gz"))
    (folder / "mate-backgrounds_2.0_all.deb").write_bytes(deb(new | {"usr/share/backgrounds/1.png": b"other"}))
    first = both(data("photographs", path=folder))
    shutil.rmtree(folder)
    folder.mkdir()
    again = both(data("photographs"))  # all is in the cache
    for one, other in zip(first, again, strict=True):
        assert one.checksum == other.checksum
        assert np.array_equal(one.images[:20], other.images[:20])


def test_it_is_the_same_set_wherever_it_was_had_from(data, folder):
    assert registry.content(data("photographs", path=folder)) == registry.content(data("photographs", download=True))


def test_damaged_files_of_the_cache_are_made_again_or_named(data, made_up, folder, cache):
    (folder / DEB).write_bytes(deb(PICTURES))
    (train, _) = both(data("photographs", path=folder))
    (decoded,) = cache.glob("photographs-*.train.bin")
    content = bytearray(decoded.read_bytes())
    content[1000] ^= 1
    decoded.write_bytes(content)
    (again, _) = both(data("photographs", path=folder))
    assert again.checksum == train.checksum
    (original, *_) = sorted((cache / "photographs").iterdir())
    original.write_bytes(b"other")
    for path in cache.glob("photographs-*"):
        path.unlink()
    with pytest.raises(DataError, match=f"{original.name} was altered since it was put there: delete it and run again"):
        both(data("photographs", path=folder))


def test_show_says_whom_to_name_and_stats_count_no_copies(made_up, folder, tmp_path):
    (folder / DEB).write_bytes(deb(PICTURES))
    asked = [str(folder), "--name", "photographs", "--resolution", "32"]
    shown = CliRunner().invoke(app, ["data", "show", *asked, "--out", str(tmp_path / "x.png")])
    assert shown.exit_code == 0, shown.output
    assert "who took them: docs/packaged_sets.md" in shown.stdout
    assert Image.open(tmp_path / "x.png").width > 8 * 32
    counted = json.loads(CliRunner().invoke(app, ["data", "stats", *asked, "--json"]).stdout)
    assert [counted["splits"][split]["copies"] for split in ("train", "validation")] == [0, 0]
    assert counted["shared"] == 0


# ---- what is wrong is said in one sentence


def refused(config, load=True):
    with pytest.raises(DataError) as error:
        registry.load(config, "train") if load else registry.check(config)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_without_packages_it_says_how_to_have_them(data, made_up, folder, tmp_path, monkeypatch):
    said = refused(data("photographs"), load=False)
    assert said == (
        "8 photographs are not on this machine: set data.download: true to have apt fetch their packages (47 MB), or "
        "data.path to a folder with the .deb files of mate-backgrounds"
    )
    said = refused(data("photographs", path=folder), load=False)
    assert said == f"data.path: {folder} has no mate-backgrounds_*.deb; Debian 12 (bookworm) has it"
    assert "there is no folder" in refused(data("photographs", path=tmp_path / "none"), load=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get, which this system does not have" in refused(data("photographs", download=True), load=False)


def test_a_missing_an_altered_and_a_cut_file_are_named_with_the_release_that_has_it(data, made_up, folder):
    whole = deb(PICTURES)
    config = data("photographs", path=folder)
    remedy = "data set 'photographs' is of mate-backgrounds 1.26.0-1, as Debian 12 (bookworm) has it; put its .deb in "
    (folder / DEB).write_bytes(deb({name: PICTURES[name] for name in list(PICTURES)[:7]}))
    said = refused(config)
    assert said.startswith(f"{DEB} has no usr/share/backgrounds/8.png: {remedy}")
    (folder / DEB).write_bytes(deb(PICTURES | {"usr/share/backgrounds/8.png": b"another picture"}))
    said = refused(config)
    assert said.startswith(f"a photograph in {DEB} differs from what pdebench pins by checksum")
    assert remedy in said
    (folder / DEB).write_bytes(whole[: len(whole) // 2])
    assert f"{folder / DEB} is damaged or was cut short" in refused(config)
    (folder / DEB).write_bytes(whole)
    assert len(registry.load(config, "train")) == 4096


def test_a_package_that_is_missing_from_python_is_named(data, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda *names: None)
    assert refused(data("photographs"), load=False).startswith("data set 'photographs' needs the package scikit-image")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'E: Unable to locate package mate-backgrounds' >&2; exit 100", "let root run `apt-get update`"),
        ("echo 'W: odd' >&2; echo 'E: Failed to fetch it  Timeout' >&2; exit 100", r"\(Failed to fetch it  Timeout\)"),
        ("exit 3", r"apt cannot fetch mate-backgrounds \(it ended with status 3\)"),
        ("true", r"it ended with status 0"),
    ],
)
def test_apt_that_fetches_nothing_is_quoted(data, made_up, tmp_path, monkeypatch, cache, script, said):
    monkeypatch.setenv("PATH", instead_of_apt(tmp_path / "bin", script))
    found = refused(data("photographs", download=True))
    assert re.search(said, found)
    assert not list(cache.glob(".apt-*"))


def test_apt_fetches_in_a_folder_that_is_removed(data, made_up, tmp_path, monkeypatch, cache):
    (tmp_path / "archive.deb").write_bytes(deb(PICTURES))
    asked = tmp_path / "asked"
    script = f'echo "$@" >> {asked}; cp {tmp_path}/archive.deb "$3_1.26.0-1_all.deb"'
    monkeypatch.setenv("PATH", instead_of_apt(tmp_path / "bin", script))
    train, _ = both(data("photographs", download=True))
    assert seen(train.images[:100]) == {1, 2, 3, 4, 5, 6}
    assert asked.read_text() == "download --quiet mate-backgrounds\n"
    assert not list(cache.glob(".apt-*"))
    assert not list(cache.rglob("*.deb"))


def test_an_interrupted_build_leaves_nothing_that_is_believed(data, made_up, folder, cache, monkeypatch):
    (folder / DEB).write_bytes(deb(PICTURES))
    real, calls = fetch.read, []

    def stops(one):
        calls.append(one)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(one)

    monkeypatch.setattr(fetch, "read", stops)
    with pytest.raises(KeyboardInterrupt):
        registry.load(data("photographs", path=folder), "train")
    assert not list(cache.glob("*.bin"))
    monkeypatch.setattr(fetch, "read", real)
    assert seen(registry.load(data("photographs", path=folder), "train").images[:50]) <= {1, 2, 3, 4, 5, 6}


# ---- the real ones


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """A cache with the real photographs; skips where apt cannot fetch them."""
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PDEBENCH_CACHE", str(folder))
        try:
            fetch.check(None, download=True)
            known = subprocess.run(["apt-cache", "show", *table.PACKAGES], capture_output=True, check=False)
            if known.returncode:
                pytest.skip("apt knows not all packages of photographs here: `apt-get update`, or another release")
            fetch.gather(None)
        except (DataError, OSError) as error:
            pytest.skip(f"apt cannot fetch the real photographs here: {error}")
    return folder


@pytest.mark.exhaustive
def test_the_real_photographs_are_what_the_table_says(data, real, monkeypatch):
    monkeypatch.setenv("PDEBENCH_CACHE", str(real))
    assert not fetch.missing()
    train, held_out = both(data("photographs"))
    sizes = {view.name: view.levels[0].shape for view in (*train.images.views, *held_out.images.views)}
    for one in table.PHOTOGRAPHS:
        height, width, _ = sizes[one.name]
        assert width / height == pytest.approx(one.width / one.height, rel=2e-3)
        assert 0.99 * min(2**21, one.width * one.height) < width * height <= 2**21
    # no photograph of one side is nearly one of the other: none of their smallest levels go together
    thumbs = [
        np.stack([np.asarray(_thumbnail(view.levels[-1])) for view in images.images.views])
        for images in (train, held_out)
    ]
    both_ways = np.concatenate(thumbs).reshape(sum(map(len, thumbs)), -1).astype(float)
    together = np.corrcoef(both_ways)[: len(thumbs[0]), len(thumbs[0]) :]
    assert together.max() < 0.9


@pytest.mark.exhaustive
@pytest.mark.parametrize(("resolution", "places", "different"), [(32, 82_900, 8_500), (64, 20_700, 3_600)])
def test_there_are_as_many_different_crops_as_the_docs_say(data, real, monkeypatch, resolution, places, different):
    monkeypatch.setenv("PDEBENCH_CACHE", str(real))
    rows = registry.load(data("photographs", resolution), "train").images
    area = sum(view.levels[0].shape[0] * view.levels[0].shape[1] for view in rows.views)
    assert area / resolution**2 == pytest.approx(places, rel=0.01)
    seen_at = Counter()
    for row in range(15_000):
        crop = rows.crop(row, 1)
        scale = 2**crop.level
        octave = int(np.log2((crop.width * crop.height) ** 0.5 * scale / resolution))
        square = resolution * 2 ** (octave + 0.5)
        middle = (crop.left + crop.width / 2) * scale, (crop.upper + crop.height / 2) * scale
        seen_at[crop.view, octave, *(int(at // square) for at in middle)] += 1
    same = sum(times * (times - 1) for times in seen_at.values()) / (15_000 * 14_999)
    assert 1 / same == pytest.approx(different, rel=0.08)


def _thumbnail(level):
    return Image.fromarray(level).convert("L").resize((16, 16), Image.Resampling.BOX)
