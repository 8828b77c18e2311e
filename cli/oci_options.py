# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What commands ask about registries, in the same words everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

PlainHttpFlag = Annotated[
    bool,
    Parameter(
        name="--plain-http",
        negative=(),
        help="Speak to the registry without TLS; to this machine's own addresses that is usual.",
    ),
]
RegistryCaOption = Annotated[
    Path | None,
    Parameter(
        name="--registry-ca",
        help="PEM file of the authorities to trust at the registry, instead of the system's.",
    ),
]
RegistryLoginsOption = Annotated[
    Path | None,
    Parameter(
        name="--registry-logins",
        help="File that `docker login` wrote; left out: REGISTRY_AUTH_FILE, podman's, Docker's.",
    ),
]
