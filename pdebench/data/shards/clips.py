"""The clips of shards: each is a video that is read where it lies in its shard, as other clips are in their files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pdebench.data.clips.layout import Clip
from pdebench.data.clips.windows import Placed
from pdebench.data.shards.index import Shard
from pdebench.data.split import split_of
from pdebench.files import disk

Stamps = tuple[disk.Stamp, ...]


def placed_in(shards: Sequence[Shard], *, labelled: bool) -> tuple[list[Placed], list[Stamps]]:
    """The clips of shards with their splits, and the stamp of the file of each; where others have labels, those alone.

    A shard that is of no split leaves that to a hash of the key, or of the recording that the key says a clip was cut
    from, as with other clips. What a clip holds is told by the digest of its shard and its place there.
    """
    found: list[Placed] = []
    stamps: list[Stamps] = []
    for piece, stamp, digest, holds in shards:
        columns = (holds.offsets.tolist(), holds.sizes.tolist(), holds.labels.tolist())
        for key, suffix, offset, size, label in zip(holds.keys, holds.suffixes, *columns, strict=True):
            if labelled and label < 0:
                continue
            name = f"{piece.name}/{key}{suffix}"
            clip = Clip(name, (piece.path,), "video", label, piece.split, (offset, size))
            own = hashlib.sha256(f"{digest} {offset} {size}".encode()).hexdigest()
            found.append(Placed(clip, own, piece.split or split_of(f"shards {clip.recording or key}".encode())))
            stamps.append((stamp,))
    return found, stamps
