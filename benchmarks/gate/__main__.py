"""`python -m benchmarks.gate record|replay|live`: the study of the gate's error rates; see the package's docstring."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.gate.record import FAMILIES, MACHINE, Runner, neighbour, read, record
from benchmarks.gate.replay import Result, replay, summarise
from benchmarks.gate.slowdown import KINDS
from pdebench.regress.samples import ProcessSample, Side
from pdebench.regress.sequential_test import confirmed, run_sequential_test
from pdebench.stats.regression import Rule
from pdebench.system.spare_core import a_core_left

LIVE = "live.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one part of the study."""
    options = _parse(arguments)
    if options.part == "record":
        record(options.folder, options.minutes or 60)
        return 0
    if options.part == "live":
        _live(options.folder, options.nights, options.minutes or 10)
        return 0
    blocks, rule = read(options.folder / "blocks.jsonl"), Rule()
    if any(not any(block.kind == kind for block in blocks) for kind in KINDS):
        raise SystemExit(f"{options.folder}/blocks.jsonl has not a block of every kind yet: record for longer")
    minutes = options.minutes or 10
    found = []
    for kind in KINDS:
        nights = [replay(blocks, kind, seed, minutes, rule) for seed in range(options.nights)]
        found.append(summarise(kind, nights, blocks, rule))
    recorded = sum(block.seconds for block in blocks) / 60
    print(f"{len(blocks)} blocks in {recorded:.0f} minutes; {options.nights} nights of {minutes:g} minutes a kind\n")
    print(table(found))
    machine = options.folder / MACHINE
    about = {
        "machine": json.loads(machine.read_text()) if machine.exists() else None,
        "blocks": len(blocks),
        "recorded_minutes": recorded,
        "night_minutes": minutes,
    }
    rows = [
        asdict(result)
        | {"inconclusive": result.inconclusive, "smallest": result.smallest if math.isfinite(result.smallest) else None}
        for result in found
    ]
    (options.folder / "replay.json").write_text(json.dumps(about | {"results": rows}, indent=1, allow_nan=False))
    return 0


def table(results: Sequence[Result]) -> str:
    """As Markdown."""
    lines = [
        "| head | slower by | nights | found and confirmed | found only | passed | inconclusive | other cells accused |"
        " median minutes | median least effect |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        lines.append(
            f"| {r.kind} | {r.true:+.1%} | {r.nights} | {r.alarms} | {r.unconfirmed} | {r.passed} | {r.inconclusive} |"
            f" {r.elsewhere} | {r.minutes:.1f} | {f'{r.smallest:.1%}' if math.isfinite(r.smallest) else 'none'} |"
        )
    return "\n".join(lines)


def _live(folder: Path, nights: int, minutes: float) -> None:
    """Nights for real, a kind at a time in turn, until there are so many of each."""
    runner, path, rule = Runner(folder), folder / LIVE, Rule()
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    with neighbour(len(done)), a_core_left():
        while len(done) < nights * len(KINDS):
            kind = list(KINDS)[len(done) % len(KINDS)]

            def measure(side: Side, family: str, kind: str = kind) -> ProcessSample:
                return runner.run(kind, side, family)

            night = run_sequential_test(FAMILIES, (), measure, rule, seconds=60 * minutes, seed=len(done))
            line = {
                "kind": kind,
                "minutes": minutes,
                "seconds": round(night.seconds),
                "verdicts": {
                    test.cell: [judgement.verdict, confirmed(test, rule), test.evidence.estimate]
                    for test, judgement in zip(night.tests, night.judgements, strict=True)
                },
            }
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            done.append(line)
            print(json.dumps(line), flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate", description="How often `pdebench regress` is wrong."
    )
    parser.add_argument("part", choices=("record", "replay", "live"))
    parser.add_argument("--folder", type=Path, required=True, help="where the record is, and what comes of it")
    parser.add_argument("--minutes", type=float, help="of the record (60), or of a night (10)")
    parser.add_argument("--nights", type=int, default=200, help="virtual ones, or live ones a kind")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
