"""The pictures of a folder, or its folders of frames, at the size that they have: samples that a program wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdebench.data import pixels
from pdebench.data.clips import pictures
from pdebench.data.clips.layout import list_clips
from pdebench.data.rows import FilledRows
from pdebench.errors import DataError
from pdebench.files import disk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST = 2**28  # bytes of a file


class PictureFolder(FilledRows):
    """Rows (N, 3, H, W) uint8, decoded when they are read, in the order of their names.

    Attributes:
        paths: of the pictures.
    """

    def __init__(self, folder: Path) -> None:
        """All pictures below a folder.

        Raises:
            DataError: there is none, or the first cannot be decoded.
        """
        import numpy as np

        known = pixels.suffixes()
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in known and path.is_file())
        if not self.paths:
            raise DataError(f"{folder} has no pictures: name a folder of images, all of one size")
        self.dtype = np.dtype(np.uint8)
        self.shape = (len(self.paths), *self._decode(0).shape)

    def _fill(self, wanted: NDArray[np.int64], found: NDArray[Any]) -> None:
        """One that cannot be decoded, or is of another size than the first, is a DataError."""
        for place, one in enumerate(wanted):
            picture = self._decode(int(one))
            if picture.shape != self.shape[1:]:
                sizes = [f"{shape[2]} x {shape[1]}" for shape in (picture.shape, self.shape[1:])]
                raise DataError(
                    f"{self.paths[int(one)]} is {sizes[0]} px, others are {sizes[1]}: samples have one size"
                )
            found[place] = picture

    def _decode(self, index: int) -> NDArray[np.uint8]:
        import numpy as np

        path = self.paths[index]
        try:
            image = pixels.read(disk.read_plain(path, LARGEST, follow=True)).image
        except (pixels.Damaged, disk.NotPlain, OSError) as error:
            raise DataError(f"{path} cannot be read as a picture: {error}") from None
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


class FrameFolders(FilledRows):
    """Rows (N, 3, T, H, W) uint8 of clips that are folders of frames, decoded when they are read, in their order."""

    def __init__(self, folder: Path) -> None:
        """All clips in a folder.

        Raises:
            DataError: there is none, or one that is no folder of as many frames as the first.
        """
        import numpy as np

        self.clips = list_clips(folder, None).clips
        first = self.clips[0]
        for clip in self.clips:
            if clip.kind != "frames" or len(clip.paths) != len(first.paths):
                raise DataError(
                    f"{folder / clip.name} is no folder of {len(first.paths)} frames, as {first.name} has: samples "
                    "are of one length, each in a folder of its frames"
                )
        self.dtype = np.dtype(np.uint8)
        self.shape = (len(self.clips), *self._decode(0).shape)

    def _fill(self, wanted: NDArray[np.int64], found: NDArray[Any]) -> None:
        """One that cannot be decoded, or is of another size than the first, is a DataError."""
        for place, one in enumerate(wanted):
            clip = self._decode(int(one))
            if clip.shape != self.shape[1:]:
                sizes = [f"{shape[3]} x {shape[2]}" for shape in (clip.shape, self.shape[1:])]
                raise DataError(
                    f"{self.clips[int(one)].name} is {sizes[0]} px, others are {sizes[1]}: samples have one size"
                )
            found[place] = clip

    def _decode(self, index: int) -> NDArray[np.uint8]:
        import numpy as np

        clip = self.clips[index]
        try:
            frames = [np.asarray(image) for image in pictures.pictures(clip.paths)]
        except pixels.Damaged as error:
            raise DataError(f"{clip.name} cannot be read: {error}") from None
        if len({frame.shape for frame in frames}) > 1:
            raise DataError(f"{clip.name} has frames of several sizes: samples have one size")
        return np.ascontiguousarray(np.stack(frames).transpose(3, 0, 1, 2))
