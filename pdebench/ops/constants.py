"""Tensors that depend on sizes alone, formed once for each size, precision and device."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")

Found = dict[Hashable, Any]
Apart = Callable[[], AbstractContextManager[None]]
_of_a_trace: tuple[Found, Apart] | None = None


@contextmanager
def kept_in_a_trace(apart: Apart) -> Iterator[None]:
    """Form constants of fake tensors once each too, for here alone, and within `apart()`.

    A step that is traced is to be counted without them, since a real one finds those of the step before.
    """
    global _of_a_trace
    before, _of_a_trace = _of_a_trace, ({}, apart)
    try:
        yield
    finally:
        _of_a_trace = before


def kept(form: Callable[..., T]) -> Callable[..., T]:
    """Turn `form(*sizes, dtype, device)` into `get(*sizes, like)`, which takes precision and device from a tensor.

    What was formed before is given again, so nobody may write to it, and never let go of: a CUDA graph that was
    recorded with it reads it where it lies. It is formed anew where the tensor has no numbers to go with: in a graph
    that is compiled or traced, which should see how it comes about, and on fake tensors, which must not find a real
    one, nor leave theirs.
    """

    @cache
    def once(*given: Any) -> T:
        *_, device = given
        if device.type != "cuda":
            return form(*given)
        # While a CUDA graph is warmed up or recorded, what its thread allocates is the graph's, and overwritten.
        with ThreadPoolExecutor(1) as another:
            found = another.submit(form, *given).result()
        torch.cuda.synchronize(device)
        return found

    def get(*sizes: object, like: Tensor) -> T:
        real = type(like) in (Tensor, nn.Parameter) and not like.is_meta
        given = (*sizes, like.dtype, like.device)
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
            return form(*given)
        if not real:
            return _traced(form, given)
        with torch.inference_mode(False):  # what is kept serves training too
            return once(*given)

    return get


def _traced(form: Callable[..., T], given: tuple[object, ...]) -> T:
    if _of_a_trace is None:
        return form(*given)
    found, apart = _of_a_trace
    if (form, given) not in found:
        with apart():
            found[form, given] = form(*given)
    constant: T = found[form, given]
    return constant
