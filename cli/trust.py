# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af trust`: whose signatures count, written where the trust root's seed lies, then pushed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from cli.console import CredentialsOption, JsonFlag, emit, refusing, run, say
from cli.moments import parse_moment
from cli.principal import InstallationOption, chosen
from cli.rollout import CommandIdOption, ReasonOption, chosen_id
from cli.session import ask, connected
from cli.trust_view import TrustPrinted, render_pushed, render_trust
from installation import trust_editing, trusting
from shared.contracts.events import PUBLIC
from shared.contracts.trust import (
    GET_TRUST,
    SET_TRUST,
    GetTrust,
    SetTrust,
    TrustDocument,
    TrustedKey,
    TrustShown,
)
from shared.trust.documents import open_document
from shared.validation import convert_document

app = cyclopts.App(name="trust", help="Whose signatures of packages count, in which namespace.")

NamespaceOption = Annotated[
    str, Parameter(name="--namespace", help="`public`, or a private space as p_acme.")
]
KeyOption = Annotated[
    str, Parameter(name="--key", help="Ed25519 public key, 64 hexadecimal digits.")
]
AtOption = Annotated[
    str, Parameter(name="--at", help="Moment, as 2026-12-31T18:00:00Z or 1h (ago).  Default: now.")
]


@app.command
def init(
    namespace: str = PUBLIC,
    *,
    publishers: Annotated[bool, Parameter(negative=())] = False,
    clock: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    installation: InstallationOption = None,
    json: JsonFlag = False,
) -> None:
    """Write a namespace's first trust document.  It trusts nobody by default.

    Parameters
    ----------
    namespace
        `public`, or a private space as p_acme.
    publishers
        Trust the keys of all principals that may publish now.
    clock
        Public key of a catalog's receipts, if its credentials are not in this directory; `l3af
        trust show` says it.
    """
    with refusing(json=json):
        checked = convert_document({"namespace": namespace}, GetTrust, what="trust").namespace
        document = trusting.create_document(
            chosen(installation),
            checked,
            takes_publishers=publishers,
            clocks=clock,
            now=datetime.now(UTC),
        )
    _show(document, json=json)


@app.command(name="add-key")
def add_key(
    name: str,
    *,
    key: KeyOption = "",
    role: Annotated[tuple[str, ...], Parameter(negative=())] = ("package", "provenance"),
    packages: Annotated[tuple[str, ...], Parameter(negative=())] = ("*",),
    foreign: Annotated[bool, Parameter(negative=())] = False,
    not_before: str = "",
    not_after: str = "",
    namespace: NamespaceOption = PUBLIC,
    installation: InstallationOption = None,
    json: JsonFlag = False,
) -> None:
    """Trust a key, from the next push on.

    Parameters
    ----------
    name
        Who holds it: a principal of this installation, whose key is found here, or any name with
        --key.
    role
        What it may sign: package, provenance; repeat it.
    packages
        Glob over the names of packages that it may sign; repeat it.
    foreign
        The holder is no principal here; others publish what it signed.
    not_before, not_after
        From when, and until when, it signs.
    """
    directory, now = chosen(installation), datetime.now(UTC)
    with refusing(json=json):
        fields = {
            "key": key or trusting.publisher_key(directory, name),
            "name": name,
            "roles": list(role),
            "packages": list(packages),
            "is_foreign": foreign,
            "not_before": parse_moment(not_before, now=now, path="--not-before"),
            "not_after": parse_moment(not_after, now=now, path="--not-after"),
        }
        trusted = convert_document(fields, TrustedKey, what="key")
    _change(
        lambda document: trust_editing.with_key(document, trusted, now=now),
        namespace,
        installation,
        json=json,
    )


@app.command
def rotate(
    name: str,
    *,
    key: KeyOption = "",
    old: Annotated[str, Parameter(help="Which key ends, if NAME holds several.")] = "",
    at: AtOption = "",
    namespace: NamespaceOption = PUBLIC,
    installation: InstallationOption = None,
    json: JsonFlag = False,
) -> None:
    """End a key and begin another one; what was published before stays signed.

    Parameters
    ----------
    name
        Who holds both.  Without --key the new one is the principal's own of now, as `l3af principal
        rotate` made it.
    """
    directory, now = chosen(installation), datetime.now(UTC)
    with refusing(json=json):
        new = key or trusting.publisher_key(directory, name)
        moment = parse_moment(at or "0s", now=now, path="--at")
    _change(
        lambda document: trust_editing.rotated(document, name, new, old=old, at=moment, now=now),
        namespace,
        installation,
        json=json,
    )


@app.command
def revoke(
    name: str,
    *,
    key: KeyOption = "",
    at: AtOption = "",
    older: Annotated[str, Parameter(help="What was published before: keep or reject.")] = "keep",
    namespace: NamespaceOption = PUBLIC,
    installation: InstallationOption = None,
    json: JsonFlag = False,
) -> None:
    """Take a key back from a moment on, which may have passed.

    Parameters
    ----------
    name
        Who holds it.
    """
    now = datetime.now(UTC)
    with refusing(json=json):
        moment = parse_moment(at or "0s", now=now, path="--at")
        policy = convert_document(
            {"key": "0" * 64, "name": "any", "older_signatures": older}, TrustedKey, what="--older"
        ).older_signatures
    _change(
        lambda document: trust_editing.revoked(
            document, name, key=key, at=moment, older=policy, now=now
        ),
        namespace,
        installation,
        json=json,
    )


@app.command
def threshold(
    number: int,
    *,
    namespace: NamespaceOption = PUBLIC,
    installation: InstallationOption = None,
    json: JsonFlag = False,
) -> None:
    """Say how many different holders must have signed a package.

    Parameters
    ----------
    number
        From 1 to 8.
    """
    now = datetime.now(UTC)
    with refusing(json=json):
        wanted = convert_document(
            {"namespace": PUBLIC, "version": 1, "issued_at": "", "threshold": number},
            TrustDocument,
            what="threshold",
        ).threshold
    _change(
        lambda document: trust_editing.with_threshold(document, wanted, now=now),
        namespace,
        installation,
        json=json,
    )


@app.command
def push(
    namespace: str = PUBLIC,
    *,
    installation: InstallationOption = None,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Give the document to the catalog: it is in force there at once, on nodes as they hear of it.

    Parameters
    ----------
    namespace
        Whose.
    """
    with refusing(json=json):
        _, envelope = trusting.stored_document(chosen(installation), namespace)
    command = SetTrust(command_id=chosen_id(command_id), reason=reason, document=envelope)
    emit(run(ask(SET_TRUST, command, credentials), json=json), render_pushed, json=json)


@app.command
def show(
    namespace: str = PUBLIC,
    *,
    local: Annotated[bool, Parameter(negative=())] = False,
    installation: InstallationOption = None,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Show the document that is in force, its signature verified here.

    Parameters
    ----------
    namespace
        Whose.
    local
        Instead, the one in the installation's directory, pushed or not.
    """
    if local:
        with refusing(json=json):
            document, _ = trusting.stored_document(chosen(installation), namespace)
        printed = TrustPrinted(document=document)
    else:
        printed = run(_in_force(namespace, credentials), json=json)
    emit(printed, render_trust, json=json)


async def _in_force(namespace: str, credentials: Path | None) -> TrustPrinted:
    wanted = convert_document({"namespace": namespace}, GetTrust, what="trust")
    async with connected(credentials) as bus:
        shown: TrustShown = await bus.request(GET_TRUST, wanted)
        root = bytes.fromhex(bus.facts.trust_root)
    document = open_document(shown.document, trust_root=root)
    return TrustPrinted(document=document, mode=shown.mode, clock=shown.clock)


def _change(
    change: Callable[[TrustDocument], TrustDocument],
    namespace: str,
    installation: Path | None,
    *,
    json: bool,
) -> None:
    with refusing(json=json):
        document = trusting.change_document(chosen(installation), namespace, change)
    _show(document, json=json)


def _show(document: TrustDocument, *, json: bool) -> None:
    emit(TrustPrinted(document=document), render_trust, json=json)
    if not document.clocks:
        say(
            "no key of the catalog's receipts is known here, so nothing will count as published"
            " before a key ended: name it with --clock",
            json=json,
        )
    say(f"in force after: l3af trust push {document.namespace}", json=json)
