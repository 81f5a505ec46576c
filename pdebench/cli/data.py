"""`pdebench data`: look at data sets, and pack them for training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pdebench.cli.options import JsonOption
from pdebench.data.nouns import called, plural
from pdebench.errors import DataError
from pdebench.terminal.bar import bar

if TYPE_CHECKING:
    from pdebench.data.source import ImageSet, Split
    from pdebench.suite.config import DataConfig

data = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Look at data sets; pack them once, and train from there."
)

WhatArgument = Annotated[
    str,
    typer.Argument(
        metavar="WHAT",
        help="A folder of images, with `--set frames=16` of clips, a packed folder, a set by its name, such as digits, "
        "or a suite, whose data it is.",
    ),
]
SideOption = Annotated[int | None, typer.Option("--resolution", min=1, help="Side of the square images, in pixels.")]
NameOption = Annotated[str | None, typer.Option("--name", help="The source: see `pdebench data list`.")]
KeyOption = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Another key of `data:`, e.g. `set=CIFAR10`. Repeatable."),
]
OutOption = Annotated[Path, typer.Option("--out", help="The folder that is made, or gone on with.")]


@data.command("list")
def list_sets(as_json: JsonOption = False) -> None:
    """List the sources of data.

    Example: `pdebench data list`
    """
    from pdebench.cli.listing import LISTS, print_rows

    rows = LISTS["data"]()
    typer.echo(json.dumps(rows, indent=1)) if as_json else print_rows(rows)


@data.command()
def stats(
    what: WhatArgument, resolution: SideOption = None, name: NameOption = None, keys: KeyOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Count images, classes and copies, and say each channel's mean and deviation; of maps each class's pixels.

    Copies are images that are the same byte for byte, within a split and across the two.

    Example: `pdebench data stats photos --resolution 64`
    """
    from pdebench.data.statistics import statistics

    for config in configs_of(what, resolution, name, keys):
        found = statistics(_sets(config))
        if as_json:
            typer.echo(json.dumps({"data": config.model_dump(mode="json"), **asdict(found)}, indent=1))
        else:
            _print_statistics(config, found)


@data.command()
def show(
    what: WhatArgument,
    out: Annotated[
        Path, typer.Option("--out", help="The PNG to write; of clips NAME.webp, too, in which they move.")
    ] = Path("data.png"),
    count: Annotated[
        int | None, typer.Option(min=1, max=1024, help="How many images or clips. Default: 64 images, 8 clips.")
    ] = None,
    split: Annotated[str, typer.Option(help="`train` or `validation`.")] = "train",
    resolution: SideOption = None, name: NameOption = None, keys: KeyOption = [],  # noqa: B006
) -> None:  # fmt: skip
    """Write images of a data set side by side, as a model is shown them; maps lie over theirs in colours.

    Of clips there is a row for each, frame by frame.

    Example: `pdebench data show photos --resolution 64 --out photos.png`
    """
    import numpy as np
    import torch

    from pdebench.data import registry
    from pdebench.files.map_picture import coloured
    from pdebench.files.picture import png_grid, webp_grid
    from pdebench.results.store import write_atomic

    if split not in ("train", "validation"):
        raise DataError(f"--split {split}: take train or validation")
    config = configs_of(what, resolution, name, keys)[0]
    images = registry.load(config, split)  # type: ignore[arg-type]
    if images.images.shape[1] not in (1, 3) or images.images.dtype != np.uint8:
        raise DataError(
            f"data set '{config.name}' has {images.images.shape[1]} channels of {images.images.dtype}, which are no "
            "picture: `pdebench data stats` says what they hold"
        )
    clips = images.images.ndim == 5
    if out.suffix == ".webp" and not clips:
        raise DataError(f"--out {out}: data set '{config.name}' has still images, so name a .png")
    count = count or (8 if clips else 64)
    rows = torch.from_numpy(np.array(images.images[:count]))
    if images.maps is not None:
        over = coloured(torch.from_numpy(np.array(images.maps[:count])))
        rows = ((rows.expand_as(over).short() + over.short()) // 2).byte()
    columns = max(1, round(len(rows) ** 0.5))
    if out.suffix == ".webp":
        write_atomic(out, webp_grid(rows, columns))
    elif clips:
        write_atomic(out, png_grid(rows.transpose(1, 2).flatten(0, 1), columns=rows.shape[2]))
    else:
        write_atomic(out, png_grid(rows, columns))
    typer.echo(f"wrote {out}: {len(rows)} of {len(images):,} {called([config.frames]).many} of the {split} split")
    if credit := registry.SOURCES[config.name].credit:
        typer.echo(f"who shows it names whose they are: {credit}")


@data.command()
def pack(
    what: WhatArgument, out: OutOption, resolution: SideOption = None, name: NameOption = None,
    keys: KeyOption = [],  # noqa: B006
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that decode; default: one a core.")] = None,
) -> None:  # fmt: skip
    """Decode and resize a data set once, into arrays that training reads from the disk.

    Images are cropped to their centred square and resized as ADM does it. Interrupted, the same command goes on where
    it was. Train on it with `data: {name: packed, path: FOLDER, resolution: R}`.

    Example: `pdebench data pack imagenet --resolution 256 --out imagenet256`
    """
    import os

    from pdebench.data.packed.images import pack as make

    (config,) = configs_of(what, resolution, name, keys)[:1]
    with bar("packing", "parts") as said:
        index = make(config, out, workers or len(os.sched_getaffinity(0)), said)
    rows = {split: sum(len(part.splits[split].labels) for part in index.parts if split in part.splits)
            for split in ("train", "validation")}  # fmt: skip
    left = index.skipped
    typer.echo(
        f"wrote {out}: {rows['train']:,} {called([index.frames]).many} to train on, "
        f"{rows['validation']:,} held out"
        + (f", {left:,} left out: `pdebench data stats {out}` names some" if left else "")
    )


@data.command()
def encode(
    what: WhatArgument,
    out: OutOption,
    autoencoder: Annotated[str, typer.Option(help="A folder of a diffusers autoencoder, or its name on the hub.")],
    resolution: SideOption = None, name: NameOption = None, keys: KeyOption = [],  # noqa: B006
    devices: Annotated[
        list[str] | None, typer.Option("--device", help="`cuda:0`, `cpu`; repeatable. Default: all GPUs, else the CPU.")
    ] = None,
    flip: Annotated[bool, typer.Option(help="Encode the mirrored images, too, to be trained on.")] = True,
    precision: Annotated[str, typer.Option(help="`fp16` or `fp32`, of what is kept.")] = "fp16",
    download: Annotated[bool, typer.Option("--download", help="Fetch the autoencoder from the hub.")] = False,
) -> None:  # fmt: skip
    """Encode the images of a set with an autoencoder, once, to train on their latents.

    The mean and the log-variance are kept where the autoencoder has them, so that latents are drawn anew in each epoch.
    Scale and shift are those of its configuration. Interrupted, the same command goes on where it was. Train on it with
    `data: {name: packed, path: FOLDER, resolution: SIDE OF A LATENT}`; samples are decoded.

    Example:

    ```sh
    pdebench data encode imagenet256 --autoencoder sd-vae-ft-ema --out latents
    ```
    """
    import torch

    from pdebench.run.encoding import encode as make

    if precision not in ("fp16", "fp32"):
        raise DataError(f"--precision {precision}: take fp16 or fp32")
    every = [f"cuda:{n}" for n in range(torch.cuda.device_count())] or ["cpu"]
    try:
        chosen = [torch.device(one) for one in devices or every]
    except RuntimeError:
        raise DataError(f"--device {devices}: take cpu, or cuda:0 and so on") from None
    config = configs_of(what, resolution, name, keys)[0]
    with bar("encoding", "parts") as said:
        index = make(
            config, out, autoencoder, devices=chosen, flip=flip, precision=precision, download=download, said=said
        )
    assert index.space is not None
    rows = sum(len(one.labels) for part in index.parts for one in part.splits.values())
    channels = index.shape[0] // (2 if index.space.spread else 1)
    typer.echo(
        f"wrote {out}: {rows:,} latents of {channels} x {index.shape[1]} x {index.shape[2]}"
        f"{', and those of the mirrored images' if flip else ''}; train on it with data.name: packed, "
        f"data.resolution: {index.shape[2]}"
    )


# ---- which set


def configs_of(what: str, resolution: int | None, name: str | None, keys: list[str]) -> list[DataConfig]:
    """The data sections that are meant: of a folder, of a set by its name, or of a suite."""
    from pdebench.data.packed.index import INDEX, read_index
    from pdebench.data.registry import SOURCES
    from pdebench.files.disk import expanded
    from pdebench.files.yaml_source import read_value
    from pdebench.suite.config import DataConfig

    given: dict[str, Any] = {}
    for text in keys:
        key, equals, value = text.partition("=")
        if not equals or key not in DataConfig.model_fields:
            raise DataError(f"--set {text}: must be KEY=VALUE, KEY one of {', '.join(DataConfig.model_fields)}")
        given[key] = read_value(value, f"--set {text}")
    folder = expanded(what)
    if name is None and what in SOURCES and not folder.is_dir() and not Path("suites", f"{what}.yaml").is_file():
        if resolution is None:
            raise DataError(f"{what}: say the side of the images with --resolution")
        return [_config({"name": what, "resolution": resolution} | given)]
    if name is None and not folder.is_dir():
        _refuse_missing(what)
        return _of_suite(what, resolution, given)
    packed = (folder / INDEX).is_file()
    about: dict[str, Any] = {"path": folder.absolute(), "resolution": resolution}
    if packed and name in (None, "packed"):
        index = read_index(folder)
        about |= {"name": "packed", "resolution": resolution or index.shape[-1], "frames": index.frames}
    else:
        about["name"] = name or ("folder" if given.get("frames") is None else "clips")
    if about["resolution"] is None:
        raise DataError(f"{what}: say the side of the images with --resolution")
    return [_config(about | given)]


def _refuse_missing(what: str) -> None:
    """Refuse what is neither there nor a suite's name, and say all that it may have been meant to be.

    Raises:
        DataError: it is.
    """
    from pdebench.data.registry import SOURCES
    from pdebench.errors import nearest
    from pdebench.files.disk import expanded
    from pdebench.suite.load import suite_names

    typed = what.rstrip("/")
    path, suites = expanded(typed), suite_names()
    if path.exists() or what in suites:
        return
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    here = nearest(path.name, [one.name for one in beside if one.is_dir() or one.suffix in (".yaml", ".yml")])
    near = typed.removesuffix(path.name) + here if here else None  # the way to it as it was typed
    near = near or nearest(what, {*suites, *SOURCES.at_hand()})
    raise DataError(
        f"{what}: there is no such folder of images, packed set, suite or suite's file, and no data set of "
        "that name; " + (f"did you mean '{near}'?" if near else "see `pdebench data list` and `pdebench list suites`")
    )


def _of_suite(what: str, resolution: int | None, given: dict[str, Any]) -> list[DataConfig]:
    from pdebench.suite.load import load_suite

    found = dict.fromkeys(cell.data for cell in load_suite(what).planned())
    changed = {**given, **({"resolution": resolution} if resolution else {})}
    return list(dict.fromkeys(_config(one.model_dump() | changed) for one in found))


def _config(values: dict[str, Any]) -> DataConfig:
    from pydantic import ValidationError

    from pdebench.suite.config import DataConfig
    from pdebench.suite.validation import problem_of

    try:
        return DataConfig(**values)
    except ValidationError as error:
        first = problem_of(error, DataConfig, values, "data")
        raise DataError(f"{'.'.join(map(str, first.where))}: {first.message}") from None


def _sets(config: DataConfig) -> dict[Split, ImageSet]:
    from pdebench.data import registry
    from pdebench.data.source import SPLITS

    return {split: registry.load(config, split) for split in SPLITS}


# ---- what is said


def _print_statistics(config: DataConfig, found: Any) -> None:
    where = f" in {config.path}" if config.path else ""
    typer.echo(f"data set '{config.name}'{where}: {' x '.join(map(str, found.shape))} of {found.dtype}")
    noun = called([config.frames])
    for split, one in found.splits.items():
        typer.echo(f"{split}: {plural(one.images, noun.one)}, {one.copies:,} of them copies of others")
        numbers = ", ".join(f"{mean:.4g} +- {std:.4g}" for mean, std in zip(one.mean, one.std, strict=True))
        typer.echo(f"  channels, mean +- deviation: {numbers}")
        if one.classes is not None:
            sizes = sorted(one.classes.values())
            typer.echo(f"  {plural(len(sizes), 'class')} of {sizes[0]:,} to {sizes[-1]:,} {noun.many}")
            shown = list(one.classes.items())[:10]
            more = f", and {len(one.classes) - 10:,} more" if len(one.classes) > 10 else ""
            typer.echo("  in order: " + ", ".join(f"{name} {count:,}" for name, count in shown) + more)
        if one.pixels is not None:
            shares = sorted(one.pixels.items(), key=lambda item: -item[1])
            more = f", and {len(shares) - 10:,} more" if len(shares) > 10 else ""
            typer.echo("  pixels: " + ", ".join(f"{name} {share:.1%}" for name, share in shares[:10]) + more)
            none = sum(not share for _, share in shares)
            have = "has" if none == 1 else "have"
            typer.echo(f"  {plural(none, 'class')} {have} none; {one.ignored:.1%} of the pixels are ignored")
    skipped = max(one.skipped for one in found.splits.values())
    are, were = ("is" if found.shared == 1 else "are", "was" if skipped == 1 else "were")
    typer.echo(
        f"{plural(found.shared, f'held-out {noun.one}')} {are} trained on, too; "
        f"{plural(skipped, 'file')} {were} left out"
    )
