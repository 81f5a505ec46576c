"""A whole run on tar shards: read at random while it trains, with a picture that cannot be decoded."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import webdataset
from PIL import Image
from runs import SUITE, pdebench_run

DATA = "data: {{name: folder, path: {images}, resolution: 16, flip: false}}"


def write_shards(folder: Path) -> None:
    """120 pictures of two classes in two shards."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for shard in range(2):
        with webdataset.TarWriter(str(folder / f"s-{shard}.tar")) as writer:
            for number in range(60):
                stream = io.BytesIO()
                Image.fromarray(rng.integers(0, 255, (20, 16, 3), dtype=np.uint8)).save(stream, "JPEG")
                content = b"broken" if (shard, number) == (0, 0) else stream.getvalue()
                writer.write({"__key__": f"{shard}{number:03d}", "jpg": content, "cls": number % 2})


def test_a_run_on_shards_ends_done(tmp_path):
    write_shards(tmp_path / "set")
    suite = tmp_path / "tiny.yaml"
    data = 'data: {{name: shards, path: "{images}/s-{{{{0..1}}}}.tar", resolution: 16, flip: false}}'
    text = SUITE.replace(DATA, data).format(images=tmp_path / "set", steps=40).replace("{{0..1}}", "{0..1}")
    suite.write_text(text + "exclude: [{model.family: PDE-SSM-DiT}]\n")
    ran = pdebench_run("run", suite, "--results", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "out").rglob("record.json"))
    assert record["status"] == "done"
    assert "1 members are left out, such as 0000.jpg of s-0.tar (not an image)" in record["warnings"]
    assert len(pd.read_parquet(next((tmp_path / "out").rglob("curve.parquet"))))
