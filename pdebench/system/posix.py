"""Whether this system has what runs need of it; asked before anything is imported that needs it."""

from __future__ import annotations

from importlib.util import find_spec

from pdebench.errors import PdebenchError

NEEDED = ("fcntl", "resource")  # Python's modules for locks of the kernel and limits of processes


def refuse_without_posix() -> None:
    """Refuse Windows, where Python has no such modules.

    Raises:
        PdebenchError: says so in one sentence.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise PdebenchError(
            f"pdebench runs on Linux and macOS, and the Python here has no {' and no '.join(missing)}, as on Windows: "
            "install pdebench in WSL (`wsl --install`) and run it there"
        )
