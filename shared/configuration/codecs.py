# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One value between JSON and bytes: numbers, names, lists, structs, unions.

Pure.  Encoding collects every problem with its path; decoding takes bytes of at least the size and
always succeeds, since what the kernel holds is shown whatever it is.

Rules:
 * Encoding what was decoded gives the same bytes, padding apart.
 * A struct names every member but padding; a union one member, or several that agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from shared.errors import Reason

BYTE_ORDER: Final = "little"
"""Of objects for bpfel, the only ones that are read."""
_PADDING: Final = re.compile(r"_*(pad|padding|reserved|unused)[_0-9]*")


class Codec(Protocol):
    """How values of one type, in one format, are written."""

    @property
    def size_bytes(self) -> int:
        """Of the value in memory."""

    @property
    def is_text(self) -> bool:
        """Whether values are plain texts, so that a key needs no quotation marks."""

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """The bytes; with new problems, whatever comes back means nothing."""

    def decode(self, data: bytes) -> Any:
        """The value, as JSON has it."""

    def schema(self) -> dict[str, Any]:
        """JSON Schema of what `encode` takes."""


def refused(problems: list[Reason], path: str, rule: str, got: Any, allowed: Any = None) -> bytes:
    """No bytes, and why."""
    problems.append(Reason(path=path, rule=rule, got=got, allowed=allowed))
    return b""


@dataclass(frozen=True, slots=True)
class NumberCodec:
    """A whole number within what its type holds and what the package allows."""

    size_bytes: int
    is_signed: bool
    name: str = ""
    minimum: int | None = None
    maximum: int | None = None
    order: Literal["little", "big"] = BYTE_ORDER
    bits: int = 0
    """Of a bit field; 0: all of its bytes."""
    is_text: bool = False
    limits: tuple[int, int] = field(init=False, repr=False, compare=False)
    """Lowest and highest that the type holds."""

    def __post_init__(self) -> None:
        """The limits follow from size and sign."""
        bits = self.bits or 8 * self.size_bytes or 1
        signed, unsigned = (-(1 << bits - 1), (1 << bits - 1) - 1), (0, (1 << bits) - 1)
        object.__setattr__(self, "limits", signed if self.is_signed else unsigned)

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """The number's bytes."""
        lowest, highest = self.limits
        # True and False are integers to Python, but not to whoever wrote `true` for a number.
        if isinstance(value, bool) or not isinstance(value, int):
            return refused(problems, path, "must be an integer", value, [lowest, highest])
        if not lowest <= value <= highest:
            name = self.name or f"{self.bits or 8 * self.size_bytes}-bit integer"
            rule = f"is out of range for {name}"
            return refused(problems, path, rule, value, [lowest, highest])
        low = lowest if self.minimum is None else self.minimum
        high = highest if self.maximum is None else self.maximum
        if not low <= value <= high:
            rule = "is outside the range that the package states"
            return refused(problems, path, rule, value, [low, high])
        return value.to_bytes(self.size_bytes, self.order, signed=self.is_signed)

    def decode(self, data: bytes) -> int:
        """The number."""
        return int.from_bytes(data[: self.size_bytes], self.order, signed=self.is_signed)

    def schema(self) -> dict[str, Any]:
        """An integer within its limits."""
        lowest, highest = self.limits
        return {
            "type": "integer",
            "minimum": lowest if self.minimum is None else max(lowest, self.minimum),
            "maximum": highest if self.maximum is None else min(highest, self.maximum),
        }


@dataclass(frozen=True, slots=True)
class BoolCodec:
    """True or false, or the numbers 1 and 0."""

    size_bytes: int
    is_text: bool = False

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """One or zero."""
        if not isinstance(value, int) or value not in (0, 1):
            return refused(problems, path, "must be true or false", value, [False, True])
        return int(value).to_bytes(self.size_bytes, BYTE_ORDER)

    def decode(self, data: bytes) -> bool | int:
        """The number itself if it is neither one nor zero."""
        number = int.from_bytes(data[: self.size_bytes], BYTE_ORDER)
        return bool(number) if number in (0, 1) else number

    def schema(self) -> dict[str, Any]:
        """A boolean, or its number."""
        return {"enum": [False, True, 0, 1]}


@dataclass(frozen=True, slots=True)
class EnumCodec:
    """The name of a value, or its number."""

    number: NumberCodec
    names: tuple[tuple[str, int], ...]
    is_text: bool = True

    @property
    def size_bytes(self) -> int:
        """Of the number."""
        return self.number.size_bytes

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """The number that the name stands for; a number must have a name."""
        known = dict(self.names)
        if isinstance(value, str) and value in known:
            return self.number.encode(known[value], path, problems)
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if is_number and value in known.values():
            return self.number.encode(value, path, problems)
        rule = f"is no value of the enumeration {self.number.name}".rstrip()
        return refused(problems, path, rule, value, list(known))

    def decode(self, data: bytes) -> str | int:
        """The first name of the number; the number itself if it has none."""
        number = self.number.decode(data)
        return next((name for name, value in self.names if value == number), number)

    def schema(self) -> dict[str, Any]:
        """All names, and their numbers."""
        return {"enum": [name for name, _ in self.names] + sorted({one for _, one in self.names})}


@dataclass(frozen=True, slots=True)
class ListCodec:
    """So many elements of one kind."""

    element: Codec
    count: int
    is_text: bool = False

    @property
    def size_bytes(self) -> int:
        """Of all elements."""
        return self.element.size_bytes * self.count

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """One element behind the other."""
        if not isinstance(value, list) or len(value) != self.count:
            got = len(value) if isinstance(value, list) else value
            rule = "must be a list of so many elements"
            return refused(problems, path, rule, got, self.count)
        return b"".join(
            self.element.encode(one, f"{path}[{position}]", problems)
            for position, one in enumerate(value)
        )

    def decode(self, data: bytes) -> list[Any]:
        """All elements."""
        size = self.element.size_bytes
        return [self.element.decode(data[at * size : (at + 1) * size]) for at in range(self.count)]

    def schema(self) -> dict[str, Any]:
        """An array of exactly this length."""
        return {
            "type": "array",
            "items": self.element.schema(),
            "minItems": self.count,
            "maxItems": self.count,
        }


@dataclass(frozen=True, slots=True)
class Part:
    """One member, where it lies."""

    name: str
    offset_bits: int
    codec: Codec
    bits: int = 0
    """0: not a bit field."""

    @property
    def is_padding(self) -> bool:
        """Whether its name says that it means nothing."""
        return _PADDING.fullmatch(self.name) is not None

    @property
    def lent(self) -> StructCodec | None:
        """The union whose members stand where this part stands; None: it has a name."""
        return self.codec if not self.name and isinstance(self.codec, StructCodec) else None

    def read(self, data: bytes) -> bytes:
        """The member's bytes within its parent's."""
        start = self.offset_bits // 8
        if not self.bits:
            return data[start : start + self.codec.size_bytes]
        number = int.from_bytes(data, BYTE_ORDER) >> self.offset_bits & (1 << self.bits) - 1
        inner = self.codec.number if isinstance(self.codec, EnumCodec) else self.codec
        if isinstance(inner, NumberCodec) and inner.is_signed:
            number |= -(number >> self.bits - 1) << self.bits
            return number.to_bytes(self.codec.size_bytes, BYTE_ORDER, signed=True)
        return number.to_bytes(self.codec.size_bytes, BYTE_ORDER)

    def placed(self, encoded: bytes) -> tuple[int, int]:
        """The parent's bits that the member covers, and those of them that are set."""
        bits = self.bits or 8 * self.codec.size_bytes
        mask = (1 << bits) - 1
        value = int.from_bytes(encoded, BYTE_ORDER) & mask
        return mask << self.offset_bits, value << self.offset_bits


@dataclass(frozen=True, slots=True)
class StructCodec:
    """Members by name; a union without a name lends its members to the struct around it."""

    size_bytes: int
    parts: tuple[Part, ...]
    is_union: bool = False
    is_text: bool = False
    is_plain: bool = field(init=False, repr=False, compare=False)
    """Whether members are whole bytes, one behind the other, each with its name."""

    def __post_init__(self) -> None:
        """Looked at once: ten thousand entries are written by one codec."""
        is_plain, end = not self.is_union, 0
        for part in self.parts:
            fits = part.offset_bits >= end and not part.offset_bits % 8
            is_plain = is_plain and fits and bool(part.name) and not part.bits
            end = part.offset_bits + 8 * part.codec.size_bytes
        object.__setattr__(self, "is_plain", is_plain and end <= 8 * self.size_bytes)

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """Every member in its place, zeros between them."""
        if not isinstance(value, dict):
            rule = "must be one of the union's members by its name"
            rule = rule if self.is_union else "must have the struct's members by their names"
            return refused(problems, path, rule, value, self.names())
        if self.is_plain:
            return self._encode_plain(value, path, problems)
        self._refuse_unknown(value, path, problems)
        whole = self.placed(value, path, problems)[1]
        return whole.to_bytes(self.size_bytes, BYTE_ORDER)

    def _refuse_unknown(self, value: dict[str, Any], path: str, problems: list[Reason]) -> None:
        known = self.names()
        for name in value:
            if name not in known:
                refused(problems, f"{path}.{name}", "is no member", name, known)

    def _encode_plain(self, value: dict[str, Any], path: str, problems: list[Reason]) -> bytes:
        whole = bytearray(self.size_bytes)
        if sum(part.name in value for part in self.parts) < len(value):
            self._refuse_unknown(value, path, problems)
        for part in self.parts:
            name = part.name
            if name in value:
                data = part.codec.encode(value[name], f"{path}.{name}", problems)
                start = part.offset_bits // 8
                whole[start : start + len(data)] = data
            elif not part.is_padding:
                refused(problems, f"{path}.{name}", "must be given", None)
        return bytes(whole)

    def decode(self, data: bytes) -> dict[str, Any]:
        """All members; padding only if it is not zero."""
        found: dict[str, Any] = {}
        for part in self.parts:
            raw = part.read(data)
            if not part.name:
                found.update(part.codec.decode(raw))
            elif any(raw) or not part.is_padding:
                found[part.name] = part.codec.decode(raw)
        return found

    def schema(self) -> dict[str, Any]:
        """An object with these members."""
        members: dict[str, Any] = {}
        needed: list[str] = []
        for part in self.parts:
            inner = part.codec.schema()
            if not part.name:
                members.update(inner["properties"])
                continue
            members[part.name] = inner
            if not part.is_padding:
                needed.append(part.name)
        shape = {"type": "object", "properties": members, "additionalProperties": False}
        return {**shape, "minProperties": 1} if self.is_union else {**shape, "required": needed}

    def names(self) -> list[str]:
        """Of all members that can be given."""
        names: list[str] = []
        for part in self.parts:
            lent = part.lent
            names += lent.names() if lent else [part.name]
        return names

    def placed(self, value: dict[str, Any], path: str, problems: list[Reason]) -> tuple[int, int]:
        """The bits that the given members cover, and those of them that are set."""
        covered = whole = given = 0
        for part in self.parts:
            here = f"{path}.{part.name}" if part.name else path
            if (inner := part.lent) is not None:
                known = inner.names()
                lent = {name: one for name, one in value.items() if name in known}
                mask, bits = inner.placed(lent, path, problems)
                mask, bits = mask << part.offset_bits, bits << part.offset_bits
                given += bool(lent)
            elif part.name in value:
                before = len(problems)
                encoded = part.codec.encode(value[part.name], here, problems)
                mask, bits = part.placed(encoded) if len(problems) == before else (0, 0)
                given += 1
            else:
                if not self.is_union and not part.is_padding:
                    refused(problems, here, "must be given", None)
                continue
            if (whole ^ bits) & covered & mask:
                rule = "says other bytes than another member of the union"
                refused(problems, here, rule, value.get(part.name))
            covered, whole = covered | mask, whole | bits
        if self.is_union and not given:
            rule = "must give a member of the union"
            refused(problems, path, rule, None, self.names())
        return covered, whole


@dataclass(frozen=True, slots=True)
class OpaqueCodec:
    """Bytes without a form: shown as hexadecimal digits, never configured."""

    size_bytes: int
    kind: str
    is_text: bool = True

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """Never."""
        return refused(problems, path, f"values of type {self.kind} cannot be configured", value)

    def decode(self, data: bytes) -> str:
        """Hexadecimal digits."""
        return data[: self.size_bytes].hex()

    def schema(self) -> dict[str, Any]:
        """Nothing fits."""
        return {"not": {}}
