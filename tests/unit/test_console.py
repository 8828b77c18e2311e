# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How commands speak: exit statuses, streams, and text that a terminal cannot be fooled by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.text import Text

from cli import console
from cli.session import NoCredentialsError, credentials_dir
from shared.contracts.base import Accepted
from shared.errors import FaultError, Reason, RefusedError

REFUSAL = RefusedError(
    "two things are wrong",
    [
        Reason(path="config.ports[0]", rule="is out of range", got=70000, allowed="1 to 65535"),
        Reason(path="", rule="as a whole it is odd"),
    ],
)


@pytest.mark.parametrize(("error", "status"), [(REFUSAL, 2), (FaultError("not now"), 3)])
def test_refusals_and_faults_have_their_exit_status(
    error: RefusedError | FaultError, status: int
) -> None:
    """2: it will be refused again; 3: later it may work."""

    async def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        console.run(fail(), json=False)

    assert ended.value.code == status


def test_every_reason_is_readable_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is on stdout, and each reason has a line with what was got and what is allowed."""
    with pytest.raises(SystemExit):
        console.refused(REFUSAL)

    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == [
        "refused: two things are wrong",
        "  config.ports[0]: is out of range (got 70000; allowed 1 to 65535)",
        "  as a whole it is odd",
    ]


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """A reply is JSON on stdout, a refusal JSON on stderr, and nothing else is written."""
    console.emit(Accepted(command_id="a-command"), lambda _: Text("unused"), json=True)
    console.say("a remark", json=True)
    with pytest.raises(SystemExit):
        console.refused(REFUSAL, json=True)

    written = capsys.readouterr()
    assert json.loads(written.out) == {"command_id": "a-command"}
    assert json.loads(written.err)["reasons"][0]["got"] == 70000


def test_what_others_wrote_cannot_command_the_terminal() -> None:
    """Escapes, bells, carriage returns and direction overrides are shown, not obeyed."""
    assert console.plain("\x1b[31mred\a\r\u202ereversed\u2066\ud800") == (
        "\\x1b[31mred\\x07\\r\\u202ereversed\\u2066\\ud800"
    )
    assert console.plain("line one\n\tline two ✓ [bold]") == "line one\n\tline two ✓ [bold]"


def test_the_principal_is_chosen_in_order(tmp_path: Path) -> None:
    """What was given wins over the variable, and the variable over the installation."""
    given, variable = tmp_path / "given", tmp_path / "variable"
    first = tmp_path / "installation" / "credentials" / "principals" / "admin"
    for folder in (given, variable, first):
        folder.mkdir(parents=True)
        (folder / "user.creds").touch()
    installation = {"L3AF_INSTALLATION": str(tmp_path / "installation")}
    both = {**installation, "L3AF_CREDENTIALS": str(variable)}

    assert credentials_dir(given, both) == given
    assert credentials_dir(None, both) == variable
    assert credentials_dir(None, installation) == first
    with pytest.raises(NoCredentialsError, match="l3af up"):
        credentials_dir(tmp_path, both)
