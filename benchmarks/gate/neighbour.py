"""Somebody else's work on this machine: a busy core for a while, then rest, at random, until standard input closes.

python -m benchmarks.gate.neighbour SEED
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time

WORK, REST = 45.0, 90.0  # mean seconds of either: a third of the time, over several blocks and between them


def main(seed: int) -> None:
    """Work and rest."""
    threading.Thread(target=_until_let_go, daemon=True).start()
    chance = random.Random(seed)
    numbers = [chance.random() for _ in range(100_000)]
    while True:
        time.sleep(chance.expovariate(1 / REST))
        until = time.monotonic() + chance.expovariate(1 / WORK)
        while time.monotonic() < until:
            sum(sorted(numbers))


def _until_let_go() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
