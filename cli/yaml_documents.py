# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""YAML as plain objects, with one reading: what the core schema of YAML 1.2 and JSON agree on.

Rules:
 * `true`, `false`, `null` and `~` are what they say; `yes`, `on`, `2027-03-01`, `1:30` are texts.
 * A key that is given twice, a tag, an anchor, an alias, a merge, a second document unless several
   are asked for, and a key that is no text or number are refused, with their line.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from shared.errors import Reason, RefusedError
from shared.validation import MAX_DEPTH

_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEAN: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
"""YAML 1.2.2, section 10.3.2; infinities and no-numbers are texts, since JSON has none."""
_DIGITS: Final = 30
"""Longest number; none that is meant is longer."""


def read_yaml(text: str, *, what: str) -> Any:
    """The one document in `text`.

    Args:
        text: YAML.
        what: How a refusal names it.

    Raises:
        RefusedError: It is not YAML, or has something that is not read, with its line.
    """
    documents = _read(text, what, _Reader(what, has_several=False))
    return documents[0] if documents else None


def read_yaml_documents(text: str, *, what: str) -> list[Any]:
    """All documents in `text`, as `read_yaml` reads one; empty ones between markers are left out.

    Args:
        text: YAML.
        what: How a refusal names it.

    Raises:
        RefusedError: It is not YAML, or has something that is not read, with its line.
    """
    return [one for one in _read(text, what, _Reader(what, has_several=True)) if one is not None]


def _read(text: str, what: str, reader: _Reader) -> list[Any]:
    try:
        return reader.documents(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise _refused(what, f"is not YAML: {said}", mark) from error


class _Reader:
    """Builds values from the events of the parser."""

    def __init__(self, what: str, *, has_several: bool) -> None:
        self._what: Final = what
        self._has_several: Final = has_several
        self._holders: Final[list[_Holder]] = []
        self._values: Final[list[Any]] = []

    def documents(self, events: Any) -> list[Any]:
        """The values; events that come are read up to the end."""
        for event in events:
            self._take(event)
        return self._values

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            if self._values and not self._has_several:
                raise self._refused("has a second document", event)
        elif isinstance(event, yaml.AliasEvent):
            raise self._refused("has an alias: write out what it stands for", event)
        elif isinstance(event, yaml.NodeEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            holder = self._holders.pop()
            self._put(holder.value, event)

    def _begin(self, event: Any) -> None:
        if event.anchor is not None:
            raise self._refused("has an anchor", event)
        if event.tag is not None:
            raise self._refused(f"has the tag {event.tag}", event)
        if isinstance(event, yaml.ScalarEvent):
            is_plain = event.implicit[0] and event.style is None
            self._put(_plain(event.value) if is_plain else self._text(event), event)
            return
        if len(self._holders) >= MAX_DEPTH:
            raise self._refused("is nested too deeply", event)
        self._holders.append(_Holder({} if isinstance(event, yaml.MappingStartEvent) else []))

    def _text(self, event: Any) -> str:
        """What is quoted; two escapes that are one character in JSON are one here."""
        text: str = event.value
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            raise self._refused("has half of a character", event) from error

    def _put(self, value: Any, event: Any) -> None:
        if not self._holders:
            self._values.append(value)
            return
        holder = self._holders[-1]
        if isinstance(holder.value, list):
            holder.value.append(value)
        elif holder.has_key:
            holder.value[holder.key] = value
            holder.has_key = False
        else:
            holder.key, holder.has_key = self._key(value, holder.value, event), True

    def _key(self, value: Any, known: dict[str, Any], event: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self._refused("has a key that is neither text nor an integer", event)
        key = value if isinstance(value, str) else event.value
        if key == "<<" and event.style is None:
            raise self._refused("has a merge key", event)
        if key in known:
            raise self._refused(f"names {key} twice", event)
        return str(key)

    def _refused(self, rule: str, event: Any) -> RefusedError:
        return _refused(self._what, rule, event.start_mark)


class _Holder:
    """A mapping or a list that is still being read."""

    def __init__(self, value: dict[str, Any] | list[Any]) -> None:
        self.value: Final = value
        self.key = ""
        self.has_key = False


def _plain(text: str) -> Any:
    """What an unquoted word means."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if len(text) <= _DIGITS:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _OTHER_BASE.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


def _refused(what: str, rule: str, mark: Any) -> RefusedError:
    path = f"line {mark.line + 1}" if mark is not None else ""
    at = f", {path}" if path else ""
    return RefusedError(f"{what}{at}: {rule}", [Reason(path=path, rule=rule)])
