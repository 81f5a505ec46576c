"""What an error means."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from pdebench.data.registry import SOURCES
from pdebench.errors import PdebenchError, did_you_mean, nearest, out_of_memory
from pdebench.metrics.registry import METRICS
from pdebench.models.registry import FAMILIES
from pdebench.registry import Registry
from pdebench.suite.config import DataConfig, TrainConfig
from pdebench.tasks.registry import TASKS


def chained(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("unable to mmap 9 bytes from file: Cannot allocate memory (12)"),
        RuntimeError("std::bad_alloc"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        ImportError("Error importing numpy: libscipy.so: failed to map segment from shared object\nSee the manual"),
        ImportError("lib.so: cannot allocate memory"),
        ImportError("lib.so: failed to map segment from shared object: Cannot allocate memory"),
        chained(ImportError("numpy cannot be imported"), MemoryError()),
        chained(ImportError("torch"), chained(ImportError("numpy"), OSError(errno.ENOMEM, "no"))),
    ],
)
def test_memory_that_ran_out_is_known_also_where_a_library_was_loaded(error: Exception) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("No module named 'torch'"),
        ImportError("lib.so: failed to map segment from shared object: Operation not permitted"),
        ImportError("lib.so: cannot allocate memory in static TLS block"),
        OSError(errno.ENOSPC, "No space left on device"),
        chained(ValueError("of something else"), MemoryError()),
    ],
)
def test_what_is_wrong_with_an_installation_is_no_lack_of_memory(error: Exception) -> None:
    assert not out_of_memory(error)


DATA, TRAIN = tuple(DataConfig.model_fields), tuple(TrainConfig.model_fields)
BUILT_IN = tuple(FAMILIES.built_in)


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("lrr", TRAIN, "lr"),
        ("famly", ("family", "size", "patch"), "family"),
        ("batchsize", TRAIN, "batch_size"),
        ("weight_deacy", TRAIN, "weight_decay"),
        ("resolutoin", DATA, "resolution"),
        ("res", DATA, "resolution"),
        ("flops", ("train_flops", "seconds"), "train_flops"),
        ("mlp_hidden_size", ("mlp_hidden", "heads"), "mlp_hidden"),
        ("train.sead", ("train.lr", "train.seed"), "train.seed"),
        ("Mamba-Dit", BUILT_IN, "Mamba-DiT"),
        ("DTI", BUILT_IN, "DiT"),
        ("DiT-XL", BUILT_IN, "DiT"),
        ("S4-DiT", BUILT_IN, "S4D-DiT"),
        ("PDE-SSM", BUILT_IN, "PDE-SSM-DiT"),
        ("PDE-DiT", BUILT_IN, "PDE-SSM-DiT"),
        ("gfnet", BUILT_IN, "GFNet-DiT"),
    ],
)
def test_a_word_that_is_misspelt_or_cut_short_is_known(word: str, known: tuple[str, ...], meant: str) -> None:
    assert nearest(word, known) == meant
    assert did_you_mean(word, known) == f"did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("split", DATA),  # not `shift`
        ("epochs", TRAIN),  # not `steps`
        ("train.lr", ("train.seed", "data.resolution")),
        ("Dw-DiT", BUILT_IN),  # not `S4D-DiT`: all that they share is what every family ends with
        ("Conv-DiT", BUILT_IN),
        ("My-DiT", BUILT_IN),
        ("XM", ("XS", "XL")),  # one letter of two
        ("", BUILT_IN),
        ("-", BUILT_IN),
    ],
)
def test_a_word_of_its_own_is_answered_with_those_that_are_known(word: str, known: tuple[str, ...]) -> None:
    assert nearest(word, known) is None
    assert did_you_mean(word, known).startswith(f"known: {sorted(known)[0]}, ")


@pytest.mark.parametrize("registry", [FAMILIES, SOURCES, METRICS, TASKS])
def test_an_unknown_name_may_be_of_a_package_that_is_not_installed(registry: Registry[Any]) -> None:
    with pytest.raises(PdebenchError) as refused:
        registry.find("Quux")
    assert str(refused.value).endswith(
        "; one of a package of your own is known once that is installed: `pdebench doctor` lists what it finds"
    )
