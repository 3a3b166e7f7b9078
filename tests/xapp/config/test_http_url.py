"""Addresses of HTTP services."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.errors import UserMistake
from xapp.config.http_url import check_url, is_http_url

HOSTS = st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True) | st.sampled_from(["127.0.0.1", "[::1]"])


@given(st.sampled_from(["http", "https"]), HOSTS, st.none() | st.integers(1, 65535), st.sampled_from(["", "/", "/a/b"]))
def test_an_address_is_a_scheme_a_host_maybe_a_port_and_a_path(
    scheme: str, host: str, port: int | None, path: str
) -> None:
    check_url("--url", f"{scheme}://{host}{'' if port is None else f':{port}'}{path}")


@pytest.mark.parametrize(
    "text",
    [
        *("", "foo", "host:8080", "127.0.0.1:8080", "http:/host", "http://", "http://:80", "ftp://host", "//host"),
        *("http://host:0", "http://host:65536", "http://host:port", "http://[::1", "http://a b", "http://host/\n"),
        *("http://host/?a=b", "http://host#a"),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(UserMistake, match="expected http://HOST:PORT") as caught:
        check_url("--url", text)
    assert repr(text) in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_none(text: str) -> None:
    assert is_http_url(text) in (True, False)
