"""The pictures of a folder at the size that they have: samples that another program wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdebench.data import pixels
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
