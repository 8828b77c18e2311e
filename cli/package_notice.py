# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package notice`: licence texts, copyright lines, notices and where the source is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from cli import console, session
from cli.console import CredentialsOption, JsonFlag
from cli.package_licence import licensed_package
from cli.package_publish import load_built
from cli.package_source import ARCHIVE_SUFFIX
from shared.contracts.notices import GET_NOTICE, GetNotice, PackageNotice
from shared.errors import Reason, RefusedError
from shared.licensing.notices import package_notice, render_notice
from shared.licensing.policies import DEFAULT_POLICY
from shared.licensing.verdict import check_licences
from shared.package_archive import read_archive


def notice(
    package: str,
    version: str = "",
    *,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Print what has to be handed on with a package, made from its own files.

    The same package always gives the same bytes.

    Parameters
    ----------
    package
        A folder, which is built first, an archive that `build` wrote, or a published name.
    version
        Of a published package; left out: the newest release.
    out
        A file to write it to, instead of printing it.
    """
    place = Path(package)
    if place.is_dir() or package.endswith(ARCHIVE_SUFFIX):
        with console.refusing(json=json), console.progress(f"reading {package}"):
            found = _of_built(place)
    else:
        wanted = GetNotice(name=package, version=version)
        found = console.run(session.ask(GET_NOTICE, wanted, credentials), json=json)
    text = msgspec.json.encode(found).decode() + "\n" if json else render_notice(found)
    hand_out(text, out, json=json)


def _of_built(place: Path) -> PackageNotice:
    built = load_built(place)
    subject = licensed_package(built, DEFAULT_POLICY)
    files = read_archive(built.archive, built.manifest)
    return package_notice(subject, files, check_licences(subject).elections)


def hand_out(text: str, out: Path | None, *, json: bool) -> None:
    """The text is in the file, or printed as it is: it is handed on word by word.

    Of JSON, which has its own way to write them, not even control characters are changed.
    """
    if out is None:
        sys.stdout.write(text if json else console.plain(text))
        return
    with console.refusing(json=json):
        _write(out, text)
    console.say(f"written to {out}", json=json)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = Reason(path=str(path), rule=f"cannot be written: {error.strerror}")
        raise RefusedError(f"{path}: {reason.rule}", [reason]) from error
