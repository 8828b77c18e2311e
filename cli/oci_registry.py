# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A repository of a registry (opencontainers/distribution-spec 1.1), to pull from and to push to.

Rules:
 * TLS, with the system's authorities or one that is named; plain HTTP to this machine's own
   addresses, or when somebody says so.
 * Every manifest and blob is compared with its digest before anybody sees it.
 * A login goes to the registry and its token service alone, never to where it redirects.
 * Nothing larger than was announced is read.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urljoin, urlsplit

import msgspec
from urllib3.exceptions import HTTPError, SSLError
from urllib3.response import BaseHTTPResponse

from cli.http_connections import Connections
from cli.registry_access import (
    MAX_TOKEN_BYTES,
    authorization,
    not_logged_in,
    parse_challenge,
)
from cli.registry_logins import Login, find_login, login_file
from shared.closing import ClosedAfterUse
from shared.contracts.errors import ErrorCode
from shared.errors import FaultError, Reason, RefusedError
from shared.oci.cosign import referrers_tag
from shared.oci.documents import (
    INDEX,
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_DOCUMENT_BYTES,
    Descriptor,
    ImageIndex,
    OciContent,
    check_blob,
    check_digest,
    describe,
    parse_document,
    refused,
)
from shared.oci.references import OciReference

MAX_REDIRECTS: Final = 5
PIECE_BYTES: Final = 256 * 1024

_ACCEPTED: Final = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
_OK, _CREATED, _ACCEPTED_STATUS = 200, 201, 202
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _FAULTS = 401, 403, 404, 429, 500

Progress = Callable[[int], object]


class NotInRegistryError(RefusedError):
    """The registry has nothing of this name."""

    code: ClassVar[ErrorCode] = "not_found"


class RegistryDeniedError(RefusedError):
    """The registry does not let one do that."""

    code: ClassVar[ErrorCode] = "not_permitted"


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How to reach a registry."""

    plain_http: bool = False
    ca: Path | None = None
    """PEM file with the authorities that are trusted instead of the system's."""
    logins: Path | None = None
    """File of `docker login`; None: where it usually is."""


class Registry(ClosedAfterUse):
    """One repository."""

    def __init__(self, reference: OciReference, settings: RegistrySettings) -> None:
        """Nothing is asked yet.

        Raises:
            RefusedError: A file that the settings name cannot be read.
        """
        self.reference: Final = reference
        self._login: Final[Login | None] = find_login(reference.host, login_file(settings.logins))
        self._may_be_plain: Final = settings.plain_http
        is_plain = settings.plain_http or (reference.is_loopback and settings.ca is None)
        self._base: Final = f"{'http' if is_plain else 'https'}://{reference.api_host}"
        self._repository: Final = f"{self._base}/v2/{reference.repository}"
        self._connections: Final = Connections(_context(settings.ca))
        self._authorization = ""
        self._actions = "pull"

    def close(self) -> None:
        """Every connection is closed."""
        self._connections.close()

    def document(self, name: str) -> tuple[Descriptor, bytes] | None:
        """The manifest or index with this tag or digest; None: there is none.

        Raises:
            OciError: It is not what its digest says.
            RefusedError: The registry says no.
            FaultError: It does not answer.
        """
        url = f"{self._repository}/manifests/{name}"
        answer = self._send("GET", url, headers={"Accept": _ACCEPTED})
        if answer.status == _NOT_FOUND:
            answer.drain_conn()
            return None
        data = self._body(answer, f"manifest {name}", MAX_DOCUMENT_BYTES)
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        found = describe(media_type, data)
        told = answer.headers.get("Docker-Content-Digest", found.digest)
        for said in (name if ":" in name else found.digest, told):
            if said != found.digest:
                rule = "the registry sent other bytes than those with this digest"
                raise refused(f"manifest {name}", rule, found.digest, said)
        return found, data

    def blob(self, wanted: Descriptor, show_progress: Progress = lambda _: None) -> bytes:
        """The bytes of a descriptor.

        Raises:
            OciError: They are not what the descriptor says.
            RefusedError: The registry says no, or has no such blob.
            FaultError: It does not answer.
        """
        check_digest(wanted.digest, path="digest")
        url = f"{self._repository}/blobs/{wanted.digest}"
        answer = self._send("GET", url)
        data = self._body(answer, f"blob {wanted.digest}", wanted.size, show_progress)
        return check_blob(data, wanted)

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """What refers to the digest: by the API, or by the tag that stands for it."""
        url = f"{self._repository}/referrers/{digest}"
        answer = self._send("GET", url, headers={"Accept": INDEX})
        if answer.status == _OK:
            data = self._body(answer, f"referrers of {digest}", MAX_DOCUMENT_BYTES)
            document = parse_document(data, INDEX, path="referrers")
        else:
            answer.drain_conn()
            found = self.document(referrers_tag(digest))
            if found is None:
                return ()
            document = parse_document(found[1], found[0].media_type, path="referrers")
        return document.manifests if isinstance(document, ImageIndex) else ()

    def push(self, content: OciContent, tag: str, show_progress: Progress = lambda _: None) -> None:
        """All of the content is there, and the tag leads to it.

        Raises:
            RefusedError: The registry says no.
            FaultError: It does not answer.
        """
        self._actions = "pull,push"
        done = 0
        for digest, data in content.blobs.items():
            self._push_blob(digest, data)
            done += len(data)
            show_progress(done)
        for digest, (media_type, data) in content.documents.items():
            name = tag if digest == content.root.digest and tag else digest
            url = f"{self._repository}/manifests/{name}"
            answer = self._send("PUT", url, headers={"Content-Type": media_type}, body=data)
            self._finish(answer, f"manifest {name}", _CREATED)

    def _push_blob(self, digest: str, data: bytes) -> None:
        url = f"{self._repository}/blobs/{digest}"
        answer = self._send("HEAD", url)
        answer.drain_conn()
        if answer.status == _OK:
            return
        begun = self._send("POST", f"{self._repository}/blobs/uploads/")
        self._finish(begun, "upload", _ACCEPTED_STATUS)
        place = self._place(self._base, begun)
        joint = "&" if urlsplit(place).query else "?"
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._send("PUT", f"{place}{joint}digest={digest}", headers=headers, body=data)
        self._finish(answer, f"blob {digest}", _CREATED)

    def _send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> BaseHTTPResponse:
        """The answer, once the registry knows who asks and has sent nobody elsewhere."""
        answer = self._once(method, url, headers, body)
        if answer.status == _UNAUTHORISED and self._is_own(url):
            challenge = parse_challenge(answer.headers.get("WWW-Authenticate", ""))
            answer.drain_conn()
            self._authorization = authorization(
                challenge,
                self._login,
                scope=f"repository:{self.reference.repository}:{self._actions}",
                host=self.reference.host,
                may_be_plain=self._may_be_plain,
                ask=self._ask_for_token,
            )
            answer = self._once(method, url, headers, body)
        for _ in range(MAX_REDIRECTS):
            if answer.status not in _REDIRECTS or method not in ("GET", "HEAD"):
                return answer
            url = self._place(url, answer)
            answer.drain_conn()
            answer = self._once(method, url, headers, body)
        raise FaultError(f"{self.reference.host} redirects without end")

    def _place(self, url: str, answer: BaseHTTPResponse) -> str:
        """Where the answer sends one."""
        place = urljoin(url, answer.headers.get("Location", ""))
        if urlsplit(place).scheme != "https" and urlsplit(url).scheme == "https":
            reason = Reason(path=self.reference.host, rule="redirects away from TLS", got=place)
            raise RefusedError(f"{self.reference.host} {reason.rule}", [reason])
        return place

    def _once(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None
    ) -> BaseHTTPResponse:
        sent = dict(headers or {})
        if self._authorization and self._is_own(url):
            sent["Authorization"] = self._authorization
        try:
            return self._connections.request(method, url, headers=sent, body=body)
        except HTTPError as error:
            raise self._unreachable(error) from error

    def _is_own(self, url: str) -> bool:
        return url.startswith(f"{self._base}/")

    def _ask_for_token(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> bytes:
        try:
            answer = self._connections.request(method, url, headers=headers, body=body)
        except HTTPError as error:
            raise self._unreachable(error) from error
        if answer.status in (_UNAUTHORISED, _FORBIDDEN):
            answer.drain_conn()
            raise not_logged_in(self.reference.host)
        return self._body(answer, "token", MAX_TOKEN_BYTES)

    def _finish(self, answer: BaseHTTPResponse, what: str, wanted: int) -> None:
        if answer.status != wanted:
            raise self._problem(answer, what)
        answer.drain_conn()

    def _body(
        self,
        answer: BaseHTTPResponse,
        what: str,
        most_bytes: int,
        show_progress: Progress = lambda _: None,
    ) -> bytes:
        if answer.status != _OK:
            raise self._problem(answer, what)
        held = bytearray()
        try:
            for piece in answer.stream(PIECE_BYTES, decode_content=False):
                held += piece
                if len(held) > most_bytes:
                    rule = "the registry sent more than was announced"
                    raise refused(what, rule, f"over {most_bytes}", most_bytes)
                show_progress(len(held))
        except HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            answer.release_conn()
        return bytes(held)

    def _problem(self, answer: BaseHTTPResponse, what: str) -> RefusedError | FaultError:
        """What an answer means that is not the one that was hoped for."""
        host = self.reference.host
        told = _errors(answer.read(PIECE_BYTES, decode_content=False))
        answer.release_conn()
        reason = Reason(path=f"{host}: {what}", rule=told or f"status {answer.status}")
        if answer.status == _NOT_FOUND:
            return NotInRegistryError(f"{self.reference}: {host} has no {what}", [reason])
        if answer.status in (_UNAUTHORISED, _FORBIDDEN):
            return RegistryDeniedError(f"{host} does not permit this: {reason.rule}", [reason])
        if answer.status == _TOO_MANY or answer.status >= _FAULTS:
            return FaultError(f"{host} failed: status {answer.status} {told}".rstrip())
        return RefusedError(f"{host} refuses {what}: {reason.rule}", [reason])

    def _unreachable(self, error: HTTPError) -> FaultError:
        cause = getattr(error, "reason", None) or error
        host = self.reference.api_host
        if isinstance(cause, SSLError):
            return FaultError(
                f"{host} does not prove who it is: {cause}; --registry-ca names an authority to "
                "trust, --plain-http does without TLS"
            )
        return FaultError(f"{host} cannot be reached: {cause}")


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        reason = Reason(path=str(ca), rule=f"is no file of certificates: {error}")
        raise RefusedError(f"{ca} {reason.rule}", [reason]) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _errors(body: bytes) -> str:
    """The registry's own words (distribution-spec, "Error Codes"), in one line."""
    try:
        document = msgspec.json.decode(body)
        errors = document["errors"]
        lines = [f"{one.get('code', '')} {one.get('message', '')}".strip() for one in errors]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return ""
    return "; ".join(lines)[:500]
