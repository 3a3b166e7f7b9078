"""What commands say of an address where something answers that is no xApp, or an xApp that refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Response

from xapp.cli import main
from xapp.http.server import BackgroundServer

POLICY = Path(__file__).parents[3] / "descriptors" / "examples" / "shadow.json"
COMMANDS = (("explain",), ("guard", "show"), ("guard", "reset", "x"), ("intent", "show", str(POLICY)))
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
