# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Requests by HTTP: timeouts, some retries of what changes nothing, and the system's proxy."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.response import BaseHTTPResponse

from shared.oci.references import is_loopback

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0


class Connections:
    """Kept open between requests; to be closed."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        """Nothing is connected yet."""
        self._settings: Final[dict[str, Any]] = {
            "ssl_context": tls,
            "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            "retries": urllib3.Retry(
                total=3,
                redirect=0,
                status_forcelist=(502, 503, 504),
                allowed_methods=frozenset({"GET", "HEAD"}),
                backoff_factor=0.2,
                raise_on_redirect=False,
                raise_on_status=False,
            ),
        }
        self._pools: Final[dict[str, urllib3.PoolManager]] = {}

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None
    ) -> BaseHTTPResponse:
        """The answer, whose content is still to be read; redirects are answers.

        Through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name, except to this
        machine's own addresses.

        Raises:
            urllib3.exceptions.HTTPError: Nobody answers.
        """
        proxy = _proxy(url)
        if proxy not in self._pools:
            self._pools[proxy] = (
                urllib3.ProxyManager(proxy, **self._settings)
                if proxy
                else urllib3.PoolManager(**self._settings)
            )
        return self._pools[proxy].request(
            method, url, headers=dict(headers), body=body, redirect=False, preload_content=False
        )

    def close(self) -> None:
        """Every connection is closed."""
        for pool in self._pools.values():
            pool.clear()


def _proxy(url: str) -> str:
    """The proxy for this address; empty: none."""
    address = urlsplit(url)
    if is_loopback(address.netloc) or proxy_bypass(address.netloc):
        return ""
    return getproxies().get(address.scheme, "")
