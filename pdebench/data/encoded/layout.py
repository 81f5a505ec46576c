"""What every layout of latents gives: rows in files with their labels, and what their makers say of their scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from pdebench.data.rows import Rows
from pdebench.data.source import Skipped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Declared(NamedTuple):
    """How a set's makers have a model see its latents; `shift`, `scale` and `black` as in `Space`.

    `remark` is what is to be known of where this is from; empty: it is from the set itself.
    """

    shift: tuple[float, ...]
    scale: tuple[float, ...]
    black: float = -1.0
    remark: str = ""


@dataclass(frozen=True, eq=False)
class Latents:
    """The latents of a folder, in the order of its files.

    Attributes:
        root: the folder.
        layout: whose it is, as sentences name it.
        rows: as stored, (N, C, H, W); with a `spread`, the mean in the first half of the channels.
        mirrored: those of the mirrored images; None: there are none.
        labels: int64 (N,); None: there are none.
        members: the files in this order, each by its name relative to the root, with how many rows it has.
        spread: as in `Space`.
        declared: how they are to be seen. Raises DataError where the set does not say; may import torch.
        digest: of all that is in the files, read afresh, and of labels. Raises DataError.
        looked_at: folders, and files where they are few; while none of them is touched, these are its latents.
        left_out: files that are not used, and why.
        remarks: what is to be known of how the folder was read, a clause each.
    """

    root: Path
    layout: str
    rows: Rows
    mirrored: Rows | None
    labels: NDArray[np.int64] | None
    members: Sequence[tuple[str, int]]
    spread: Literal["std"] | None
    declared: Callable[[], Declared]
    digest: Callable[[], str]
    looked_at: Sequence[Path]
    left_out: Sequence[Skipped] = ()
    remarks: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def channels(self) -> int:
        """Of a latent."""
        return self.rows.shape[1] // (2 if self.spread else 1)

    def identities(self) -> Iterator[bytes]:
        """What tells each row from all others of the folder, whatever its label."""
        for name, count in self.members:
            for number in range(count):
                yield f"{name} {number}".encode(errors="surrogateescape")


class LatentLayout(Protocol):
    """A way to keep latents in a folder."""

    @property
    def looked_for(self) -> str:
        """What it is known by, for a sentence."""

    def recognised(self, folder: Path) -> bool:
        """Whether the folder has this layout, by the names in it. Raises OSError."""

    def read(self, folder: Path) -> Latents:
        """The latents of such a folder; reads no more than headers and labels. Raises DataError, OSError."""
