# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From a package's folder to its archive: compile, gather, describe.

The same sources give the same bytes wherever the folder lies: the compiler works in it with
relative names, and debug sections other than BTF, which hold absolute ones, are removed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.package_source import (
    BUILT_SUFFIXES,
    SOURCE_FILE,
    Compilation,
    PackageSource,
    licence_files,
    make_manifest,
    parse_source,
)
from cli.package_test_source import packet_files, resolve_tests
from shared.bytecode.c_sources import included_files, read_source_facts
from shared.bytecode.elf import read_elf_facts
from shared.canonical import canonical_digest, sha256_hex
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import BuildRecipe, PackageManifest
from shared.errors import FaultError, Reason, RefusedError
from shared.file_groups import files_named
from shared.package_archive import write_archive
from shared.package_tests import TESTS_FILE, check_tests, write_tests

COMPILE_SECONDS: Final = 120
OPTIONAL_FILES: Final = ("README.md", "NOTICE")

Objects = dict[str, tuple[bytes, tuple[str, ...]]]
"""Archive path of each object to its bytes and the files of the folder it was made from."""


@dataclass(frozen=True, slots=True)
class BuiltPackage:
    """A package, ready to be signed."""

    manifest: PackageManifest
    archive: bytes
    elf: tuple[ElfFacts, ...]
    warnings: tuple[Reason, ...] = ()
    """Of the compiler; empty for an archive that was built before."""


def build_package(folder: Path) -> BuiltPackage:
    """The package whose sources are in `folder`.

    Raises:
        RefusedError: `package.toml`, a source or a licence text is wrong or missing.
        FaultError: There is no compiler.
    """
    folder = _real(folder)
    source = read_source(folder)
    files = {SOURCE_FILE: _read(folder, SOURCE_FILE), **tests_of(folder, source)}
    files |= licence_texts(folder, *source.licence_expressions())
    files |= {name: _read(folder, name) for name in OPTIONAL_FILES if (folder / name).is_file()}
    files |= _grouped_files(folder, source)
    for companion in source.companions.values():
        files |= {name: _read(folder, name) for name in companion.executables.values()}
    warnings: list[Reason] = []
    objects, recipe = compile_objects(folder, source, warnings)
    for path, (content, dependencies) in objects.items():
        files[path] = content
        files |= {name: _read(folder, name) for name in dependencies}
    for path in source.sources():
        files |= _with_includes(folder, path)
    built = BuiltPackage(
        manifest=make_manifest(source, files, build=recipe),
        archive=write_archive(files),
        elf=(
            *(read_elf_facts(content, path) for path, (content, _) in objects.items()),
            *(read_source_facts(files[path], path) for path in source.sources()),
        ),
        warnings=tuple(warnings),
    )
    check_tests(built.manifest, files, built.elf)
    return built


def read_source(folder: Path) -> PackageSource:
    """What the folder's `package.toml` says.

    Raises:
        RefusedError: It is missing or wrong.
    """
    return parse_source(_read(_real(folder), SOURCE_FILE).decode(errors="replace"))


def tests_of(folder: Path, source: PackageSource) -> dict[str, bytes]:
    """The tests as an archive holds them, and the files that their packets come from.

    Raises:
        RefusedError: With every packet that is none.
    """
    if not source.test:
        return {}
    files = {name: _read(folder, name) for name in packet_files(source.test)}
    hooks = {program.name: program.hooks for program in source.programs}
    return {**files, TESTS_FILE: write_tests(resolve_tests(source.test, hooks, files.__getitem__))}


def _with_includes(folder: Path, source: str) -> dict[str, bytes]:
    """The source that nodes compile, and every file of the folder that it includes."""
    found: dict[str, bytes] = {}
    wanted = [source]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _read(folder, name)
            wanted += included_files(found[name], name)
    return found


def _grouped_files(folder: Path, source: PackageSource) -> dict[str, bytes]:
    """The files of the folder that `file_groups` names, without hidden ones and built packages."""
    globs = [glob for group in source.package.file_groups.values() for glob in group]
    if not globs:
        return {}
    names = [
        path.relative_to(folder).as_posix()
        for path in visible_files(folder)
        if path.is_file() and not path.name.endswith(BUILT_SUFFIXES)
    ]
    return {name: _read(folder, name) for name in files_named(names, globs)}


def visible_files(folder: Path) -> Iterator[Path]:
    """What lies in the folder and below, links too, but nothing hidden, as editors make it.

    Folders that vanish meanwhile are left out.
    """
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in files if not name.startswith("."))


def licence_texts(folder: Path, *expressions: str) -> dict[str, bytes]:
    """The texts that the expressions need, by path.

    Raises:
        RefusedError: With every one that is missing.
    """
    wanted = tuple(dict.fromkeys(name for one in expressions for name in licence_files(one)))
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        reasons = [
            Reason(path=name, rule="the text of the package's licence is missing")
            for name in missing
        ]
        raise RefusedError(f"{folder.name}: licence texts are missing", reasons)
    return {name: _read(folder, name) for name in wanted}


def compile_objects(
    folder: Path, source: PackageSource, warnings: list[Reason]
) -> tuple[Objects, BuildRecipe | None]:
    """The objects, and with what they were made; None if there is nothing to make.

    What the compiler warns of is put to `warnings`.

    Raises:
        RefusedError: A source is missing or does not compile.
        FaultError: There is no compiler.
    """
    reasons = [
        Reason(path=name, rule="no such file in the package's folder")
        for name in sorted({made.source for made in source.objects().values()})
        if not (folder / name).is_file()
    ]
    if reasons:
        raise RefusedError(f"{folder.name}: a source is missing", reasons)
    headers: set[Path] = set()
    with tempfile.TemporaryDirectory(prefix="l3af-build-") as scratch:
        objects = {
            path: _compile_one(folder, made, Path(scratch), headers, warnings)
            for path, made in source.objects().items()
        }
    if not objects:
        return {}, None
    return objects, BuildRecipe(
        compiler=_version(folder, "clang"),
        stripper=_version(folder, "llvm-strip"),
        arguments=compiler_arguments(),
        defines={path: made.defines for path, made in source.objects().items() if made.defines},
        headers_sha256=_digest(headers),
    )


def compiler_arguments() -> tuple[str, ...]:
    """What the compiler is told of every package alike."""
    return (
        *("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-fdebug-compilation-dir=."),
        "-Werror=date-time",  # an object that holds the time of its build is never built again
        *("-isystem", f"/usr/include/{sysconfig.get_config_var('MULTIARCH')}"),
    )


def _version(folder: Path, program: str) -> str:
    """The line of `--version` that names one."""
    lines = _run(folder, program, "--version").stdout.splitlines()
    return next((line.strip() for line in lines if "version" in line), "")


def _digest(headers: set[Path]) -> str:
    """Over path and content of each; empty: there are none."""
    found = {str(path): sha256_hex(path.read_bytes()) for path in headers}
    return canonical_digest(found) if found else ""


def _compile_one(
    folder: Path, made: Compilation, scratch: Path, headers: set[Path], warnings: list[Reason]
) -> tuple[bytes, tuple[str, ...]]:
    """The object, and the files of the folder it was made from; others are put to `headers`."""
    compiled, rules = scratch / "object.o", scratch / "object.d"
    result = _run(
        folder,
        "clang",
        *(*compiler_arguments(), f"-ffile-prefix-map={folder}=."),
        *(f"-D{define}" for define in made.defines),
        *("-MD", "-MF", str(rules), "-c", made.source, "-o", str(compiled)),
    )
    if result.returncode != 0:
        raise _compiler_refusal(made.source, result.stderr)
    warnings += _messages("warning", result.stderr)
    dependencies = _dependencies(folder, rules.read_text(), headers)
    stripped = _run(folder, "llvm-strip", "--strip-debug", str(compiled))
    if stripped.returncode != 0:
        raise FaultError(f"llvm-strip failed on {made.source}: {stripped.stderr.strip()}")
    return compiled.read_bytes(), dependencies


def _run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    executable = shutil.which(program)
    if executable is None:
        raise FaultError(
            f"{program} is not installed; on Debian and Ubuntu: apt install clang llvm"
        )
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        return subprocess.run(
            [executable, *arguments],
            cwd=folder,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMPILE_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise FaultError(f"{program} did not finish in {COMPILE_SECONDS} s") from error


def _dependencies(folder: Path, rules: str, headers: set[Path]) -> tuple[str, ...]:
    """The files of the folder in a rule `object: source header …` (make's syntax).

    The system's are put to `headers`.

    Raises:
        RefusedError: A header is neither in the folder nor the system's, so that the archive
            would not hold the complete source.
    """
    words = rules.replace("\\\n", " ").partition(":")[2].split()
    inside: list[str] = []
    outside: list[Reason] = []
    for word in words:
        path = (folder / word).resolve()
        if path.is_relative_to(folder):
            inside.append(path.relative_to(folder).as_posix())
        elif not re.match(r"/usr/(include|lib|local/include)/", str(path)):
            outside.append(
                Reason(path=word, rule="lies outside the package's folder and the system's headers")
            )
        else:
            headers.add(path)
    if outside:
        raise RefusedError(f"{folder.name}: sources are not complete", outside)
    return tuple(sorted(inside))


def _compiler_refusal(name: str, messages: str) -> RefusedError:
    reasons = _messages("(?:fatal )?error", messages)
    return RefusedError(
        f"{name} does not compile",
        reasons or [Reason(path=name, rule=messages.strip()[-2000:] or "the compiler gave up")],
    )


def _messages(kind: str, words: str) -> list[Reason]:
    """What the compiler says of places in the source; `kind` is a regular expression."""
    form = rf"^(?P<place>[^\s:]+:\d+:\d+): {kind}: (?P<words>.*)$"
    return [
        Reason(path=match["place"], rule=match["words"])
        for match in re.finditer(form, words, re.MULTILINE)
    ]


def _real(path: Path) -> Path:
    """Without links, as far as they lead somewhere; a link to itself stays and cannot be read."""
    return Path(os.path.realpath(path))


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    if not _real(path).is_relative_to(folder):
        reason = Reason(path=name, rule="leads out of the package's folder")
        raise RefusedError(f"{name}: {reason.rule}", [reason])
    try:
        return path.read_bytes()
    except OSError as error:
        reason = Reason(path=str(path), rule=f"cannot be read: {error.strerror}")
        raise RefusedError(f"{path}: {reason.rule}", [reason]) from error
