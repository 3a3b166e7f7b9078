"""What commands say that ask an xApp: of one that asks for a token or refuses, and of what is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Response

from xapp.cli import main
from xapp.http.access import Access
from xapp.http.server import BackgroundServer

POLICY = Path(__file__).parents[3] / "descriptors" / "examples" / "shadow.json"
COMMANDS = (("explain",), ("guard", "show"), ("guard", "reset", "x"), ("intent", "show", str(POLICY)))
TOKEN = "a-token-of-this-test-0123456789"
NO_XAPP = {
    "page": (200, "<html>", "the answer is not JSON"),
    "number": (200, "7", "as an xApp of this version"),
    "other": (200, '{"cells": 7}', "as an xApp of this version"),
    "refusal": (503, '{"detail": "come back later"}', "come back later"),
    "error_page": (500, "Internal Server Error", "the answer is not JSON"),
}
"""Status, body, and what is said of them, by the path under which they are."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = FastAPI()

    @app.api_route("/{kind}/{rest:path}", methods=["GET", "POST"])
    def answer(kind: str) -> Response:
        status, body, _ = NO_XAPP[kind]
        return Response(body, status)

    server = BackgroundServer(app, "127.0.0.1", 0)
    assert server.wait_started()
    yield f"http://127.0.0.1:{server.port}"
    server.close()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", NO_XAPP)
def test_what_is_no_xapp_is_one_line(
    command: tuple[str, ...], kind: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--url", f"{url}/{kind}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{url}/{kind}" in line and NO_XAPP[kind][2] in line


@pytest.fixture(scope="module")
def closed_url() -> Iterator[str]:
    app = FastAPI()
    app.add_middleware(Access, token=lambda: TOKEN)
    server = BackgroundServer(app, "127.0.0.1", 0)
    assert server.wait_started()
    yield f"http://127.0.0.1:{server.port}"
    server.close()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_token_the_line_says_how_to_show_one(
    command: tuple[str, ...], closed_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--url", closed_url]) == 1
    out, err = capsys.readouterr()
    line = (
        f"{closed_url} asks for a token: show the one that its controls.http.token_file names, with --token-file FILE"
    )
    assert out == "" and err == f"stackmac {command[0]}: {line}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_another_token_is_said_to_be_one(
    command: tuple[str, ...], closed_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("another-token-of-this-test")
    assert main([*command, "--url", closed_url, "--token-file", str(file)]) == 1
    assert f"{closed_url} takes another token than the one in --token-file {file}" in capsys.readouterr().err


def test_a_mediator_behind_something_that_asks_for_one(closed_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["intent", "put", str(POLICY), "--url", closed_url]) == 1
    assert "with status 401; --token-file FILE shows a token" in capsys.readouterr().err
