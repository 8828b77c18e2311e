# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Values whose every text says where it stands, so that a test finds whatever is let through.

Fields that are added later are filled too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

MARK = "mark:"
StructT = TypeVar("StructT", bound=msgspec.Struct)


def marked(kind: type[StructT], **texts: str) -> StructT:
    """A value of this type with something in every field.

    Args:
        kind: What is filled.
        texts: Name of a field, at whatever depth, to what is put into it instead of a mark.
    """
    filled = _filled(inspect.type_info(kind), "", texts)
    return msgspec.convert(filled, kind, strict=False)


def marks(value: object) -> set[str]:
    """Where the marked texts stood that are in the value, without the numbers of places."""
    return {text.removeprefix(MARK) for text in _texts(msgspec.to_builtins(value))}


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for key, one in value.items():
                yield from _texts(key)
                yield from _texts(one)
        case list() | tuple():
            for one in value:
                yield from _texts(one)
        case str() if MARK in value:
            yield value


def _filled(  # noqa: PLR0911 because each kind has its own
    kind: inspect.Type, path: str, texts: dict[str, str]
) -> Any:
    match kind:
        case inspect.StructType():
            tag = {kind.tag_field: kind.tag} if kind.tag_field else {}
            return tag | {
                one.encode_name: _filled(one.type, f"{path}.{one.name}".strip("."), texts)
                for one in kind.fields
            }
        case inspect.UnionType():
            return _filled(next(one for one in kind.types if not _is_none(one)), path, texts)
        case inspect.VarTupleType() | inspect.ListType():
            return [_filled(kind.item_type, path, texts)]
        case inspect.DictType():
            return {f"{MARK}{path}": _filled(kind.value_type, path, texts)}
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.IntType() | inspect.FloatType():
            return 7
        case inspect.BoolType():
            return False
        case inspect.StrType() | inspect.AnyType():
            return texts.get(path.rpartition(".")[2], f"{MARK}{path}")
    raise AssertionError(f"{path}: nothing is known to fill {kind} with")


def _is_none(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.NoneType)
