# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af gate`: what a program says of the waves that this principal is asked about."""

from __future__ import annotations

import asyncio
import shutil
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, plain, run, say
from cli.session import connected
from shared.contracts.base import Message
from shared.contracts.gates import ASK_GATE, AskGate, GateSaid
from shared.errors import Reason, RefusedError

REASON_CHARACTERS: Final = 1000


class Answered(Message, frozen=True, kw_only=True):
    """One question and what was answered."""

    asked: AskGate
    said: GateSaid


def gate(
    *program: Annotated[str, Parameter(help="It and its arguments; behind `--`.")],
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Answer, by a program, whether waves are well, for as long as this command runs.

    The deployments whose `[health.gate]` names this principal ask.  The program gets each question
    as JSON on its standard input.  Status 0 says that the wave is well, any other that it is not;
    what it prints is the reason.
    """

    async def answering() -> None:
        path = found(program)

        async def answer(question: AskGate) -> GateSaid:
            said = await judged((path, *program[1:]), question)
            emit(Answered(asked=question, said=said), render_answered, json=json)
            return said

        async with connected(credentials) as bus:
            endpoint = ASK_GATE.at(name=bus.name)
            await bus.answer(endpoint, answer)
            say(f"answering on {endpoint.subject}", json=json)
            await asyncio.Event().wait()

    run(answering(), json=json)


def found(program: tuple[str, ...]) -> str:
    """The path of the program.

    Raises:
        RefusedError: None is named, or there is no such one.
    """
    path = shutil.which(program[0]) if program else None
    if path is None:
        rule = "must be a program that can be run, as `l3af gate -- ./check.sh`"
        reason = Reason(path="program", rule=rule, got=program[0] if program else None)
        raise RefusedError(f"program {rule}", [reason])
    return path


async def judged(program: tuple[str, ...], question: AskGate) -> GateSaid:
    """What the program says of one wave; one that cannot be started says no."""
    try:
        process = await asyncio.create_subprocess_exec(
            *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
    except OSError as error:
        return GateSaid(well=False, reason=f"{program[0]} cannot be run: {error.strerror}")
    output, _ = await process.communicate(msgspec.json.encode(question))
    printed = output.decode(errors="replace").strip()
    is_well = process.returncode == 0
    if not is_well and not printed:
        printed = f"{program[0]} ended with status {process.returncode}"
    return GateSaid(well=is_well, reason=printed[:REASON_CHARACTERS])


def render_answered(one: Answered) -> Text:
    """One line."""
    asked, said = one.asked, one.said
    line = Text(f"{asked.deployment} {asked.version}, wave {asked.wave} of {asked.waves}: ")
    line.append("well" if said.well else "not well", style="green" if said.well else "red")
    return line.append(f" ({plain(said.reason)})" if said.reason else "")
