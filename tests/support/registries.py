# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A real registry (Debian's docker-registry) on loopback, and who may log in to it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from installation.certificates import CertifiedKey, issue_authority, issue_server
from installation.create import new_serial, new_tls_key
from tests.support.installations import utc_now

START_SECONDS: Final = 10.0
USER: Final = "paula"
PASSWORD: Final = "let me in"
_BCRYPT: Final = "$2b$04$0QkNdHYwljGuAin/j..5HOLnuznKKr35QbthgUlkQtljJc2O8rAEm"
READ_ONLY: Final = "read-only"
"""Below this name tokens are for pulling alone."""
SERVICE: Final = "registry.test"
_ISSUER: Final = "token.test"

Login = Literal["none", "basic", "token"]


@dataclass(frozen=True)
class RunningRegistry:
    """A registry that answers, and what its clients have to know."""

    address: str
    """Host and port."""
    store: Path
    authority: Path | None = None
    """PEM file to trust; None: it speaks plain HTTP."""
    granted: list[str] = field(default_factory=list)
    """Scopes of the tokens that were handed out, in order."""

    def reference(self, name: str) -> str:
        """The address of a repository, with or without tag."""
        return f"oci://{self.address}/{name}"

    def blobs(self) -> set[str]:
        """Digests of what it stores."""
        found = self.store.glob("docker/registry/v2/blobs/sha256/*/*/data")
        return {path.parent.name for path in found}

    def damage(self, digest: str) -> None:
        """What it stores under this digest is something else from now on, of the same size."""
        hexadecimal = digest.removeprefix("sha256:")
        path = self.store / f"docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))


@contextmanager
def running_registry(
    folder: Path, *, login: Login = "none", has_tls: bool = False
) -> Iterator[RunningRegistry]:
    """A registry with an empty store below the folder, for the length of the block."""
    folder.mkdir(parents=True)
    authority = issue_authority(
        name="registry", key=new_tls_key(), serial=new_serial(), now=utc_now()
    )
    granted: list[str] = []
    with _token_service(authority, granted) if login == "token" else nullcontext("") as realm:
        configuration: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(folder / "store")},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": "127.0.0.1:0", "relativeurls": False},
        }
        if has_tls:
            configuration["http"]["tls"] = _tls(folder, authority)
        if login == "basic":
            (folder / "htpasswd").write_text(f"{USER}:{_BCRYPT}\n")
            basic = {"realm": "test", "path": str(folder / "htpasswd")}
            configuration["auth"] = {"htpasswd": basic}
        if login == "token":
            (folder / "roots.pem").write_bytes(authority.certificate)
            configuration["auth"] = {
                "token": {
                    "realm": realm,
                    "service": SERVICE,
                    "issuer": _ISSUER,
                    "rootcertbundle": str(folder / "roots.pem"),
                }
            }
        written = folder / "config.yml"
        written.write_text(json.dumps(configuration))  # JSON is YAML
        log = folder / "registry.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["docker-registry", "serve", str(written)], stdout=output, stderr=output
            )
        try:
            yield RunningRegistry(
                address=f"127.0.0.1:{_port(process, log)}",
                store=folder / "store",
                authority=folder / "authority.pem" if has_tls else None,
                granted=granted,
            )
        finally:
            process.kill()
            process.wait()


def login_file(path: Path, address: str, password: str = PASSWORD) -> Path:
    """What `docker login` would have written."""
    pair = base64.b64encode(f"{USER}:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {address: {"auth": pair}}}))
    return path


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if match := re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text()):
            return int(match[1])
        time.sleep(0.01)
    raise AssertionError(log.read_text())


def _tls(folder: Path, authority: CertifiedKey) -> dict[str, str]:
    server = issue_server(
        authority, hosts=("127.0.0.1",), key=new_tls_key(), serial=new_serial(), now=utc_now()
    )
    for name, data in (
        ("authority.pem", authority.certificate),
        ("server.pem", server.certificate),
        ("server.key", server.key),
    ):
        (folder / name).write_bytes(data)
    return {"certificate": str(folder / "server.pem"), "key": str(folder / "server.key")}


@contextmanager
def _token_service(authority: CertifiedKey, granted: list[str]) -> Iterator[str]:
    """The address where tokens are asked for (distribution, spec/auth/token.md)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            is_known = self.headers.get("Authorization") == f"Basic {pair}"
            if not is_known or asked.get("service") != [SERVICE]:
                self.send_error(401)
                return
            (scope,) = asked["scope"]
            granted.append(scope)
            body = json.dumps({"token": _token(authority, scope)}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _token(authority: CertifiedKey, scope: str) -> str:
    """A JSON Web Token (RFC 7519, ES256) that lets one do what was asked for."""
    kind, name, asked = scope.split(":")
    actions = ["pull"] if name.startswith(f"{READ_ONLY}/") else asked.split(",")
    now = int(utc_now().timestamp())
    certificate = x509.load_pem_x509_certificate(authority.certificate)
    chain = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]
    header = {"typ": "JWT", "alg": "ES256", "x5c": chain}
    claims = {
        "iss": _ISSUER,
        "sub": USER,
        "aud": SERVICE,
        "exp": now + 300,
        "nbf": now - 60,
        "iat": now,
        "jti": str(now),
        "access": [{"type": kind, "name": name, "actions": actions}],
    }
    signed = ".".join(_encoded(json.dumps(one).encode()) for one in (header, claims))
    key = load_pem_private_key(authority.key, password=None)
    assert isinstance(key, EllipticCurvePrivateKey)
    r, s = decode_dss_signature(key.sign(signed.encode(), ECDSA(SHA256())))
    return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
