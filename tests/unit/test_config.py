# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration: all variables are read, and all bad ones are named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from shared.config import Labels, ServiceConfig, load_config
from shared.errors import RefusedError


class ExampleConfig(ServiceConfig, frozen=True, kw_only=True):
    """One field of every type a service uses."""

    interval_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    workers: int = 2
    verbose: bool = False
    labels: Labels = {}


GOOD = {"X_CREDENTIALS_DIR": "/c", "X_STATE_DIR": "/s"}


def test_strings_become_what_the_fields_are() -> None:
    """Every variable is read by its field's type, and other prefixes are not looked at."""
    environ = GOOD | {
        "X_INTERVAL_SECONDS": "0.5",
        "X_WORKERS": "8",
        "X_VERBOSE": "true",
        "X_LABELS": "zone=a,rack=r1",
        "Y_WORKERS": "many",
    }

    config = load_config(ExampleConfig, environ, prefix="X_")

    assert config == ExampleConfig(
        credentials_dir=Path("/c"),
        state_dir=Path("/s"),
        interval_seconds=0.5,
        workers=8,
        verbose=True,
        labels={"zone": "a", "rack": "r1"},
    )


def test_every_bad_variable_is_named_at_once() -> None:
    """Missing, unknown, malformed and out-of-range variables come in one refusal."""
    environ = {
        "X_STATE_DIR": "",
        "X_INTERVAL_SECONDS": "-1",
        "X_WORKERS": "many",
        "X_LABELS": "zone",
        "X_LOG_LEVEL": "loud",
        "X_WORKRES": "2",
    }

    with pytest.raises(RefusedError) as refused:
        load_config(ExampleConfig, environ, prefix="X_")

    assert {reason.path for reason in refused.value.reasons} == set(environ) | {"X_CREDENTIALS_DIR"}
