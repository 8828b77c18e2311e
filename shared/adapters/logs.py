# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Logs as JSON lines on standard error."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logs(*, service: str, level: str = "info") -> None:
    """Every log line from now on is one JSON object that names the service.

    Args:
        service: As in `$SRV`.
        level: `debug`, `info`, `warning` or `error`; less severe lines are left out.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    silence_tls_endings()


def silence_tls_endings() -> None:
    """The event loop's word about every TLS connection that a peer ends is not printed.

    nats-py keeps asyncio's default `eof_received`, which asyncio warns about for TLS and then
    handles as it should.
    """
    logging.getLogger("asyncio").setLevel(logging.ERROR)
