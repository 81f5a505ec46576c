"""What the models of a suite's sections ask of names, in sentences for the suite's author."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import PydanticCustomError

from pdebench.errors import did_you_mean
from pdebench.registry import Registry


def known(kind: str, word: str, names: Iterable[str]) -> str:
    """The word, which is one of the names of that kind.

    Raises:
        PydanticCustomError: it is none; names the nearest.
    """
    names = list(names)
    if word not in names:
        message = f"unknown {kind} '{word}'; {did_you_mean(word, names)}"
        # pydantic formats the message as a template; braces of the word must not count.
        raise PydanticCustomError("unknown_name", "{message}", {"message": message})
    return word


def registered(name: str, registry: Registry[Any]) -> str:
    """A name whose thing is to be had; that of another package is imported.

    Raises:
        PydanticCustomError: it is not; names the nearest, or says why.
    """
    try:
        registry.find(name)
    except registry.error as error:
        raise PydanticCustomError("unknown_name", "{message}", {"message": str(error)}) from None
    return name


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, each of which is there once.

    Raises:
        PydanticCustomError: one is there twice.
    """
    for index, name in enumerate(names):
        if name in names[:index]:
            raise PydanticCustomError("repeated", "{message}", {"message": f"'{name}' is listed twice; keep one"})
    return names
