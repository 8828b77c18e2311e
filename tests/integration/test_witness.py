# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A witness behind HTTP: what it cosigns survives it, and what contradicts that is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from services.auditor.checkpoint import COSIGNATURE, parse_verifier_key, with_signatures
from services.auditor.checkpoint import render_verifier_key as rendered
from services.auditor.cosignature import check_witnessed
from services.auditor.witness.adapters.witness_directory import WitnessDirectory
from services.auditor.witness.exchange import AddCheckpoint
from shared.errors import FaultError, RefusedError
from tests.support.auditing import eventually
from tests.support.small_logs import KEY, ORIGIN, SmallLog
from tests.support.witnesses import RunningWitness, a_witness

COMMAND = Path(sys.executable).parent / "l3af"
BEGINNING = [b"%d" % number for number in range(300)]
LOG = SmallLog([*BEGINNING, *(b"mine %d" % number for number in range(100))])
FORK = SmallLog([*BEGINNING, *(b"other %d" % number for number in range(100))])


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[RunningWitness]:
    """One that knows the log."""
    with a_witness(tmp_path / "witness", rendered(KEY)) as running:
        yield running


def asked(log: SmallLog, old: int, new: int) -> AddCheckpoint:
    """An honest request."""
    return AddCheckpoint(old, log.consistency(old, new), log.note(new))


async def test_a_growing_log_is_cosigned_step_by_step(witness: RunningWitness) -> None:
    """Each step from the last; the line verifies with the witness's key alone."""
    for old, new in ((0, 7), (7, 7), (7, 256), (256, 399)):
        answer = await witness.client.add_checkpoint(asked(LOG, old, new))
        assert answer.status == 200, answer
        cosigned = with_signatures(LOG.note(new), answer.lines)
        (one,) = check_witnessed(cosigned, witnesses=[witness.directory.key], least=1)
        assert one.time > 0


async def test_who_does_not_know_how_far_it_is_is_told(witness: RunningWitness) -> None:
    """409 with the size of the last head, and nothing cosigned."""
    await witness.client.add_checkpoint(asked(LOG, 0, 20))

    answer = await witness.client.add_checkpoint(asked(LOG, 0, 30))

    assert (answer.status, answer.size, answer.lines) == (409, 20, ())


async def test_a_forked_log_is_refused_and_the_proof_of_it_kept(
    witness: RunningWitness, tmp_path: Path
) -> None:
    """The same size with another root (409), and an older copy that went on differently (422)."""
    await witness.client.add_checkpoint(asked(LOG, 0, 350))

    same_size = await witness.client.add_checkpoint(asked(FORK, 350, 350))
    continued = await witness.client.add_checkpoint(asked(FORK, 350, 390))

    assert (same_size.status, same_size.size) == (409, 350)
    assert continued.status == 422
    kept = {path.read_text() for path in (tmp_path / "witness" / "evidence").iterdir()}
    assert kept == {FORK.note(350), FORK.note(390)}
    assert (await witness.client.add_checkpoint(asked(LOG, 350, 399))).status == 200


async def test_a_shrunken_log_is_refused(witness: RunningWitness) -> None:
    """A head that is smaller than one that was cosigned is never cosigned again."""
    await witness.client.add_checkpoint(asked(LOG, 0, 350))

    assert (await witness.client.add_checkpoint(asked(LOG, 0, 300))).status == 409
    assert (await witness.client.add_checkpoint(asked(LOG, 350, 300))).status == 400
    assert (await witness.client.add_checkpoint(asked(LOG, 300, 300))).status == 409


async def test_what_was_cosigned_survives_the_process(tmp_path: Path) -> None:
    """After a new start the fork is refused as before.

    A witness without its memory does not start, and neither do two over one memory.
    """
    path = tmp_path / "witness"
    with a_witness(path, rendered(KEY)) as witness:
        await witness.client.add_checkpoint(asked(LOG, 0, 350))
        with pytest.raises(FaultError, match="another process"), witness.directory.locked():
            pass
    with a_witness(path) as witness:
        assert (await witness.client.add_checkpoint(asked(FORK, 350, 390))).status == 422
        assert (await witness.client.add_checkpoint(asked(LOG, 350, 390))).status == 200
    shutil.rmtree(path / "heads")

    with pytest.raises(RefusedError, match="is gone"):
        WitnessDirectory.read(path)


async def test_a_witness_that_cannot_remember_does_not_sign(
    witness: RunningWitness, tmp_path: Path
) -> None:
    """If the head cannot be written there is no cosignature; with room again there is."""
    heads = tmp_path / "witness" / "heads"
    heads.rename(tmp_path / "away")
    heads.write_text("in the way of a directory")

    assert (await witness.client.add_checkpoint(asked(LOG, 0, 20))).status == 503

    heads.unlink()
    (tmp_path / "away").rename(heads)
    assert (await witness.client.add_checkpoint(asked(LOG, 0, 20))).status == 200


def test_http_that_is_no_request_is_refused(witness: RunningWitness) -> None:
    """Another path, another method, a body too large or without a length, and no text at all."""
    connection = HTTPConnection(witness.url.removeprefix("http://"), timeout=10)

    def status(method: str, path: str, body: Any = None, **headers: str) -> int:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        return response.status

    try:
        assert status("POST", "/elsewhere", b"x") == 404
        assert status("GET", "/add-checkpoint") == 501
        assert status("POST", "/add-checkpoint", b"\xff") == 400
        assert status("POST", "/add-checkpoint", **{"Content-Length": "65537"}) == 400
        assert status("POST", "/add-checkpoint", **{"Content-Length": "-1"}) == 400
    finally:
        connection.close()


def l3af(*words: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of one command."""
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


async def test_the_command_makes_runs_and_shows_a_witness(tmp_path: Path) -> None:
    """`init` prints the key, serve answers until SIGTERM, show says how far it has seen."""
    path, ready = tmp_path / "witness", tmp_path / "ready"
    status, printed, error = l3af("witness", "init", str(path), "--name", "w.example/1")
    assert status == 0, error
    key = parse_verifier_key(printed.strip(), algorithm=COSIGNATURE)
    assert stat.S_IMODE((path / "witness.key").stat().st_mode) == 0o600
    assert l3af("witness", "init", str(path), "--name", "w.example/1")[0] == 2
    assert l3af("witness", "trust", str(path), "--log", rendered(KEY))[0] == 0

    words = ["witness", "serve", str(path), "--listen", "127.0.0.1:0", "--ready-file", str(ready)]
    with subprocess.Popen([COMMAND, *words], env={**os.environ}) as process:
        try:
            await eventually(lambda: ready.exists() and ready.read_text().endswith("\n"))
            client = RunningWitness(WitnessDirectory.read(path), ready.read_text().strip()).client
            answer = await client.add_checkpoint(asked(LOG, 0, 42))
            assert l3af(*words)[0] == 3
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    check_witnessed(with_signatures(LOG.note(42), answer.lines), witnesses=[key], least=1)

    shown = json.loads(l3af("witness", "show", str(path), "--json")[1])
    assert shown["logs"][0]["origin"] == ORIGIN
    assert shown["logs"][0]["tree_size"] == 42
    assert shown["logs"][0]["checkpoint"] == LOG.note(42)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("serve", "nowhere"), "no witness"),
        (("init", "made", "--name", "w", "--log", "nonsense", "--log", "x+y+z"), "logs[1]"),
        (("init", "made", "--name", "two words"), "white space"),
    ],
)
def test_misuse_is_refused_by_name(tmp_path: Path, words: tuple[str, ...], names: str) -> None:
    """No witness, malformed log keys all at once, and a name that no key can have."""
    verb, place, *rest = words

    status, _, error = l3af("witness", verb, str(tmp_path / place), *rest)

    assert status == 2
    assert names in error
    assert not (tmp_path / "made" / "witness.key").exists()
