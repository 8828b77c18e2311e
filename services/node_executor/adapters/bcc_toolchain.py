# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether this node can compile C source for bcc, and with what: tried, not concluded.

bcc comes from the distribution for the distribution's Python alone, so that one is asked, in a
process of its own.  It is asked again when something was installed or removed.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from services.node_executor.adapters.bcc_headers import KernelHeaders, find_kernel_headers
from services.node_executor.bcc_compiler.messages import CompilerVersions

FEATURE: Final = "bcc"
SCRIPT: Final = Path(__file__).with_name("bcc_compile.py")
_ASK_SECONDS: Final = 15
_MODULE_FOLDERS: Final = ("usr/lib/python3/dist-packages", "usr/lib/python3/dist-packages/bcc")
_HEADER_FOLDERS: Final = ("usr/src", "lib/modules")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """All that is needed to compile."""

    python: Path
    versions: CompilerVersions
    headers: KernelHeaders
    kernel: str
    """The release that runs."""

    @property
    def compiler(self) -> str:
        """As `bcc 0.26.0, LLVM 14`."""
        llvm = f", LLVM {self.versions.llvm}" if self.versions.llvm else ""
        return f"bcc {self.versions.bcc}{llvm}"

    @property
    def note(self) -> str:
        """What is not as it could be; empty: nothing."""
        if self.headers.release == self.kernel:
            return ""
        return f"compiles with kernel headers {self.headers.release}, the kernel is {self.kernel}"


@dataclass(frozen=True, slots=True)
class MissingToolchain:
    """Why this node cannot compile."""

    problems: tuple[str, ...]

    @property
    def note(self) -> str:
        """All of it in one sentence."""
        return "; ".join(self.problems)


class ToolchainProbe:
    """Looks for bcc and headers; call it from one thread at a time."""

    def __init__(self, python: Path, *, root: Path = Path("/")) -> None:
        self._python = python
        self._root = root
        self._seen: tuple[int, ...] = ()
        self._found: Toolchain | MissingToolchain | None = None

    def look(self) -> Toolchain | MissingToolchain:
        """What there is now; blocks for about 0.1 s when something changed, else not."""
        seen = self._changes()
        if self._found is None or seen != self._seen:
            self._seen, self._found = seen, self._ask()
        return self._found

    def features(self) -> tuple[dict[str, bool], dict[str, str]]:
        """The feature as an inventory has it, and what is to be said of it."""
        found = self.look()
        notes = {FEATURE: found.note} if found.note else {}
        return {FEATURE: isinstance(found, Toolchain)}, notes

    def _changes(self) -> tuple[int, ...]:
        paths = [self._root / folder for folder in (*_MODULE_FOLDERS, *_HEADER_FOLDERS)]
        return tuple(_changed_at(path) for path in (self._python, *paths))

    def _ask(self) -> Toolchain | MissingToolchain:
        kernel = os.uname().release
        versions = self._versions()
        headers = find_kernel_headers(kernel, platform.machine(), root=self._root)
        if isinstance(versions, CompilerVersions) and headers is not None:
            return Toolchain(self._python, versions, headers, kernel)
        problems = [] if isinstance(versions, CompilerVersions) else [versions]
        if headers is None:
            problems.append(f"no kernel headers are installed, neither for {kernel} nor for others")
        return MissingToolchain(tuple(problems))

    def _versions(self) -> CompilerVersions | str:
        """The versions, or why there are none."""
        try:
            asked = subprocess.run(  # noqa: S603 because both paths are the operator's
                [self._python, "-I", SCRIPT, "versions"],
                check=False,
                capture_output=True,
                timeout=_ASK_SECONDS,
            )
            if asked.returncode == 0:
                return msgspec.json.decode(asked.stdout, type=CompilerVersions)
        except OSError as error:
            return f"{self._python} cannot be asked for bcc: {error.strerror}"
        except (subprocess.TimeoutExpired, msgspec.DecodeError) as error:
            return f"{self._python} cannot be asked for bcc: {error}"
        words = asked.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        return f"{self._python} cannot import bcc ({words[-1]})"


def _changed_at(path: Path) -> int:
    """When the file or folder changed, in ns; 0 if it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
