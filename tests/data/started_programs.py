"""Which programs this process starts: Pillow hands some vector formats to an interpreter."""

from __future__ import annotations

import sys

started: list[str] = []
"""Since it was cleared."""

sys.addaudithook(lambda event, args: started.append(event) if event in ("subprocess.Popen", "os.exec") else None)
