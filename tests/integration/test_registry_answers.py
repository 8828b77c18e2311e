# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Answers that an honest registry does not give, or not this one: redirects, lies, other logins."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from cli.oci_registry import Registry, RegistrySettings
from cli.registry_access import parse_challenge
from cli.registry_logins import find_login
from shared.errors import FaultError, RefusedError
from shared.oci.documents import MANIFEST, OciError, describe
from shared.oci.references import parse_reference

BLOB = describe("text/plain", b"blob")
DOCUMENT = describe(MANIFEST, b"{}")


@dataclass
class PlayedRegistry:
    """Says what it is told to say, and remembers what it was asked."""

    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    """By method and path."""
    asked: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    address: str = ""

    def blob(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        """What is answered when the blob is asked for."""
        self.answers[f"GET /v2/acme/one/blobs/{BLOB.digest}"] = (status, headers, body)

    def authorizations(self) -> list[str]:
        """With what login each request came."""
        return [headers.get("Authorization", "") for _, headers, _ in self.asked]


@contextmanager
def played() -> Iterator[PlayedRegistry]:
    """Listening on loopback."""
    registry = PlayedRegistry()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            what = f"{self.command} {self.path.partition('?')[0]}"
            registry.asked.append((what, dict(self.headers), body))
            status, headers, content = registry.answers.get(what, (404, {}, b""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = answer  # noqa: N815 because http.server names it so
        do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def registry() -> Iterator[PlayedRegistry]:
    """The registry that is asked."""
    with played() as made:
        yield made


def client(registry: PlayedRegistry, folder: Path, **login: str) -> Registry:
    """Of the repository acme/one, with what Docker's file says of the registry."""
    logins = folder / "config.json"
    logins.write_text(json.dumps({"auths": {registry.address: login}} if login else {}))
    reference = parse_reference(f"oci://{registry.address}/acme/one")
    return Registry(reference, RegistrySettings(logins=logins))


def basic(name: str, password: str) -> str:
    """As Docker keeps it."""
    return base64.b64encode(f"{name}:{password}".encode()).decode()


def test_a_login_is_not_carried_to_another_host(registry: PlayedRegistry, tmp_path: Path) -> None:
    """Registries redirect to stores of others, which get the question alone."""
    with played() as store, client(registry, tmp_path, auth=basic("paula", "secret")) as repository:
        store.answers["GET /elsewhere"] = (200, {}, b"blob")
        registry.blob(401, {"WWW-Authenticate": 'Basic realm="x"'})
        with pytest.raises(RefusedError):
            repository.blob(BLOB)
        registry.blob(307, {"Location": f"http://{store.address}/elsewhere"})

        assert repository.blob(BLOB) == b"blob"

    assert registry.authorizations() == ["", *[f"Basic {basic('paula', 'secret')}"] * 2]
    assert store.authorizations() == [""]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((200, {}, b"evil"), OciError, "another digest"),
        ((200, {}, b"bl"), OciError, "another size"),
        ((200, {}, b"b" * 1000), OciError, "more than was announced"),
        ((307, {"Location": f"/v2/acme/one/blobs/{BLOB.digest}"}, b""), FaultError, "without end"),
        ((500, {}, b""), FaultError, "status 500"),
        ((429, {}, b""), FaultError, "status 429"),
        (
            (400, {}, b'{"errors":[{"code":"X","message":"no such luck"}]}'),
            RefusedError,
            "X no such",
        ),
        ((400, {}, b'{"errors":"?"}'), RefusedError, "status 400"),
        ((401, {"WWW-Authenticate": "Negotiate"}, b""), RefusedError, "kind of login"),
        ((401, {}, b""), RefusedError, "kind of login"),
        ((401, {"WWW-Authenticate": "Basic"}, b""), RefusedError, "docker login"),
        (
            (401, {"WWW-Authenticate": 'Bearer realm="http://token.example.org/"'}, b""),
            RefusedError,
            "without TLS",
        ),
    ],
)
def test_answers_that_are_no_blob_are_said_as_what_they_are(
    registry: PlayedRegistry,
    tmp_path: Path,
    answer: tuple[int, dict[str, str], bytes],
    error: type[Exception],
    words: str,
) -> None:
    """Lies and wrong logins are refused, what may pass by itself is a fault."""
    registry.blob(*answer)

    with client(registry, tmp_path) as repository, pytest.raises(error, match=words):
        repository.blob(BLOB)


@pytest.mark.parametrize(
    ("name", "told"),
    [(DOCUMENT.digest, {}), ("latest", {"Docker-Content-Digest": DOCUMENT.digest})],
)
def test_a_manifest_of_another_digest_is_refused(
    registry: PlayedRegistry, tmp_path: Path, name: str, told: dict[str, str]
) -> None:
    """Than the one that was asked for, or that the registry itself says."""
    answer = (200, {"Content-Type": MANIFEST, **told}, b'{"other":1}')
    registry.answers[f"GET /v2/acme/one/manifests/{name}"] = answer

    with client(registry, tmp_path) as repository, pytest.raises(OciError, match="other bytes"):
        repository.document(name)


def test_identity_tokens_are_exchanged(registry: PlayedRegistry, tmp_path: Path) -> None:
    """By the token service's form, and only what it gives goes to the registry."""
    realm = f"http://{registry.address}/token"
    challenge = f'Bearer realm="{realm}",service="s",scope="repository:acme/one:pull"'
    registry.blob(401, {"WWW-Authenticate": challenge})
    registry.answers["POST /token"] = (200, {}, b'{"access_token":"access"}')

    with (
        client(registry, tmp_path, identitytoken="refresh") as repository,
        pytest.raises(RefusedError, match="does not permit"),
    ):
        repository.blob(BLOB)

    _, (what, _, form), (_, headers, _) = registry.asked
    assert what == "POST /token"
    assert parse_qs(form.decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh"],
        "client_id": ["l3af"],
        "service": ["s"],
        "scope": ["repository:acme/one:pull"],
    }
    assert headers["Authorization"] == "Bearer access"


def test_the_systems_proxy_is_used(
    registry: PlayedRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For everything but this machine's own addresses and what is excepted."""
    monkeypatch.setenv("http_proxy", f"http://{registry.address}")
    monkeypatch.setenv("no_proxy", "excepted.invalid")
    blob = f"/v2/acme/one/blobs/{BLOB.digest}"
    registry.answers[f"GET http://registry.invalid{blob}"] = (200, {}, b"blob")
    registry.blob(200, {}, b"blob")
    settings = RegistrySettings(plain_http=True, logins=Path("/dev/null"))

    with Registry(parse_reference("oci://registry.invalid/acme/one"), settings) as through:
        assert through.blob(BLOB) == b"blob"
    with client(registry, tmp_path) as direct:
        assert direct.blob(BLOB) == b"blob"
    with (
        Registry(parse_reference("oci://excepted.invalid/acme/one"), settings) as excepted,
        pytest.raises(FaultError, match=r"excepted.invalid cannot be reached"),
    ):
        excepted.blob(BLOB)

    assert len(registry.asked) == 2


def test_challenges_are_read_as_they_are_written() -> None:
    """Quoted and bare parameters, in any case."""
    found = parse_challenge('BEARER Realm="https://a/t?x=1,2", service=reg , scope="a:b:pull,push"')

    assert found.scheme == "bearer"
    assert found.parameters == {
        "realm": "https://a/t?x=1,2",
        "service": "reg",
        "scope": "a:b:pull,push",
    }


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ({"auths": {"https://h/v2/": {"auth": basic("a", "b")}}}, "a"),
        ({"auths": {"h": {"username": "u", "password": "p"}}}, "u"),
        ({"auths": {"h": {}}}, None),
        ({"auths": {"other": {"auth": basic("a", "b")}}}, None),
    ],
)
def test_logins_are_found_under_every_name(
    tmp_path: Path, written: dict[str, object], name: str | None
) -> None:
    """Files of earlier clients call a host by its address."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(written))

    found = find_login("h", file)

    assert (found.name if found else None) == name


@pytest.mark.parametrize("text", ["{", '{"auths":[]}', '{"auths":{"h":{"auth":"%%%"}}}'])
def test_files_of_logins_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    """By their name."""
    file = tmp_path / "config.json"
    file.write_text(text)

    with pytest.raises(RefusedError, match=r"config\.json"):
        find_login("h", file)
