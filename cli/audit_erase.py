# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit erase`: a person's names, keys and words become unreadable, for good."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, refusing, run
from cli.people import PUBLIC_KEY, keys_of, read_names
from cli.rollout import ReasonOption
from cli.session import connected
from shared.contracts.persons import ERASE_PERSON, ErasePerson, PersonErased
from shared.errors import Reason, RefusedError
from shared.validation import convert_document

WAIT_SECONDS: Final = 3600.0
"""All of the log is read, and perhaps written anew."""


def erase(
    person: str,
    *,
    also: Annotated[
        tuple[str, ...],
        Parameter(help="Another name or public key of theirs, as a mail address; may be repeated."),
    ] = (),
    reason: ReasonOption = "",
    dry_run: Annotated[bool, Parameter(negative="", help="Say what would be erased.")] = False,
    yes: Annotated[
        bool, Parameter(negative="", help="It is meant: nothing brings it back.")
    ] = False,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Erase a person from the audit log; every proof still holds.  For administrators.

    Parameters
    ----------
    person
        A name in this installation's registry (with all keys that it had), any other name, or a
        public key.
    """
    with refusing(json=json):
        if not (yes or dry_run):
            why = Reason(path="--yes", rule="must be given: nothing brings back what is erased")
            raise RefusedError("nothing was erased", [why], code="invalid_request")
        request = convert_document(
            {**_sought((person, *also)), "reason": reason, "dry_run": dry_run},
            ErasePerson,
            what="audit erase",
        )
    emit(run(_ask(request, credentials), json=json), _render, json=json)


def _sought(given: tuple[str, ...]) -> dict[str, list[str]]:
    """Names and keys; of a name in the registry its keys too."""
    registry = read_names()
    names = {one for one in given if not PUBLIC_KEY.fullmatch(one)}
    keys = {one for one in given if PUBLIC_KEY.fullmatch(one)}
    for name in names & set(registry.values()):
        keys.update(keys_of(name, registry))
    return {"names": sorted(names), "keys": sorted(keys)}


async def _ask(request: ErasePerson, credentials: Path | None) -> PersonErased:
    async with connected(credentials) as bus:
        return await bus.request(ERASE_PERSON, request, timeout_seconds=WAIT_SECONDS)


def _render(erased: PersonErased) -> RenderableType:
    verb = "would be" if erased.dry_run else "was"
    said = (
        f"something {verb} erased from {erased.records} records that you see, "
        f"{erased.rewritten} of them written by others"
    )
    if erased.named:
        said += (
            f"\n{erased.named} records have that name where records are found by it, as that of "
            "a node or a package: it stays there"
        )
    if not erased.dry_run:
        said += "\nwhat lies elsewhere: docs/retention.md, Erasing a person"
    return Text(said)
