"""The names of classes as a record holds them: a text of JSON, of a length that a table can bear."""

from __future__ import annotations

import json
from collections.abc import Sequence

LONGEST = 8_000  # characters: of a thousand classes in plain words there are more, and the checkpoint has them


def names_column(names: Sequence[str] | None) -> str | None:
    """The column `class_names`; None for a set without classes, and where they are too many or too long."""
    text = json.dumps(None if names is None else list(names), ensure_ascii=True)
    return text if names is not None and len(text) <= LONGEST else None


def names_in(column: object) -> list[str]:
    """The names that a column holds, by number; none where it says nothing."""
    try:
        found = json.loads(column) if isinstance(column, str) else []
    except ValueError:
        return []
    return [str(one) for one in found] if isinstance(found, list) else []
