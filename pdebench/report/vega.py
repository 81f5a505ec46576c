"""Charts drawn by Vega, in a process of its own: its JavaScript engine takes 150 MB, and works beside us.

The process reads what to draw as JSON from its standard input, writes JSON to its standard output, and ends. Importing
this imports no Vega.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from pdebench.errors import ResultsError

PIXELS = 2  # of a PNG for each of the drawing's; its time grows with their number


class Job:
    """Work of another process, which begins at once; `result` waits for it."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        # files, since a pipe would be full before anybody reads; they are gone with us
        self._answer, self._said = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(asked).encode())
            file.seek(0)
            command = [sys.executable, "-m", "pdebench.report.vega"]
            self._process = subprocess.Popen(command, stdin=file, stdout=self._answer, stderr=self._said)

    def result(self) -> Any:
        """What it made.

        Raises:
            ResultsError: it failed, or was ended.
        """
        try:
            code = self._process.wait()
        except BaseException:  # we are asked to end, and so is it
            self._process.kill()
            self._process.wait()
            raise
        self._answer.seek(0)
        self._said.seek(0)
        if code:
            said = self._said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise ResultsError(f"the charts cannot be drawn: their process ended with {code}: {said[-1][:300]}")
        try:
            return json.loads(self._answer.read())
        except ValueError:
            raise ResultsError("the charts cannot be drawn: what was drawn is cut short; is the disk full?") from None


def bundle() -> Job:
    """Vega, Vega-Lite and vega-embed as one script without dependencies: a text."""
    return Job({"bundle": True})


def drawings(specs: Sequence[Mapping[str, Any]], config: Mapping[str, Any], formats: Sequence[str]) -> Job:
    """Charts of Vega-Lite in formats of `svg`, `pdf` and `png`: for each a mapping of format to its bytes in base64."""
    return Job({"specs": specs, "config": config, "formats": formats})


def _draw(spec: dict[str, Any], config: dict[str, Any], formats: Sequence[str]) -> dict[str, str]:
    import vl_convert

    svg = vl_convert.vegalite_to_svg(spec, config=config)
    made = {"svg": lambda: svg.encode(), "pdf": lambda: vl_convert.svg_to_pdf(svg)}
    made["png"] = lambda: vl_convert.svg_to_png(svg, scale=PIXELS)
    return {name: base64.b64encode(made[name]()).decode() for name in formats}


def _main() -> None:
    import vl_convert

    asked = json.load(sys.stdin)
    if "bundle" in asked:
        answer: Any = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    else:
        answer = [_draw(spec, asked["config"], asked["formats"]) for spec in asked["specs"]]
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    _main()
