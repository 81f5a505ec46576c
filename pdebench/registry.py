"""Things by name: those shipped here, then those that other packages add by entry points.

A package adds a thing by an entry point in the group of its kind. The entry point has the thing's own name:

    [project.entry-points."pdebench.metrics"]
    sharpness = "my_package:SHARPNESS"

Importing this imports no package and looks for none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, TypeVar

from pdebench.errors import FOREIGN, PdebenchError, did_you_mean, nearest, out_of_memory

_LONGEST = 300  # characters of what a package's own error says


class Named(Protocol):
    """What a registry holds."""

    @property
    def name(self) -> str:
        """As a suite writes it, and as the entry point is called."""

    @property
    def summary(self) -> str:
        """One line for `pdebench list`."""


T = TypeVar("T", bound=Named)


class Registry(Mapping[str, T]):
    """Things of one kind by name. One of another package is imported when it is asked for, and only then.

    `in`, `len` and iteration import nothing, so a name may be known whose thing is not to be had. `[]` then raises
    `error` in one sentence; `get` gives the default. A built-in name stays what it is, whoever else takes it. A name
    that two packages give is refused: which of them is found would depend on how they are installed.

    Attributes:
        what: the kind in words, such as `data set`.
        group: of the entry points, such as `pdebench.data`.
        kind: the class whose instances these are.
        built_in: those shipped here, by name.
        error: raised for a name that is unknown or not to be had.
        fault: what else is wrong with a thing of another package, as the end of a sentence; None: nothing.
    """

    def __init__(
        self,
        what: str,
        group: str,
        kind: type[T],
        built_in: Iterable[T],
        error: type[PdebenchError],
        fault: Callable[[T], str | None] = lambda thing: None,
    ) -> None:
        self.what, self.group, self.kind, self.error, self.fault = what, group, kind, error, fault
        self.built_in = {thing.name: thing for thing in built_in}
        self._imported: dict[str, T | str] = {}  # or why it is not to be had

    def __getitem__(self, name: str) -> T:
        if name in self.built_in:
            return self.built_in[name]
        if name not in self._added():
            raise KeyError(name)
        found = self._import(name)
        if isinstance(found, str):
            raise self.error(found)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter((*self.built_in, *self._added()))

    def __len__(self) -> int:
        return len(self.built_in) + len(self._added())

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self._added()

    def get(self, name: str, default: Any = None) -> Any:
        """The thing of this name, or the default where it is unknown or not to be had."""
        try:
            return self[name]
        except (KeyError, self.error):
            return default

    def find(self, name: str) -> T:
        """The thing of this name.

        Raises:
            PdebenchError: `error`, which names the nearest name, or says why the thing is not to be had.
        """
        if name in self:
            return self[name]
        near = nearest(name, self)
        why = self._import(near) if near is not None and near not in self.built_in else None
        hint = f"the nearest is not to be had: {why}" if isinstance(why, str) else did_you_mean(name, self)
        if near is None:  # it may be in a package of the user's
            hint += (
                "; one of a package of your own is known once that is installed: `pdebench doctor` lists what it finds"
            )
        raise self.error(f"unknown {self.what} '{name}'; {hint}")

    def added(self) -> dict[str, T]:
        """Those of other packages that are to be had; imports all of them."""
        found = {name: self._import(name) for name in self._added()}
        return {name: thing for name, thing in found.items() if not isinstance(thing, str)}

    def at_hand(self) -> dict[str, T]:
        """All that are to be had, the built-in ones first; imports those of other packages."""
        return {**self.built_in, **self.added()}

    def broken(self) -> dict[str, str]:
        """Names that other packages give in vain, each with a sentence that says why; imports all of them."""
        taken = {
            point.name: f"{self.what} '{point.name}' of {_origin(point)} has the name of a built-in one, which stays; "
            "give it another name"
            for point in installed(self.group)
            if point.name in self.built_in
        }
        found = {name: self._import(name) for name in self._added()}
        return taken | {name: why for name, why in found.items() if isinstance(why, str)}

    def _added(self) -> dict[str, list[EntryPoint]]:
        """The entry points of each name that is not built in."""
        points: dict[str, list[EntryPoint]] = {}
        for point in installed(self.group):
            if point.name not in self.built_in:
                points.setdefault(point.name, []).append(point)
        return points

    def _import(self, name: str) -> T | str:
        """The thing that a package adds, or why it is not to be had; tried once, unless memory runs out."""
        if name not in self._imported:
            points = self._added()[name]
            whose = f"{self.what} '{name}' of {' and of '.join(map(_origin, points))}"
            if len(points) > 1:
                self._imported[name] = f"{whose} is one name for two things; remove all but one of these packages"
                return self._imported[name]
            try:
                thing = points[0].load()
                fault = self._fault(name, thing)
            except FOREIGN as error:
                if out_of_memory(error):  # it may be there the next time
                    raise
                said = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
                self._imported[name] = f"{whose} cannot be imported: {said}"
            else:
                self._imported[name] = thing if fault is None else f"{whose} {fault}"
        return self._imported[name]

    def _fault(self, name: str, thing: T) -> str | None:
        if not isinstance(thing, self.kind):
            kind = f"{self.kind.__module__}.{self.kind.__qualname__}"
            return f"is not an instance of {kind}, but of {type(thing).__qualname__}"
        if thing.name != name:
            return f"calls itself '{thing.name}'; the entry point needs that name too"
        return self.fault(thing)


def _origin(point: EntryPoint) -> str:
    """The package of an entry point, and the place that it names."""
    whose = f"the package {point.dist.name}" if point.dist else "another package"
    return f"{whose} ({point.value})"


@cache
def installed(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group that are installed; to look for them takes 25 ms."""
    return tuple(dict.fromkeys(entry_points(group=group)))
