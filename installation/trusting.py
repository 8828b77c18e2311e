# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Trust documents in an installation's directory: signed where the trust root's seed lies.

No server is asked.  What was written here is in force once it is given to the catalog.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import msgspec

from installation.adapters.directory import (
    exclusive,
    read_bytes,
    read_facts,
    read_keys,
    read_registry,
    write_private,
)
from installation.layout import TRUST_SUFFIX, Layout
from installation.trust_editing import new_document, with_clocks
from shared.contracts.catalog import DsseEnvelope
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Audience
from shared.contracts.trust import TrustDocument, TrustedKey
from shared.dsse import public_key_of, verify_certificate
from shared.errors import Reason, RefusedError
from shared.installation_facts import CREDENTIALS_FILE, PUBLISHER_CERTIFICATE_FILE
from shared.nkeys import parse_credentials
from shared.trust.documents import open_document, sign_document
from shared.trust.receipts import derive_clock_seed
from shared.validation import decode_document


class NoTrustDocumentError(RefusedError):
    """The namespace has no trust document here, or no key of a principal is here."""

    code: ClassVar[ErrorCode] = "not_found"


class TrustDocumentExistsError(RefusedError):
    """The namespace has a trust document already."""

    code: ClassVar[ErrorCode] = "conflict"


def create_document(
    directory: Path,
    namespace: Audience,
    *,
    takes_publishers: bool,
    clocks: tuple[str, ...],
    now: datetime,
) -> TrustDocument:
    """The namespace has a document.

    Args:
        directory: Of the installation.
        namespace: `public` or a private space.
        takes_publishers: Whether it trusts the keys of all principals that may publish; else none.
        clocks: Further keys of the catalog's receipts; the one of the catalog whose credentials
            are here is always taken.
        now: Aware.

    Raises:
        TrustDocumentExistsError: It has one.
        FaultError: The disk failed.
    """
    layout = Layout(directory.absolute())
    read_facts(layout)
    with exclusive(layout):
        path = layout.trust_document(namespace)
        if path.exists():
            rule = "has a trust document already"
            reason = Reason(path="namespace", rule=rule, got=namespace, allowed=str(path))
            raise TrustDocumentExistsError(f"{namespace} {rule}", [reason])
        keys = _publishers(layout, now=now) if takes_publishers else ()
        document = new_document(
            namespace, keys=keys, clocks=(*own_clocks(layout), *clocks), now=now
        )
        _write(layout, document)
    return document


def change_document(
    directory: Path, namespace: Audience, change: Callable[[TrustDocument], TrustDocument]
) -> TrustDocument:
    """The document as `change` makes it of the one of now, signed.

    Raises:
        NoTrustDocumentError: There is none.
        RefusedError: `change` refuses.
        FaultError: The disk failed.
    """
    layout = Layout(directory.absolute())
    with exclusive(layout):
        document = change(with_clocks(_read(layout, namespace), own_clocks(layout)))
        _write(layout, document)
    return document


def stored_document(directory: Path, namespace: Audience) -> tuple[TrustDocument, DsseEnvelope]:
    """The document as it lies in the directory.

    Raises:
        NoTrustDocumentError: There is none.
        SignatureError: It was changed by somebody else than the trust root.
    """
    layout = Layout(directory.absolute())
    return _read(layout, namespace), _envelope(layout, namespace)


def namespaces_trusting(directory: Path, name: str) -> tuple[Audience, ...]:
    """The namespaces whose documents here trust a key of `name`, by name.

    Raises:
        SignatureError: A document was changed by somebody else than the trust root.
    """
    layout = Layout(directory.absolute())
    every = layout.trust_document("*")
    found = sorted(path.name.removesuffix(TRUST_SUFFIX) for path in every.parent.glob(every.name))
    return tuple(
        namespace
        for namespace in found
        if any(
            key.name == name and not (key.revoked_at or key.not_after)
            for key in _read(layout, namespace).keys
        )
    )


def publisher_key(directory: Path, name: str) -> str:
    """The public key that a principal signs packages with.

    Raises:
        NoTrustDocumentError: The principal has none here.
    """
    layout = Layout(directory.absolute())
    path = layout.credentials("principal", name) / PUBLISHER_CERTIFICATE_FILE
    if not path.is_file():
        rule = "has no key for packages here: give its public key with --key"
        raise NoTrustDocumentError(f"{name} {rule}", [Reason(path="name", rule=rule, got=name)])
    root = bytes.fromhex(read_facts(layout).trust_root)
    envelope = decode_document(read_bytes(path), DsseEnvelope, what=str(path))
    return verify_certificate(envelope, trust_root=root).key


def own_clocks(layout: Layout) -> tuple[str, ...]:
    """The key of the catalog's receipts, if its credentials are here."""
    path = layout.credentials("service", "catalog") / CREDENTIALS_FILE
    if not path.is_file():
        return ()
    seed = parse_credentials(read_bytes(path).decode()).key.seed
    return (public_key_of(derive_clock_seed(seed)).hex(),)


def _publishers(layout: Layout, *, now: datetime) -> tuple[TrustedKey, ...]:
    members = read_registry(layout).of_kind("principal")
    names = [member.name for member in members if member.is_valid(now=now)]
    return tuple(
        TrustedKey(key=publisher_key(layout.root, name), name=name)
        for name in names
        if (layout.credentials("principal", name) / PUBLISHER_CERTIFICATE_FILE).is_file()
    )


def _envelope(layout: Layout, namespace: Audience) -> DsseEnvelope:
    path = layout.trust_document(namespace)
    if not path.is_file():
        rule = "has no trust document here: `l3af trust init` makes one"
        reason = Reason(path="namespace", rule=rule, got=namespace, allowed=str(path))
        raise NoTrustDocumentError(f"{namespace} {rule}", [reason])
    return decode_document(read_bytes(path), DsseEnvelope, what=str(path))


def _read(layout: Layout, namespace: Audience) -> TrustDocument:
    root = bytes.fromhex(read_facts(layout).trust_root)
    return open_document(_envelope(layout, namespace), trust_root=root)


def _write(layout: Layout, document: TrustDocument) -> None:
    envelope = sign_document(document, seed=read_keys(layout).trust_root)
    write_private(
        layout.trust_document(document.namespace),
        msgspec.json.format(msgspec.json.encode(envelope), indent=2) + b"\n",
    )
