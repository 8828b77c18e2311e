# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package new`: a package that works, to begin from."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from cli import console
from cli.console import JsonFlag, plain
from cli.package_source import SOURCE_FILE, parse_source
from cli.package_templates import LICENCES, package_files
from shared.contracts.base import Message
from shared.errors import FaultError, Reason, RefusedError
from shared.identifiers import Hook, parse_token

DISTRIBUTION: Final = "l3af-bus"
_CHECKOUT: Final = Path(__file__).parent.parent / "LICENSES"


class PackageBegun(Message, frozen=True, kw_only=True):
    """What was written."""

    name: str
    folder: str
    files: tuple[str, ...]


def new(
    name: str,
    /,
    *,
    hook: Hook = "xdp",
    owner: tuple[str, ...] = (),
    repository: str = "",
    out_dir: Path = Path(),
    json: JsonFlag = False,
) -> None:
    """Write a package that builds, passes its test and can be published as it is.

    Parameters
    ----------
    name
        The package's name, which is its folder's too.
    hook
        What its program is for.
    owner
        Who answers for the code: a name, a team or a mail address; may be repeated.
    repository
        Where the sources will be kept, as git takes it.
    out_dir
        Where the folder is made.
    """
    with console.refusing(json=json):
        begun = begin_package(name, hook, out_dir, owners=owner, repository=repository)
    console.emit(begun, _render, json=json)


def begin_package(
    name: str, hook: Hook, out_dir: Path, *, owners: Sequence[str] = (), repository: str = ""
) -> PackageBegun:
    """The folder of a new package; nothing that exists is changed.

    Raises:
        RefusedError: The name, an owner or the repository is none, or the folder exists.
    """
    parse_token(name, path="name")
    folder = out_dir / name
    texts = package_files(name, hook, owners=owners, repository=repository)
    parse_source(texts[SOURCE_FILE])
    texts |= {f"LICENSES/{licence}.txt": licence_text(licence) for licence in LICENCES}
    try:
        folder.mkdir(parents=True)
        for path, text in texts.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
    except OSError as error:
        reason = Reason(path=str(folder), rule=f"cannot be written: {error.strerror}")
        raise RefusedError(f"{folder} {reason.rule}", [reason]) from error
    return PackageBegun(name=name, folder=str(folder), files=tuple(sorted(texts)))


def licence_text(licence: str) -> str:
    """As it comes with the product: in the checkout, or with the installed distribution."""
    name = f"{licence}.txt"
    if (_CHECKOUT / name).is_file():
        return (_CHECKOUT / name).read_text()
    try:
        installed = files(DISTRIBUTION) or []
    except PackageNotFoundError:
        installed = []
    for file in installed:
        if file.parts[-2:] == ("LICENSES", name):
            return file.read_text()
    raise FaultError(f"the text of {licence} did not come with this installation")


def _render(begun: PackageBegun) -> RenderableType:
    lines = [f"{begun.folder}: {', '.join(begun.files)}", f"next: l3af package test {begun.folder}"]
    return Text(plain("\n".join(lines)))
