"""Images of any source decoded once, resized, and packed; those of a folder by several processes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import warnings
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from pdebench.data import registry
from pdebench.data.folder import Known, content_of, decoded, digests_of, in_order, unreadable
from pdebench.data.layout import list_images
from pdebench.data.nouns import plural
from pdebench.data.packed.index import FORMAT, Index, Part, PartFiles, read_part, write_index
from pdebench.data.packed.samples import samples
from pdebench.data.packed.writer import PartWriter, Said, prepared, rows_of_a_part
from pdebench.data.pixels import DECODE_RECIPE
from pdebench.data.source import SPLITS, Source, SourceConfig
from pdebench.errors import CellWarning, DataError, refused_by_system

_KEPT_WAITING = 2  # parts a process: enough to be never without work


def pack(config: SourceConfig, out: Path, workers: int, said: Said) -> Index:
    """Pack a data set at its resolution; what an interrupted call has done is not done again.

    A folder's images are those of `data.name: folder`, in the same splits and the same order.

    Args:
        config: which set, and the side.
        out: the folder that is made, or gone on with.
        workers: processes that decode.
        said: told of progress.

    Returns:
        The index, which is written.

    Raises:
        DataError: the set cannot be read, or the folder not be written, or something else lies there.
    """
    source = registry.SOURCES.find(config.name)
    registry.check(config)
    refuse_maps(source, config)
    try:
        made = _of_folder(config, out, workers, said) if source.name == "folder" else _of_rows(config, out, said)
        write_index(out, made)
    except OSError as error:
        raise DataError(f"cannot write to {out}: {refused_by_system(error) or error}") from error
    return made


def refuse_maps(source: Source, config: SourceConfig) -> None:
    """Raise DataError for a set with maps, which would be lost."""
    if source.map_classes(config) is not None:
        raise DataError(
            f"data set '{source.name}' has maps, and packed files have no place for them: train on it as it is, from "
            "the cache that it is decoded into"
        )


# ---- a folder


@dataclass(frozen=True)
class _Work:
    """Images that become one part."""

    files: PartFiles
    of: str
    images: list[Known]
    resolution: int


def _of_folder(config: SourceConfig, out: Path, workers: int, said: Said) -> Index:
    listing = list_images(config.path)
    digests = digests_of(listing)
    images = in_order(listing, digests)
    shape = (3, config.resolution, config.resolution)
    size = rows_of_a_part(shape, 1)
    of = _key(content_of(listing, digests), shape)
    work = [
        _Work(PartFiles(out, number), of, images[begin : begin + size], config.resolution)
        for number, begin in enumerate(range(0, len(images), size))
    ]
    missing = prepared(out, of, len(work))
    for done, _ in enumerate(_each([work[number] for number in missing], workers), len(work) - len(missing) + 1):
        said(done, len(work))
    parts = _parts(out, of, len(work))
    broken = [*listing.left_out, *unreadable(listing, digests)]
    remarks = [f"{listing.root}: {remark}" for remark in listing.remarks]
    if broken:
        remarks.append(
            f"{plural(len(broken), 'file')} of {listing.root} {'was' if len(broken) == 1 else 'were'} "
            f"left out before packing, such as {broken[0].name}"
        )
    names = None if listing.class_names is None else list(listing.class_names)
    return _index(of, str(listing.root), names, shape, parts, remarks, len(broken))


def _each(work: list[_Work], workers: int) -> Iterator[None]:
    """Has the parts made, a few waiting at a time, so that an end that is asked for is not far."""
    if not work:
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(min(workers, len(work)), context) as pool:
        waiting: set[Future[None]] = set()
        left = iter(work)
        try:
            while True:
                while len(waiting) < _KEPT_WAITING * workers and (one := next(left, None)) is not None:
                    waiting.add(pool.submit(_make, one))
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    yield
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _make(work: _Work) -> None:
    with PartWriter(work.files, work.of, (3, work.resolution, work.resolution)) as part:
        for one in work.images:
            part.add(decoded(one, work.resolution))


# ---- any other source


def _of_rows(config: SourceConfig, out: Path, said: Said) -> Index:
    """What a source gives as rows, written a part at a time."""
    remarks = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CellWarning)
        sets = {split: registry.load(config, split) for split in SPLITS}
        remarks = list(dict.fromkeys(str(one.message) for one in caught))
    train = sets["train"]
    if train.space is not None or train.mirrored is not None:
        raise DataError(
            f"data set '{config.name}' holds latents, which lie in arrays already: train on them as they are"
        )
    shape, kind = tuple(train.images.shape[1:]), train.images.dtype.str
    if kind not in ("|u1", "<f2", "<f4"):
        raise DataError(f"data set '{config.name}' has values of {train.images.dtype}, which are not packed")
    size = rows_of_a_part(shape, train.images.dtype.itemsize)
    of = _key(" ".join(one.checksum for one in sets.values()), shape)
    spans = [(split, begin) for split in SPLITS for begin in range(0, len(sets[split]), size)]
    missing = prepared(out, of, len(spans))
    for done, number in enumerate(missing, len(spans) - len(missing) + 1):
        split, begin = spans[number]
        with PartWriter(PartFiles(out, number), of, shape, kind) as part:
            for sample in samples(sets[split], begin, min(begin + size, len(sets[split]))):
                part.add(sample)
        said(done, len(spans))
    names = None if train.class_names is None else list(train.class_names)
    parts = _parts(out, of, len(spans))
    return _index(of, f"data set '{config.name}'", names, shape, parts, remarks, train.skipped, kind)


# ---- both


def _key(content: str, shape: tuple[int, ...]) -> str:
    """What decides the arrays."""
    import PIL

    about = [FORMAT, content, list(shape), DECODE_RECIPE, PIL.__version__]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def _parts(out: Path, of: str, count: int) -> list[Part]:
    found = [read_part(PartFiles(out, number), of) for number in range(count)]
    if None in found:
        raise DataError(f"{out} was changed while it was packed: run the same command again")
    return [part for part in found if part is not None]


def _index(
    of: str, made_from: str, names: list[str] | None, shape: tuple[int, ...], parts: list[Part],
    remarks: list[str], left_out: int, kind: str = "|u1",
) -> Index:  # fmt: skip
    return Index(
        format=FORMAT, of=of, made_from=made_from, class_names=names, shape=shape,  # type: ignore[arg-type]  # of 3 or 4
        dtype=kind, mirrored=False, space=None, parts=parts, remarks=remarks, left_out=left_out,
    )  # fmt: skip
