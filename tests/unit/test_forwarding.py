# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Forwarding: a sink gets every record once, whoever dies when, and whatever the sink does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli import audit_forward
from cli.audit_forms import FORMS
from cli.audit_forward import Forwarding, StateFile
from cli.forward_sinks import FileSink, Held, parse_sink
from cli.forwarding import (
    BATCH_BYTES,
    Batch,
    ForwardState,
    OtherStateError,
    batch_key,
    check_state,
    next_batch,
    question_digest,
)
from cli.raw_records import RawChunk
from shared.contracts.audit import AuditRecord, StreamRecords
from shared.errors import FaultError, RefusedError

FORM = FORMS["ndjson"]
QUESTION = StreamRecords(where="index >= 0", order="oldest")


class Died(BaseException):
    """The process was killed here."""


class Log:
    """Answers as an auditor does, a few records at a time; every third one matches."""

    def __init__(self, size: int, chance: random.Random) -> None:
        self.size = size
        self.asked = 0
        self._chance = chance

    @property
    def matching(self) -> list[int]:
        """Numbers of the records that match."""
        return list(range(0, self.size, 3))

    async def request(
        self, endpoint: Any, request: StreamRecords, *, timeout_seconds: float
    ) -> RawChunk:
        """The next chunk, which may be short, or the fault of an auditor that is away."""
        del endpoint, timeout_seconds
        self.asked += 1
        if self._chance.random() < 0.05:
            raise FaultError("the auditor is away")
        first = -1 if request.after_index is None else request.after_index
        stop = self.size if request.before_index is None else min(request.before_index, self.size)
        found = [one for one in self.matching if first < one < stop]
        some = found[: self._chance.randint(1, 5)]
        is_all = len(some) == len(found)
        records = tuple(a_record(index) for index in some)
        position = None if is_all else some[-1]
        return RawChunk(records=records, tree_size=self.size, scanned=len(some), position=position)


class Sink:
    """A receiver that knows batches by their key, is often away, and sees processes die."""

    def __init__(self, chance: random.Random) -> None:
        self.batches: dict[str, tuple[bytes, ...]] = {}
        self._chance = chance

    async def held(self) -> Held | None:
        """It cannot say."""
        return None

    async def deliver(self, batch: Batch, *, key: str) -> int | None:
        """Received, or not, or received and nobody lives to hear it."""
        fate = self._chance.random()
        if fate < 0.1:
            raise FaultError("the sink is down")
        if fate < 0.2:
            raise Died
        assert self.batches.setdefault(key, batch.lines) == batch.lines
        if fate < 0.3:
            raise Died
        return None

    async def aclose(self) -> None:
        """Nothing is held."""


class LyingSink:
    """A receiver that says it took what it did not keep, or loses it later; it knows no keys.

    Asked what it holds it says so; or a number that it never was sent.
    """

    def __init__(self, chance: random.Random, *, boasts: bool = False) -> None:
        self.numbers: list[int] = []
        self._chance = chance
        self._boasts = boasts

    async def held(self) -> Held | None:
        """Its word."""
        return Held(self._last(), is_seen=False)

    async def deliver(self, batch: Batch, *, key: str) -> int | None:
        """Taken, it says."""
        del key
        numbers = [FORM.record_of(line.decode()) for line in batch.lines]
        if self._boasts:
            self.numbers += numbers
            return self._last()
        fate = self._chance.random()
        if fate < 0.3:
            numbers = numbers[: self._chance.randrange(len(numbers))]
        self.numbers += numbers
        if fate > 0.9:
            del self.numbers[self._chance.randrange(len(self.numbers)) :]
        return self._last()

    async def aclose(self) -> None:
        """Nothing is held."""

    def _last(self) -> int:
        if self._boasts:
            return 10**9
        return self.numbers[-1] if self.numbers else -1


class MortalState(StateFile):
    """A state file whose process dies at some writes, before or after them."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        super().__init__(path)
        self._chance = chance

    def write(self, state: ForwardState) -> None:
        """Written, or not, or written and nobody lives to hear it."""
        fate = self._chance.random()
        if fate < 0.1:
            raise Died
        super().write(state)
        if fate < 0.2:
            raise Died


def a_record(index: int, leaf: str = "{}") -> msgspec.Raw:
    """Record number `index`, as it comes."""
    record = AuditRecord(index=index, leaf=leaf, received_at="", stream_sequence=index + 1)
    return msgspec.Raw(msgspec.json.encode(record))


def begun(sink: str = "sink") -> ForwardState:
    """Nothing was received."""
    return ForwardState(sink=sink, form="ndjson", question=question_digest(QUESTION), after=-1)


async def fed(log: Log, sink: Any, stored: StateFile) -> None:
    """Everything there is was received, by one process that may die."""
    state = stored.read() or begun()
    await forwarding(sink, stored, state).run(log, once=True)


def forwarding(
    sink: Any,
    stored: StateFile,
    state: ForwardState,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    pause_seconds: float = 0.0,
) -> Forwarding:
    """The sink being fed with what matches."""
    return Forwarding(sink, FORM, QUESTION, stored, state, pause_seconds=pause_seconds, sleep=sleep)


@pytest.mark.parametrize("seed", range(10))
async def test_whoever_dies_when_every_record_is_received_once(tmp_path: Path, seed: int) -> None:
    """Killed before and after every step, sink and auditor away: batches by key, each once."""
    chance = random.Random(seed)
    log, sink = Log(100, chance), Sink(chance)
    stored = MortalState(tmp_path / "state", chance)
    is_grown = False
    while True:
        try:
            await fed(log, sink, stored)
        except Died:
            continue
        if is_grown:
            break
        log.size, is_grown = 160, True

    lines = [line for batch in sink.batches.values() for line in batch]
    assert [FORM.record_of(line.decode()) for line in lines] == log.matching
    state = stored.read()
    assert state is not None
    assert (state.after, state.sending) == (159, None)


@pytest.mark.parametrize("seed", range(4))
async def test_a_file_never_has_a_record_twice(tmp_path: Path, seed: int) -> None:
    """Also if the state was lost, and if the file was torn in the middle of a line."""
    chance = random.Random(seed)
    path = tmp_path / "records.ndjson"
    log = Log(90, chance)
    for _ in range(5):
        state = tmp_path / "state"
        await fed(log, FileSink(path, FORM), StateFile(state))
        log.size += 30
        state.unlink()
        data = path.read_bytes()
        path.write_bytes(data[: len(data) - chance.randint(1, 200)])
    await fed(log, FileSink(path, FORM), StateFile(tmp_path / "state"))

    lines = path.read_text().splitlines()
    assert [FORM.record_of(line) for line in lines] == log.matching


@pytest.mark.parametrize("seed", range(4))
async def test_a_file_that_lost_its_end_gets_it_again(tmp_path: Path, seed: int) -> None:
    """Whatever was noted as received; one that was moved away is begun behind what it had."""
    chance = random.Random(seed)
    path, state = tmp_path / "records.ndjson", StateFile(tmp_path / "state")
    log = Log(90, chance)
    for _ in range(4):
        await fed(log, FileSink(path, FORM), state)
        log.size += 30
        data = path.read_bytes()
        path.write_bytes(data[: chance.randrange(200, len(data))])
    await fed(log, FileSink(path, FORM), state)
    lines = path.read_text().splitlines()
    assert [FORM.record_of(line) for line in lines] == log.matching

    path.rename(tmp_path / "records.1")
    before, log.size = log.size, log.size + 30
    await fed(log, FileSink(path, FORM), state)
    lines = path.read_text().splitlines()
    assert [FORM.record_of(line) for line in lines] == [
        one for one in log.matching if one >= before
    ]


@pytest.mark.parametrize("seed", range(5))
async def test_a_sink_that_lies_about_receipt_gets_every_record_once(
    tmp_path: Path, seed: int
) -> None:
    """It says that it took what it did not keep, and loses what it had: what it holds decides."""
    chance = random.Random(seed)
    log, sink = Log(60, chance), LyingSink(chance)
    stored = MortalState(tmp_path / "state", chance)
    for size in (60, 100):
        log.size = size
        while True:
            try:
                await fed(log, sink, stored)
            except Died:
                continue
            break
    await fed(log, sink, StateFile(tmp_path / "state"))

    assert sink.numbers == log.matching


async def test_a_sink_that_boasts_is_not_believed(tmp_path: Path) -> None:
    """It says that it holds more than it was ever sent: nothing is left out for that."""
    log, sink = Log(100, random.Random(0)), LyingSink(random.Random(0), boasts=True)
    await fed(log, sink, StateFile(tmp_path / "state"))
    log.size = 160
    await fed(log, sink, StateFile(tmp_path / "state"))
    assert sink.numbers == log.matching


async def test_what_was_never_to_be_sent_is_not_sent_for_a_sinks_word(tmp_path: Path) -> None:
    """Begun behind a record, an empty sink gets what is behind it, and nothing before."""
    log, sink = Log(100, random.Random(0)), LyingSink(random.Random(1))
    stored = StateFile(tmp_path / "state")
    stored.write(msgspec.structs.replace(begun(), after=49, begun_after=49))
    await fed(log, sink, stored)
    assert sink.numbers == [one for one in log.matching if one > 49]


async def test_a_sink_that_is_down_for_an_hour_gets_everything_then(tmp_path: Path) -> None:
    """It is asked again twice a minute, the log is left alone meanwhile, and each comes once."""
    log = Log(160, random.Random(0))
    now_seconds, asked_at, delivered = 0.0, list[float](), list[int]()
    asked_of_log: list[int] = []

    async def sleep(seconds: float) -> None:
        nonlocal now_seconds
        now_seconds += seconds

    class Down(Sink):
        async def deliver(self, batch: Batch, *, key: str) -> int | None:
            del key
            asked_at.append(now_seconds)
            asked_of_log.append(log.asked)
            if delivered and now_seconds < 3600:
                raise FaultError("the sink is down")
            delivered.extend(FORM.record_of(line.decode()) for line in batch.lines)
            return None

    state = StateFile(tmp_path / "state")
    await forwarding(Down(random.Random(0)), state, begun(), sleep, 0.5).run(log, once=True)

    assert delivered == log.matching
    during = [at for at in asked_at if 0 < at < 3600]
    assert 110 < len(during) < 130
    assert len(set(asked_of_log[1 : len(during)])) == 1


async def test_a_full_disk_leaves_no_half_batch(tmp_path: Path) -> None:
    """What cannot be written is taken off again, and written whole later."""
    path = Path("/dev/full")
    batch = Batch(0, 0, (b"{}\n",))
    with pytest.raises(FaultError, match="No space left"):
        await FileSink(path, FORM).deliver(batch, key="k")
    file = tmp_path / "records"
    await FileSink(file, FORMS["csv"]).deliver(batch, key="k")
    assert file.read_bytes() == FORMS["csv"].heading.encode() + b"{}\n"


def test_a_state_of_something_else_is_refused() -> None:
    """Of another sink, form or question, each named."""
    state = msgspec.structs.replace(begun("one"), form="cef", question="other")
    with pytest.raises(OtherStateError) as refused:
        check_state(state, sink="two", form="ndjson", question=question_digest(QUESTION))
    assert [one.path for one in refused.value.reasons] == ["sink", "form", "question"]


def test_a_batch_is_bounded_and_one_that_is_sent_again_is_whole() -> None:
    """At most so many bytes; a batch that was named is not cut another way."""
    records = [a_record(index, "x" * (BATCH_BYTES // 4)) for index in range(8)]
    batch = next_batch(records, FORM, is_again=False)
    assert batch is not None
    assert (batch.first, batch.last) == (0, 2)
    again = next_batch(records, FORM, is_again=True)
    assert again is not None
    assert (again.first, again.last) == (0, 7)
    assert batch_key(begun(), batch) != batch_key(begun(), again)


@pytest.mark.parametrize(
    "text",
    [
        "http://example.org/",
        "syslog+tcp://10.0.0.1:514",
        "ftp://example.org/",
        "https:///path",
        "https://name:secret@example.org/",
        "syslog://example.org",
    ],
)
def test_no_record_goes_over_a_network_in_clear_text(text: str) -> None:
    """Nor to what is no sink; a password in an address would be seen by all of the machine."""
    with pytest.raises(RefusedError):
        parse_sink(text)


def test_addresses_of_sinks() -> None:
    """Files, this machine in clear text, everything else over TLS."""
    for text in ("out.ndjson", "/var/log/x", "http://127.0.0.1:80/", "syslog+tls://siem.example"):
        assert parse_sink(text).geturl() == text
    assert audit_forward.forward.__doc__
