# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Looking again and again, also while something is away."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from rich.text import Text

from cli.watching import Watching, check_watching, looked, show, show_looks
from shared.errors import FaultError, RefusedError
from tests.fleets import rules


class Seen(msgspec.Struct, frozen=True):
    """What a look saw."""

    number: int


class Looks:
    """Sees numbers; for some of them what is asked is away."""

    def __init__(self, *away: int) -> None:
        self._numbers: Iterator[int] = iter(range(1, 100))
        self._away = away

    async def __call__(self) -> Seen:
        """The next number."""
        number = next(self._numbers)
        if number in self._away:
            raise FaultError("the scheduler does not answer")
        return Seen(number)


async def test_what_is_away_is_said_once_and_waited_for() -> None:
    """Each time anew, and what is seen afterwards is shown."""
    said: list[str] = []
    numbers = []
    async for one in looked(Looks(2, 3, 5), every=0.0, waiting=said.append):
        numbers.append(one.number)
        if one.number == 6:
            break

    assert numbers == [1, 4, 6]
    assert said == ["the scheduler does not answer"] * 2


async def test_who_is_not_told_gets_the_fault() -> None:
    """A look that fails is the last one then."""
    seen = looked(Looks(2), every=0.0)

    assert await anext(seen) == Seen(1)
    with pytest.raises(FaultError):
        await anext(seen)


async def test_looks_are_printed_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal; as many as one wants, and the last is handed back."""
    last = await show_looks(
        looked(Looks(), every=0.0), lambda one: Text(f"saw {one.number}"), looks=3, json=False
    )

    assert last == Seen(3)
    assert capsys.readouterr().out.splitlines() == ["saw 1", "saw 2", "saw 3"]


async def test_with_json_each_look_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What is away is not among them."""
    watching = Watching(watch=True, every=0.1, looks=2)

    await show(Looks(2), lambda one: Text(f"saw {one.number}"), watching, json=True)

    assert capsys.readouterr().out.splitlines() == ['{"number":1}', '{"number":3}']


async def test_who_does_not_watch_looks_once(capsys: pytest.CaptureFixture[str]) -> None:
    """However often one would look."""
    await show(Looks(), lambda one: Text(f"saw {one.number}"), Watching(looks=5), json=False)

    assert capsys.readouterr().out == "saw 1\n"


def test_one_cannot_look_without_pause_or_less_often_than_never() -> None:
    """Both are said, before anybody is asked."""
    with pytest.raises(RefusedError) as refused:
        check_watching(0.01, -1)

    assert set(rules(refused.value.reasons)) == {"--every", "--looks"}
