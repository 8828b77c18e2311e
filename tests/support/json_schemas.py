# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""As much of JSON Schema as the schemas of packages and of their configuration use."""

from __future__ import annotations

import re
from typing import Any, Final

_TYPES: Final[dict[str, type]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_IGNORED: Final = {"$schema", "$defs", "title", "description", "default", "format"}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Whether the schema takes the value; one with references must be `resolved` before.

    Raises:
        KeyError: The schema uses a keyword that is not known here.
    """
    keywords = sorted(set(schema) - _IGNORED, key=lambda keyword: keyword != "type")
    return all(_KEYWORDS[keyword](schema[keyword], value, schema) for keyword in keywords)


def resolved(schema: Any, definitions: dict[str, Any] | None = None) -> Any:
    """The schema with what it refers to below `$defs` in the place of each reference."""
    if isinstance(schema, list):
        return [resolved(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    known = schema.get("$defs", {}) if definitions is None else definitions
    if "$ref" in schema:
        return resolved(known[schema["$ref"].removeprefix("#/$defs/")], known)
    return {name: resolved(one, known) for name, one in schema.items() if name != "$defs"}


def _is_type(wanted: str, value: Any) -> bool:
    return isinstance(value, _TYPES[wanted]) and not (
        wanted == "integer" and isinstance(value, bool)
    )


def _properties(wanted: dict[str, Any], value: Any) -> bool:
    return all(accepts(one, value[name]) for name, one in wanted.items() if name in value)


def _others(wanted: Any, value: Any, schema: dict[str, Any]) -> bool:
    others = [one for name, one in value.items() if name not in schema.get("properties", {})]
    return not others if wanted is False else all(accepts(wanted, one) for one in others)


_KEYWORDS: Final[dict[str, Any]] = {
    "type": lambda wanted, value, _: _is_type(wanted, value),
    "enum": lambda wanted, value, _: any(
        value == one and isinstance(value, bool) == isinstance(one, bool) for one in wanted
    ),
    "minimum": lambda wanted, value, _: value >= wanted,
    "maximum": lambda wanted, value, _: value <= wanted,
    "pattern": lambda wanted, value, _: re.search(wanted, value) is not None,
    "minLength": lambda wanted, value, _: len(value) >= wanted,
    "maxLength": lambda wanted, value, _: len(value) <= wanted,
    "items": lambda wanted, value, _: all(accepts(wanted, one) for one in value),
    "minItems": lambda wanted, value, _: len(value) >= wanted,
    "maxItems": lambda wanted, value, _: len(value) <= wanted,
    "anyOf": lambda wanted, value, _: any(accepts(one, value) for one in wanted),
    "not": lambda wanted, value, _: not accepts(wanted, value),
    "properties": lambda wanted, value, _: _properties(wanted, value),
    "required": lambda wanted, value, _: set(wanted) <= set(value),
    "additionalProperties": _others,
    "propertyNames": lambda wanted, value, _: all(accepts(wanted, name) for name in value),
    "minProperties": lambda wanted, value, _: len(value) >= wanted,
    "maxProperties": lambda wanted, value, _: len(value) <= wanted,
}
