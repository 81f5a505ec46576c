"""What an error means."""

from __future__ import annotations

import errno

import pytest

from pdebench.errors import out_of_memory


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
