# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Names of things in registries: `oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]`.

Pure.  The grammar is the distribution specification's (opencontainers/distribution-spec, "Pulling
manifests"); Docker Hub's short names are written out as its clients do.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Final

from shared.errors import Reason, RefusedError

SCHEME: Final = "oci://"
DOCKER_HUB: Final = "docker.io"
GRAMMAR: Final = "oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]"

_REPOSITORY: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_FORM: Final = re.compile(
    r"oci://(?P<host>(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?)"
    rf"/(?P<repository>{_REPOSITORY}(?:/{_REPOSITORY})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_MAX_REPOSITORY: Final = 255


@dataclass(frozen=True, slots=True)
class OciReference:
    """One place in a registry."""

    host: str
    """With its port, if one was given."""
    repository: str
    tag: str = ""
    digest: str = ""
    """`sha256:…`; it decides if both are given."""

    def __str__(self) -> str:
        """As it is written."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{SCHEME}{self.host}/{self.repository}{tag}{digest}"

    @property
    def manifest(self) -> str:
        """How the registry is asked for it: the digest, else the tag."""
        return self.digest or self.tag or "latest"

    @property
    def api_host(self) -> str:
        """The host that answers the registry's API."""
        return "registry-1.docker.io" if self.host == DOCKER_HUB else self.host

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine's own."""
        return is_loopback(self.host)

    def at(self, digest: str) -> OciReference:
        """The same repository, and what has the digest."""
        return replace(self, digest=digest)

    def tagged(self, tag: str) -> OciReference:
        """The same repository under a tag."""
        return replace(self, tag=tag, digest="")


def parse_reference(text: str) -> OciReference:
    """The reference that `text` is.

    Raises:
        RefusedError: It is none.
    """
    match = _FORM.fullmatch(text)
    if match is None or len(match["repository"]) > _MAX_REPOSITORY:
        reason = Reason(path="reference", rule="names no registry", got=text, allowed=GRAMMAR)
        raise RefusedError(f"{text}: must be {GRAMMAR}", [reason])
    host, repository = match["host"], match["repository"]
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = DOCKER_HUB
    if host == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return OciReference(host, repository, match["tag"] or "", match["digest"] or "")


def is_loopback(host: str) -> bool:
    """Whether a host, with or without port, is this machine's own."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
