"""YAML read as plain data that remembers the line each value came from.

Only text, numbers, true/false, null, lists and mappings with text keys come out; nothing read here can
run code. Scalars follow YAML 1.2's core schema rather than PyYAML's 1.1: `1e-4` is a number,
`no` is text.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pdebench.errors import SuiteError
from pdebench.files.disk import read_plain

Where = tuple[str | int, ...]
"""The way to a value: ("train", "lr"), ("grid", "train.lr", 2), ..."""

# A few lines can expand to billions of values through aliases of aliases; no real suite comes near these.
_MOST_VALUES = 20_000
_DEEPEST = 50  # lists in lists
_LARGEST = 2**20  # bytes of a file
_TOO_LARGE = f"is larger than {_LARGEST // 2**20} MiB, and so no suite"

_PREFIX = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT, _STR, _MERGE = (_PREFIX + t for t in ("null", "bool", "int", "float", "str", "merge"))
_SCALARS = {
    _NULL: (re.compile(r"~|null|Null|NULL|"), "~nN\0"),
    _BOOL: (re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    # `1e4` without a point is a whole number, so that `steps: 1e4` means what it says.
    _INT: (re.compile(r"[-+]?[0-9]+(?:[eE]\+?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+"), "-+0123456789"),
    _FLOAT: (
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
        "-+.0123456789",
    ),
    _MERGE: (re.compile(r"<<"), "<"),
}
_RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
for _tag, (_pattern, _starts) in _SCALARS.items():
    for _start in _starts:
        # PyYAML matches a prefix, so the end is anchored; it looks the empty scalar up under "".
        _RESOLVERS.setdefault(_start.strip("\0"), []).append((_tag, re.compile(rf"(?:{_pattern.pattern})\Z")))


class _TooMuch(Exception):
    """A text of more values than a suite has, or deeper ones, seen while it is read: what, and on which line from 0."""

    def __init__(self, what: str, line: int):
        super().__init__(what)
        self.what, self.line = what, line


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _RESOLVERS  # type: ignore[assignment]
    nodes, depth = 0, 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.nodes += 1
        self.depth += 1
        if self.nodes > 2 * _MOST_VALUES:  # keys are nodes, too
            raise _TooMuch(f"holds more than {_MOST_VALUES} values", self.line)
        if self.depth > _DEEPEST:
            raise _TooMuch("is nested too deeply to be a suite", self.line)
        made = super().compose_node(parent, index)
        self.depth -= 1
        return made


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would read as something else, so that any reader gets it back."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - declared so by PyYAML
        start: [*yaml.SafeDumper.yaml_implicit_resolvers.get(start, []), *_RESOLVERS.get(start, [])]
        for start in {*yaml.SafeDumper.yaml_implicit_resolvers, *_RESOLVERS}
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Write plain data as YAML, keys in their order; `read_text` gives equal data back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


@dataclass(frozen=True)
class SourceLocation:
    """Where a value was written: a file and its line, or an override of the command line (no line)."""

    file: str
    line: int | None = None

    def error(self, message: str, key: str | None = None) -> SuiteError:
        """Build a SuiteError that points here."""
        return SuiteError(message, file=self.file, line=self.line, key=key)


@dataclass(frozen=True)
class YamlSource:
    """Plain data of one YAML mapping and the place of each of its values."""

    data: dict[str, Any]
    file: str
    places: Mapping[Where, SourceLocation] = field(default_factory=dict)

    def place(self, where: Where) -> SourceLocation:
        """The place of a value, or of the nearest thing that holds it."""
        while where and where not in self.places:
            where = where[:-1]
        return self.places.get(where, SourceLocation(self.file))

    def changed(self, where: Where, value: Any) -> YamlSource:
        """Return a copy in which a value that is there is another, at the same place of the file."""
        data = copy.deepcopy(self.data)
        inner: Any = data
        for part in where[:-1]:
            inner = inner[part]
        inner[where[-1]] = value
        return YamlSource(data, self.file, self.places)

    def replaced(self, where: Where, value: Any, place: SourceLocation) -> YamlSource:
        """Return a copy with one value set, making the mappings on the way to it; lists on it are there."""
        data = copy.deepcopy(self.data)
        inner: Any = data
        for key in where[:-1]:
            if not isinstance(key, int) and not isinstance(inner.get(key), dict | list):
                inner[key] = {}
            inner = inner[key]
        inner[where[-1]] = value
        places = {at: old for at, old in self.places.items() if at[: len(where)] != where}
        made = {where[:depth]: place for depth in range(1, len(where)) if where[:depth] not in places}
        return YamlSource(data, self.file, {**places, **made, where: place})

    def without(self, way: Where, index: int) -> YamlSource:
        """Return a copy without one entry of the list at `way`; those after it move up, with their places."""
        data, depth = copy.deepcopy(self.data), len(way)
        inner: Any = data
        for part in way:
            inner = inner[part]
        del inner[index]
        places: dict[Where, SourceLocation] = {}
        for at, place in self.places.items():
            entry = at[depth] if len(at) > depth and at[:depth] == tuple(way) else None
            if not isinstance(entry, int) or entry < index:
                places[at] = place
            elif entry > index:
                places[(*way, entry - 1, *at[depth + 1 :])] = place
        return YamlSource(data, self.file, places)


def read_file(path: Path) -> YamlSource:
    """Read a YAML file that holds a mapping.

    Raises:
        SuiteError: the file cannot be read, is no plain file, is not UTF-8 or is not such YAML.
    """
    file = str(path)
    try:
        text = read_plain(path, _LARGEST, follow=True).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SuiteError("is not UTF-8 text; save the file as UTF-8", file=file, line=line) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, or no plain file
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SuiteError(f"cannot be read: {reason}", file=file) from None
    return read_text(text, file)


def read_text(text: str, file: str) -> YamlSource:
    """Read YAML text that holds a mapping; `file` is what errors name.

    Raises:
        SuiteError: as `read_file`.
    """
    reader = _Reader(file)
    data = reader.read(text)
    if data is None:
        raise SuiteError("is empty; a suite starts with 'suite: NAME'", file=file)
    if not isinstance(data, dict):
        raise SuiteError(f"must hold keys and values, such as 'suite: NAME', not {show(data)}", file=file, line=1)
    return YamlSource(data, file, reader.places)


def read_value(text: str, file: str) -> Any:
    """Read one YAML value of the command line, such as `1e-4` or `[DiT, Mamba-DiT]`.

    Raises:
        SuiteError: it is not YAML.
    """
    return _Reader(file, lines=False).read(text)


def _stands_alone(key: yaml.Node, value: yaml.Node) -> bool:
    """Whether a key is a value that somebody meant for the key before it: `{train.lr: 1e-3, 2e-3}`."""
    return isinstance(key, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode) and value.tag == _NULL


_POWER = r"([eE][-+]?\d+)?"


def comma_hint(text: str) -> str:
    """What to write in place of a number with commas, as a clause; empty where the text is none."""
    if not re.fullmatch(rf"[-+]?\d+(,\d+)+(\.\d+)?{_POWER}", text):
        return ""
    whole, _, rest = text.partition(",")
    thousands = re.fullmatch(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?", text)
    return f"; write {text.replace(',', '')}" if thousands else f"; write {whole}.{rest}"


def dotted(where: Where) -> str:
    """How an error names a way into a suite: `train.betas[1]`."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def show(value: object) -> str:
    """A value as a message shows it: as YAML would write it, text in quotes, cut when long."""
    if isinstance(value, str):
        text = repr(value)
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(show(item) for item in value[:20])}{', ...' if len(value) > 20 else ''}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{key}: {show(item)}' for key, item in list(value.items())[:20])}}}"
    elif value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, int) and abs(value) >= 10**60:
        return "a number of more than 60 digits"
    else:
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Reader:
    def __init__(self, file: str, lines: bool = True):
        self.file, self.lines = file, lines
        self.places: dict[Where, SourceLocation] = {}
        self.values = 0
        self.open: set[int] = set()  # nodes being built, to see an alias that holds itself
        self.text = ""

    def read(self, text: str) -> Any:
        self.text = text
        if len(text) > _LARGEST:
            raise SourceLocation(self.file).error(_TOO_LARGE)
        try:
            root = yaml.compose(text, Loader=_Loader)
            return None if root is None else self._build(root, (), root)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            what = f"is not valid YAML: character U+{ord(text[error.position]):04X} is not allowed"
            raise self._place(line - 1).error(what) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = " ".join(str(error.problem or error.context).split())
            hint = "; check the indentation" if "block" in problem else ""
            raise self._place(mark.line if mark else 0).error(f"is not valid YAML: {problem}{hint}") from None
        except _TooMuch as error:
            raise self._place(error.line).error(error.what) from None

    def _place(self, line: int) -> SourceLocation:
        """The place of a line counted from 0, as PyYAML counts."""
        return SourceLocation(self.file, line + 1 if self.lines else None)

    def _error(self, node: yaml.Node, message: str, where: Where = ()) -> SuiteError:
        return self._place(node.start_mark.line).error(message, dotted(where) or None)

    def _count(self, values: int, node: yaml.Node) -> None:
        self.values += values
        if self.values > _MOST_VALUES:
            raise self._error(node, f"holds more than {_MOST_VALUES} values once its aliases are followed")

    def _build(self, node: yaml.Node, where: Where, shown: yaml.Node) -> Any:
        """Plain data of a node. `shown` is where its reader would look: the key, for a value of a mapping."""
        self._count(1, node)
        if id(node) in self.open:
            raise self._error(shown, "an alias stands for something that holds the alias itself", where)
        self.places[where] = self._place(shown.start_mark.line)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, where)
        if node.tag not in (_PREFIX + "map", _PREFIX + "seq"):
            raise self._error(node, f"the tag '{_short(node.tag)}' is not allowed in a suite", where)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                pairs = self._pairs(node, where)
                return {name: self._build(value, (*where, name), key) for name, (key, value) in pairs.items()}
            return [self._build(item, (*where, index), item) for index, item in enumerate(node.value)]
        finally:
            self.open.discard(id(node))

    def _pairs(self, node: yaml.MappingNode, where: Where) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key and value nodes by key: what `<<` brings in first, then the mapping's own, which win."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (_STR, _MERGE):
                self._refuse_comma(key, where)
                advice = f"; several values stand in brackets: [..., {key.value}]" if _stands_alone(key, value) else ""
                raise self._error(key, f"a key must be plain text, not {self._what(key)}{advice}", where)
            name = key.value
            if name in own:
                lines = "" if not self.lines else f" on line {own[name][0].start_mark.line + 1}"
                raise self._error(key, f"is given twice, first{lines or ' before'}; keep one", (*where, name))
            own[name] = (key, value)
            if key.tag == _MERGE:
                merged = self._merged(key, value, where)
        return {**merged, **{name: pair for name, pair in own.items() if pair[0].tag != _MERGE}}

    def _merged(self, key: yaml.Node, value: yaml.Node, where: Where) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                raise self._error(key, "'<<' takes an alias of a mapping, or a list of them", where)
            if id(source) in self.open:
                raise self._error(key, "'<<' takes in something that holds the '<<' itself", where)
            self._count(len(source.value), key)
            self.open.add(id(source))
            try:
                merged = {**self._pairs(source, where), **merged}  # of several, the first wins
            finally:
                self.open.discard(id(source))
        return merged

    def _what(self, node: yaml.Node) -> str:
        return str(node.value) if isinstance(node, yaml.ScalarNode) and node.value else "a list, mapping or nothing"

    def _refuse_comma(self, node: yaml.Node, where: Where) -> None:
        """Say that `10,000` between brackets is two values, where this node is its second part."""
        begin = node.start_mark.index
        before = re.search(r"[-+]?\d+,$", self.text[:begin])
        if (
            before is not None
            and isinstance(node, yaml.ScalarNode)
            and re.fullmatch(rf"\d+(\.\d+)?{_POWER}", node.value)
        ):
            number = before[0] + node.value
            raise self._error(node, f"{number} is two values, since a comma ends one{comma_hint(number)}", where)

    def _scalar(self, node: yaml.ScalarNode, where: Where) -> Any:
        text = node.value
        if re.fullmatch(r"0\d+", text):  # in a list: [1,000] begins with a 1 and goes on with 000
            self._refuse_comma(node, where)
        pattern = _SCALARS.get(node.tag)
        if node.tag != _STR and (pattern is None or not pattern[0].fullmatch(text)):
            raise self._error(node, f"'{_short(node.tag)} {show(text)[1:-1]}' is not allowed in a suite", where)
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return text.lower() == "true"
        if node.tag == _INT or node.tag == _FLOAT:
            number = _number(text, node.tag)
            if number is None:
                raise self._error(node, f"must be a finite number of at most 64 bits, not {show(text)[1:-1]}", where)
            return number
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self._error(node, "holds half of a surrogate pair; write the character itself", where) from None
        return text


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_PREFIX) if tag.startswith(_PREFIX) else tag


def _number(text: str, tag: str) -> int | float | None:
    """The number, or None when it is not finite or too long to be meant."""
    if tag == _FLOAT:
        value = math.nan if text[-1] in "fFnN" else float(text)  # .inf and .nan are refused
        return value if math.isfinite(value) else None
    if text.startswith(("0o", "0x")):
        number = int(text, 0)
    elif "e" in text.lower():
        value = float(text)
        number = int(value) if abs(value) < 2**63 else 2**63
    else:
        number = int(text) if len(text) < 30 else 2**63
    return number if abs(number) < 2**63 else None
