"""Who may read what over HTTP: with a token, without one, on this host and elsewhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE_S

from policy.errors import UserMistake
from xapp.http.access import OPEN_PATHS
from xapp.http.routes import build_app
from xapp.http.server import BackgroundServer
from xapp.http.token_file import MAX_CHARACTERS, MIN_CHARACTERS, ServedToken, read_token

TOKEN = "a-token-of-this-test-0123456789"
CLOSED_PATHS = ("/ric/v1/status", "/ric/v1/symptomdata", "/ric/v1/policies", "/ric/v1/nothing", "/")
ELSEWHERE = ("10.1.2.3", 40_000)


def routes(token: Any = None) -> FastAPI:
    return build_app(
        ready=lambda: (True, ""),
        config=list,
        metrics=lambda: b"",
        status=lambda: {"open": 1, "epoch": 7},
        open_status=lambda status: {name: value for name, value in status.items() if name != "epoch"},
        symptoms=lambda: b"PK",
        on_notification=lambda body: 200,
        token=token,
    )


def asked(app: FastAPI, path: str, client: tuple[str, int] = ELSEWHERE, **headers: str | bytes) -> httpx.Response:
    """The answer to who calls from that address."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://xapp") as http:
            method = "POST" if path.endswith("/response") else "GET"
            encoded = {name: value.encode() if isinstance(value, str) else value for name, value in headers.items()}
            return await http.request(method, path, headers=[(k.encode(), v) for k, v in encoded.items()])

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def guarded() -> Iterator[httpx.Client]:
    """A real server that asks for the token."""
    server = BackgroundServer(routes(lambda: TOKEN), "127.0.0.1", 0)
    assert server.wait_started()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=PATIENCE_S) as http:
        yield http
    server.close()


def test_a_token_opens_everything_and_its_lack_all_but_what_the_platform_asks_for(guarded: httpx.Client) -> None:
    for path in OPEN_PATHS:
        method = "POST" if path.endswith("/response") else "GET"
        assert guarded.request(method, path).status_code == 200, path
    for path in CLOSED_PATHS:
        answer = guarded.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
        assert "controls.http.token_file" in answer.json()["detail"]
        assert guarded.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in (200, 404)
    assert guarded.get("/ric/v1/status", headers={"Authorization": f"bearer {TOKEN}"}).json()["epoch"] == 7


@pytest.mark.parametrize(
    "path", ["/ric/v1/health/../status", "/ric/v1//status", "/ric/v1/status/", "/ric/v1/%73tatus", "/RIC/v1/status"]
)
def test_no_other_spelling_of_a_path_goes_round_the_token(guarded: httpx.Client, path: str) -> None:
    # httpx takes ".." out of a path: as a target of a request it stays.
    request = guarded.build_request("GET", "/", extensions={"target": path.encode()})
    assert guarded.send(request).status_code in (401, 404)
    assert b"epoch" not in guarded.send(request).content


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60))
def test_nothing_but_the_token_opens(guess: str) -> None:
    app = routes(lambda: TOKEN)
    for shown in (guess, f"Bearer {guess}", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN):
        if shown.strip() != f"Bearer {TOKEN}":
            assert asked(app, "/ric/v1/status", Authorization=shown.encode("latin-1")).status_code == 401


def test_without_a_token_epochs_and_symptom_data_are_for_this_host_only() -> None:
    app = routes()
    for local in ("127.0.0.1", "127.8.8.8", "::1"):
        assert asked(app, "/ric/v1/status", (local, 1)).json() == {"open": 1, "epoch": 7}
        assert asked(app, "/ric/v1/symptomdata", (local, 1)).status_code == 200
    for away in ("10.1.2.3", "192.168.0.1", "2001:db8::1", "no address"):
        assert asked(app, "/ric/v1/status", (away, 1)).json() == {"open": 1}
        answer = asked(app, "/ric/v1/symptomdata", (away, 1))
        assert (answer.status_code, list(answer.json())) == (403, ["detail"])
        assert asked(app, "/ric/v1/health/alive", (away, 1)).status_code == 200


def test_a_header_does_not_make_anybody_local(guarded: httpx.Client) -> None:
    answer = asked(routes(), "/ric/v1/symptomdata", **{"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"})
    assert answer.status_code == 403


def test_a_token_that_is_replaced_holds_at_the_next_request_and_one_that_is_gone_stays(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    token = ServedToken(path)
    assert token() == TOKEN
    for _ in range(2):  # as Kubernetes does it: another file under the same name
        other = tmp_path / "new"
        other.write_text("another-token-0123456789")
        os.replace(other, path)
        assert token() == "another-token-0123456789"
    path.write_text("short")
    assert token() == "another-token-0123456789"
    path.unlink()
    assert token() == "another-token-0123456789"
    path.write_text(TOKEN)
    assert token() == TOKEN


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"x" * (MIN_CHARACTERS - 1),
        b"x" * (MAX_CHARACTERS + 1),
        b"two lines of it\nand one",
        b"\xff" * 20,
    ],
)
def test_a_file_without_a_token_is_one_line_that_does_not_show_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(UserMistake) as raised:
        read_token("--token-file", path)
    said = str(raised.value)
    assert said.startswith(f"--token-file is {str(path)!r}, which holds no token: expected") and "\n" not in said
    with pytest.raises(UserMistake, match=r"--token-file is '.*nowhere': No such file or directory"):
        read_token("--token-file", tmp_path / "nowhere")
