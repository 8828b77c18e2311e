# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Texts that do harm where they are taken for more than text."""

from __future__ import annotations

HOSTILE_TEXTS = (
    "a\0b",
    "\ue000",
    "\ue0000",
    "a\nb\r\t",
    "\r\nrecord,forged",
    "\u202eright to left",
    "\u2066isolate\u2069 \u200fmark \ufeff \u2028line\u2029paragraph",
    "\x1b[2J\x1b]0;title\x07gone",
    "\x9b31m\x85\x7f",
    "[bold red]markup[/]",
    "'; DROP TABLE records; --",
    "%' OR 1=1 --",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\uff1d1+1",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</textarea>&lt;",
    '","=1+1","',
    "\\u003c \\n \\",
    "\N{PILE OF POO}" * 100,
    "x" * 25_000,
    "x" * 24_999 + "y",
)
"""Control characters, text that runs backwards, escapes of terminals, injections, and long ones."""
