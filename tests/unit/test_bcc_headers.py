# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which kernel headers a node compiles with."""

from __future__ import annotations

from pathlib import Path

from services.node_executor.adapters.bcc_headers import find_kernel_headers

KERNEL = "6.18.4-amd64"


def debian_tree(root: Path, release: str, flavour: str = "amd64") -> Path:
    """Two folders, as Debian's packages lay them out; the flavour's one."""
    common = root / f"usr/src/linux-headers-{release}-common"
    folder = root / f"usr/src/linux-headers-{release}-{flavour}"
    touch(common / "include/linux/kconfig.h")
    touch(folder / "include/generated/autoconf.h")
    (folder / "Makefile").write_text(f"include /usr/src/linux-headers-{release}-common/Makefile\n")
    return folder


def touch(path: Path) -> None:
    """An empty file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_headers_of_the_running_kernel_come_first(tmp_path: Path) -> None:
    """Before newer ones; what was generated for the flavour is added to what all share."""
    own = debian_tree(tmp_path, "6.18.4")
    debian_tree(tmp_path, "6.19.0")
    build = tmp_path / f"lib/modules/{KERNEL}/build"
    build.parent.mkdir(parents=True)
    build.symlink_to(own)

    found = find_kernel_headers(KERNEL, "x86_64", root=tmp_path)

    assert found is not None
    assert found.release == KERNEL
    assert found.source == tmp_path / "usr/src/linux-headers-6.18.4-common"
    assert found.include_folders == (
        own / "arch/x86/include/generated",
        own / "arch/x86/include/generated/uapi",
        own / "include",
        own / "include/generated/uapi",
    )


def test_they_are_found_where_modules_are_hidden(tmp_path: Path) -> None:
    """A service that may not see /lib/modules finds them by their name."""
    own = debian_tree(tmp_path, "6.18.4")
    debian_tree(tmp_path, "6.19.0")

    found = find_kernel_headers(KERNEL, "x86_64", root=tmp_path)

    assert found is not None
    assert found.include_folders[2] == own / "include"


def test_the_kernels_own_archive_comes_before_headers_of_others(tmp_path: Path) -> None:
    """It is the running kernel's."""
    debian_tree(tmp_path, "6.19.0")
    archive = tmp_path / "sys/kernel/kheaders.tar.xz"
    touch(archive)

    found = find_kernel_headers(KERNEL, "x86_64", root=tmp_path)

    assert found is not None
    assert (found.source, found.archive, found.release) == (None, archive, KERNEL)


def test_otherwise_the_newest_serve_and_say_whose_they_are(tmp_path: Path) -> None:
    """Newer by number; a tree in one piece, as Ubuntu's, needs nothing beside it."""
    debian_tree(tmp_path, "6.9.10")
    whole = tmp_path / "usr/src/linux-headers-6.10.2-generic"
    touch(whole / "include/generated/autoconf.h")
    touch(whole / "include/linux/kconfig.h")
    touch(tmp_path / "usr/src/linux-headers-6.11.0-broken/Makefile")

    found = find_kernel_headers(KERNEL, "x86_64", root=tmp_path)

    assert found is not None
    assert (found.source, found.include_folders) == (whole, ())
    assert found.release == "6.10.2-generic"


def test_a_node_without_headers_has_none(tmp_path: Path) -> None:
    """Half a tree is no tree."""
    folder = debian_tree(tmp_path, "6.9.10")
    (folder / "Makefile").unlink()

    assert find_kernel_headers(KERNEL, "x86_64", root=tmp_path) is None
