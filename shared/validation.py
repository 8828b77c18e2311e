# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Turns what others wrote into typed values, or names everything that is wrong with it.

Decoding stops at the first problem; a person who fixes a document wants all of them.  So a value
that does not decode is walked again, level by level, and each level says what it refuses itself.

Rules:
 * A field that is not known is refused by name, and so is one that is given twice.
 * Nesting is limited, so that nothing that was decoded can fail to be encoded.
 * No input raises anything but RefusedError.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

import msgspec

from shared.errors import Reason, RefusedError

MAX_DEPTH: Final = 48
"""Deepest nesting of objects and arrays that is read."""
MAX_REASONS: Final = 50
"""More than a person reads; a hostile document must not make a refusal larger than itself."""
SHOWN_CHARACTERS: Final = 120

_NO_LINE_FEED: Final = r"(?!\n)"

T = TypeVar("T")


def decode_document(data: bytes, kind: type[T], *, what: str) -> T:
    """The value of JSON bytes.

    Args:
        data: UTF-8.
        kind: A Struct, or any type msgspec decodes.
        what: How the refusal names the document, as `request` or `manifest`.

    Raises:
        RefusedError: `invalid_request`, with every problem and its path.
    """
    try:
        # As text: of bytes, json guesses the encoding and takes lone surrogates.
        text = data.decode()
        document = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except _UnreadableError as error:
        raise _refusal(what, [error.reason]) from error
    except RecursionError as error:
        raise _refusal(what, [_too_deep()]) from error
    except json.JSONDecodeError as error:
        raise _refusal(what, [Reason(path="", rule=f"is not JSON: {error}")]) from error
    except UnicodeDecodeError as error:
        raise _refusal(what, [Reason(path="", rule="is not JSON: not UTF-8")]) from error
    except ValueError as error:
        raise _refusal(what, [Reason(path="", rule="holds a number out of range")]) from error
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _deeper_than(document, MAX_DEPTH):
        raise _refusal(what, [_too_deep()])
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        return convert_document(document, kind, what=what, unexplained=str(error))


def convert_document(value: object, kind: type[T], *, what: str, unexplained: str = "") -> T:
    """The typed value of plain objects, as TOML or JSON give them.

    Args:
        value: Dictionaries, lists, strings, numbers.
        kind: A Struct, or any type msgspec converts.
        what: How the refusal names the document.
        unexplained: What to say if the value converts all the same; empty: it is returned then.

    Raises:
        RefusedError: `invalid_request`, with every problem and its path.
    """
    if _deeper_than(value, MAX_DEPTH):
        raise _refusal(what, [_too_deep()])
    reasons = list(_problems(value, kind, ""))
    if not reasons and unexplained:
        reasons = [Reason(path="", rule=unexplained)]
    if reasons:
        raise _refusal(what, reasons)
    return msgspec.convert(value, kind, str_keys=True)


class _UnreadableError(ValueError):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.rule)
        self.reason: Final = reason


def _refusal(what: str, reasons: list[Reason]) -> RefusedError:
    shown = reasons[:MAX_REASONS]
    problems = "1 problem" if len(reasons) == 1 else f"{len(reasons)} problems"
    first = f"{shown[0].path}: {shown[0].rule}" if shown[0].path else shown[0].rule
    return RefusedError(f"{what}: {problems}, first: {first}", shown)


def _too_deep() -> Reason:
    return Reason(path="", rule="is nested too deeply", allowed=f"at most {MAX_DEPTH} levels")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise _UnreadableError(
            Reason(path="", rule=f"names {_shown(twice[0])} twice in one object", got=_shown(twice))
        )
    return document


def _no_constant(text: str) -> Any:
    raise _UnreadableError(Reason(path="", rule=f"holds {text}, which is not JSON"))


def _deeper_than(value: object, levels: int) -> bool:
    """Whether `value` is nested deeper, found without recursion."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            item
            for holder in layer
            if isinstance(holder, dict | list | tuple)
            for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
        if not layer:
            return False
    return True


def _problems(value: object, annotation: Any, path: str) -> Iterator[Reason]:
    """Every reason why `value` is not what `annotation` says, own reasons before nested ones."""
    try:
        msgspec.convert(value, annotation, str_keys=True)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        found = list(_nested(value, annotation, path))
        yield from found or [
            Reason(
                path=path, rule=_rule(str(error)), got=_shown(value), allowed=_allowed(annotation)
            )
        ]


def _nested(value: object, annotation: Any, path: str) -> Iterator[Reason]:
    """What is wrong at the parts of `value`, and at itself as a container of parts."""
    bare, limits = _bare(annotation)
    origin, arguments = get_origin(bare), get_args(bare)
    if origin in (Union, types.UnionType):
        yield from _of_a_union(value, arguments, path)
    elif isinstance(bare, type) and issubclass(bare, msgspec.Struct) and isinstance(value, dict):
        yield from _struct_problems(value, bare, path)
    elif origin is dict and isinstance(value, dict):
        yield from _own(value, dict[Any, Any], limits, path)
        for key, item in value.items():
            yield from _problems(key, arguments[0], _at(path, key))
            yield from _problems(item, arguments[1], _at(path, key))
    elif origin in (tuple, list, set, frozenset) and isinstance(value, list | tuple):
        yield from _own(value, list[Any], limits, path)
        if origin is tuple and (len(arguments) != 2 or arguments[1] is not ...):  # noqa: PLR2004
            return
        for index, item in enumerate(value):
            yield from _problems(item, arguments[0], f"{path}[{index}]")


def _of_a_union(value: object, members: tuple[Any, ...], path: str) -> Iterator[Reason]:
    """What is wrong at the parts of what `value` was meant to be."""
    if isinstance(value, dict) and (tagged := _tagged(members)):
        yield from _tagged_problems(value, tagged, path)
        return
    for member in members:
        if _is_shaped_like(value, member):
            yield from _nested(value, member, path)
            return


def _tagged(members: Iterable[Any]) -> dict[str, type[msgspec.Struct]]:
    """The members of a union that a field of the value chooses between, by what it says."""
    bare = (_bare(member)[0] for member in members)
    structs = (one for one in bare if isinstance(one, type) and issubclass(one, msgspec.Struct))
    return {
        str(one.__struct_config__.tag): one
        for one in structs
        if one.__struct_config__.tag_field is not None
    }


def _tagged_problems(
    value: dict[Any, Any], members: Mapping[str, type[msgspec.Struct]], path: str
) -> Iterator[Reason]:
    field = next(iter(members.values())).__struct_config__.tag_field or ""
    said, at, allowed = value.get(field), _at(path, field), sorted(members)
    if field not in value:
        yield Reason(path=at, rule="is missing", allowed=allowed)
    elif not isinstance(said, str) or said not in members:
        yield Reason(
            path=at, rule="is none of those that there are", got=_shown(said), allowed=allowed
        )
    else:
        rest = {name: item for name, item in value.items() if name != field}
        yield from _struct_problems(rest, members[said], path)


def _struct_problems(
    value: dict[Any, Any], kind: type[msgspec.Struct], path: str
) -> Iterator[Reason]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in value:
        if name not in fields and kind.__struct_config__.forbid_unknown_fields:
            yield Reason(path=_at(path, name), rule="is not a known field", allowed=sorted(fields))
    for name, field in fields.items():
        if name in value:
            yield from _problems(value[name], field.type, _at(path, name))
        elif field.required:
            yield Reason(path=_at(path, name), rule="is missing", allowed=_allowed(field.type))


def _own(value: Any, container: Any, limits: list[msgspec.Meta], path: str) -> Iterator[Reason]:
    """What the container itself breaks, whatever is in it."""
    for limit in limits:
        try:
            msgspec.convert(value, Annotated[container, limit])
        except msgspec.ValidationError as error:
            rule = _rule(str(error))
            yield Reason(path=path, rule=rule, got=len(value), allowed=limit.description)


def _is_shaped_like(value: object, member: Any) -> bool:
    """Whether a union's member is the one that `value` was meant to be."""
    bare, _ = _bare(member)
    origin = get_origin(bare) or bare
    if isinstance(value, dict):
        return origin is dict or (isinstance(origin, type) and issubclass(origin, msgspec.Struct))
    return isinstance(value, list | tuple) and origin in (tuple, list, set, frozenset)


def _bare(annotation: Any) -> tuple[Any, list[msgspec.Meta]]:
    limits: list[msgspec.Meta] = []
    while get_origin(annotation) is Annotated:
        annotation, *notes = get_args(annotation)
        limits += [note for note in notes if isinstance(note, msgspec.Meta)]
    return annotation, limits


def _at(path: str, name: object) -> str:
    text = str(name)
    plain = text.replace("_", "a").replace("-", "a").isalnum()
    shown = str(_shown(text)) if plain else f"[{json.dumps(_shown(text))}]"
    return f"{path}.{shown}" if path and plain else f"{path}{shown}"


def _rule(message: str) -> str:
    """Msgspec's sentence without the path it appends."""
    text = message.partition(" - at `")[0]
    if "matching regex" in text:
        return "has characters or a length that are not allowed"
    return text[:1].lower() + text[1:]


def _shown(value: object) -> Any:
    """`value`, or its beginning: a refusal does not repeat a megabyte, and can always be sent."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if len(text) > SHOWN_CHARACTERS:
        text = text[:SHOWN_CHARACTERS] + "…"
    elif not isinstance(value, str):
        return value
    return text.encode("utf-8", "replace").decode()


def _allowed(annotation: Any) -> Any:
    """What would be accepted, where the type says it in a few words."""
    bare, limits = _bare(annotation)
    for limit in limits:
        if limit.pattern is not None:
            return limit.description or limit.pattern.replace(_NO_LINE_FEED, "")
        bounds = {"at least": limit.ge, "at most": limit.le, "more than": limit.gt}
        said = [f"{words} {bound}" for words, bound in bounds.items() if bound is not None]
        if said:
            return ", ".join(said)
    arguments = get_args(bare)
    if get_origin(bare) in (Union, types.UnionType):
        given = [one for one in arguments if one is not type(None)]
        return _allowed(given[0]) if len(given) == 1 else None
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return list(arguments)
    return None
