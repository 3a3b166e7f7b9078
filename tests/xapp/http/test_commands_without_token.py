"""What commands say that ask an xApp which asks for a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from xapp.cli import main
from xapp.http.access import Access
from xapp.http.server import BackgroundServer

TOKEN = "a-token-of-this-test-0123456789"
POLICY = Path(__file__).parents[3] / "descriptors" / "examples" / "shadow.json"
COMMANDS = (("explain",), ("guard", "show"), ("guard", "reset", "x"), ("intent", "show", str(POLICY)))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = FastAPI()
    app.add_middleware(Access, token=lambda: TOKEN)
    server = BackgroundServer(app, "127.0.0.1", 0)
    assert server.wait_started()
    yield f"http://127.0.0.1:{server.port}"
    server.close()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_token_the_line_says_how_to_show_one(
    command: tuple[str, ...], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--url", url]) == 1
    out, err = capsys.readouterr()
    line = f"{url} asks for a token: show the one that its controls.http.token_file names, with --token-file FILE"
    assert out == "" and err == f"stackmac {command[0]}: {line}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_another_token_is_said_to_be_one(
    command: tuple[str, ...], url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("another-token-of-this-test")
    assert main([*command, "--url", url, "--token-file", str(file)]) == 1
    assert f"{url} takes another token than the one in --token-file {file}" in capsys.readouterr().err


def test_a_mediator_behind_something_that_asks_for_one(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["intent", "put", str(POLICY), "--url", url]) == 1
    assert "with status 401; --token-file FILE shows a token" in capsys.readouterr().err
