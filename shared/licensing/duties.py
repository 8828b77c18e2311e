# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The obligations catalogue: what common licences ask of whoever hands the code on.

Pure data; the words are ours, the clauses the licences' own numbers.  They bind whoever
distributes, which running code in one's own house usually is not.  It is no legal advice.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Obligation = Literal[
    "source", "licence text", "attribution", "notice file", "state changes", "disclaimer",
    "same licence", "replaceable", "patent clause", "read the terms",
]  # fmt: skip


class Duty(NamedTuple):
    """One thing that a licence asks for."""

    obligation: Obligation
    clause: str
    """Where the licence says so."""


UNKNOWN_TERMS: Final = (Duty("read the terms", "not in the catalogue"),)
_GPL_2: Final = (
    Duty("source", "GPL-2.0 section 3"),
    Duty("licence text", "GPL-2.0 section 1"),
    Duty("attribution", "GPL-2.0 section 1"),
    Duty("state changes", "GPL-2.0 section 2(a)"),
    Duty("same licence", "GPL-2.0 section 2(b)"),
)
_GPL_3: Final = (
    Duty("source", "GPL-3.0 section 6"),
    Duty("licence text", "GPL-3.0 section 4"),
    Duty("attribution", "GPL-3.0 section 4"),
    Duty("state changes", "GPL-3.0 section 5(a)"),
    Duty("same licence", "GPL-3.0 section 5(c)"),
    Duty("patent clause", "GPL-3.0 section 11"),
)
_LGPL_2_1: Final = (
    Duty("source", "LGPL-2.1 sections 4 and 6"),
    Duty("licence text", "LGPL-2.1 section 1"),
    Duty("attribution", "LGPL-2.1 section 1"),
    Duty("state changes", "LGPL-2.1 section 2(b)"),
    Duty("replaceable", "LGPL-2.1 section 6"),
)
_LGPL_3: Final = (
    Duty("source", "LGPL-3.0 section 4(d)"),
    Duty("licence text", "LGPL-3.0 section 4(b)"),
    Duty("attribution", "LGPL-3.0 section 4(a)"),
    Duty("replaceable", "LGPL-3.0 section 4(d)"),
)
_APACHE_2: Final = (
    Duty("licence text", "Apache-2.0 section 4(a)"),
    Duty("state changes", "Apache-2.0 section 4(b)"),
    Duty("attribution", "Apache-2.0 section 4(c)"),
    Duty("notice file", "Apache-2.0 section 4(d)"),
    Duty("patent clause", "Apache-2.0 section 3"),
)
_MPL_2: Final = (
    Duty("source", "MPL-2.0 section 3.2(a)"),
    Duty("same licence", "MPL-2.0 section 3.1"),
    Duty("attribution", "MPL-2.0 section 3.4"),
    Duty("patent clause", "MPL-2.0 section 5.2"),
)
_MPL_1_1: Final = (
    Duty("source", "MPL-1.1 sections 3.2 and 3.6"),
    Duty("same licence", "MPL-1.1 section 3.1"),
    Duty("state changes", "MPL-1.1 section 3.3"),
    Duty("attribution", "MPL-1.1 section 3.5"),
)


def _short(name: str, text: str) -> tuple[Duty, ...]:
    """Of a licence that asks for its own text, which names the holders and disclaims."""
    where = f"{name} {text}"
    return (Duty("licence text", where), Duty("attribution", where), Duty("disclaimer", where))


_DUTIES: Final[dict[str, tuple[Duty, ...]]] = {
    "GPL-2.0-only": _GPL_2,
    "GPL-2.0-or-later": _GPL_2,
    "GPL-3.0-only": _GPL_3,
    "GPL-3.0-or-later": _GPL_3,
    "LGPL-2.1-only": _LGPL_2_1,
    "LGPL-2.1-or-later": _LGPL_2_1,
    "LGPL-3.0-only": _LGPL_3,
    "LGPL-3.0-or-later": _LGPL_3,
    "Apache-2.0": _APACHE_2,
    "MPL-1.1": _MPL_1_1,
    "MPL-2.0": _MPL_2,
    "BSD-2-Clause": _short("BSD-2-Clause", "conditions 1 and 2"),
    "BSD-3-Clause": _short("BSD-3-Clause", "conditions 1 and 2"),
    "MIT": _short("MIT", "second paragraph"),
    "ISC": _short("ISC", "first paragraph"),
    "CC-BY-4.0": (
        Duty("attribution", "CC-BY-4.0 section 3(a)(1)"),
        Duty("state changes", "CC-BY-4.0 section 3(a)(1)(B)"),
        Duty("licence text", "CC-BY-4.0 section 3(a)(1)(C)"),
    ),
    "0BSD": (),
    "CC0-1.0": (),
    "Unlicense": (),
}
"""By SPDX identifier; those that ask for nothing have no duties."""


def duties_of(licence: str) -> tuple[Duty, ...]:
    """What the licence asks for; an exception (`WITH`) only ever asks for less.

    A licence that is not in the catalogue asks for its terms to be read.
    """
    return _DUTIES.get(licence.partition(" WITH ")[0], UNKNOWN_TERMS)
