"""What the schema of the configuration says of texts: it refuses nothing that the configuration takes."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from policy.schedulers.schedulers import SCHEDULERS
from xapp.config.http_url import is_http_url
from xapp.config.model import ConfigError, parse_controls
from xapp.packaging.descriptor import make_schema

SCHEMA = Draft7Validator(make_schema())


def is_taken(controls: dict[str, Any]) -> bool:
    try:
        parse_controls(controls)
    except ConfigError:
        return False
    return True


HOSTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,20}", fullmatch=True) | st.sampled_from(
    ["[::1]", "[fe80::1]", "::1"]
)
URLS = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP", "ftp", ""]),
    st.sampled_from(["", "me:secret@", "a@b@"]),
    HOSTS,
    st.sampled_from(["", ":"]) | st.integers(0, 70_000).map(":{}".format) | st.sampled_from([":0080", ":x", ":80:80"]),
    st.sampled_from(["", "/", "/a/b", "/a?b", "#x", "/ b", "/@:[]"]),
)


@given(URLS | st.text())
def test_a_url_that_is_taken_is_in_the_schema(url: str) -> None:
    for name in ("submgr_url", "e2mgr_url", "appmgr_url"):
        controls = {"ric": {name: url}}
        assert SCHEMA.is_valid(controls) or not is_taken(controls)


@given(URLS)
def test_a_url_is_in_the_schema_only_where_it_is_taken(url: str) -> None:
    assert SCHEMA.is_valid({"ric": {"submgr_url": url}}) == is_http_url(url)


ADDRESSES = st.ip_addresses().map(str) | st.ip_addresses(v=6).map(lambda address: address.exploded)
NETWORKS = st.builds(
    "{}{}".format,
    ADDRESSES | st.sampled_from(["::", "::ffff:10.0.0.1", "10.0.0", "010.0.0.0", "10.0.0.256", "fe80::1%eth0", "1:2"]),
    st.sampled_from(["", "/", "/x", "/255.255.0.0", "/0.0.0.255", "/-1"]) | st.integers(0, 140).map("/{}".format),
)


@given(NETWORKS | st.text())
def test_a_network_that_is_taken_is_in_the_schema(network: str) -> None:
    controls = {"rmr": {"route_sources": [network]}}
    assert SCHEMA.is_valid(controls) or not is_taken(controls)


@given(st.ip_addresses(), st.integers(0, 140))
def test_no_more_bits_than_an_address_has(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int) -> None:
    controls = {"rmr": {"route_sources": [f"{address}/{bits}"]}}
    assert SCHEMA.is_valid(controls) == is_taken(controls) == (bits <= address.max_prefixlen)


@pytest.mark.parametrize("name", ["bundled", *SCHEDULERS, "/models/leader-7", "./runs/a", "my_module:MyLeader"])
def test_a_leader_that_there_can_be_is_in_the_schema(name: str) -> None:
    assert SCHEMA.is_valid({"leader": name})


@pytest.mark.parametrize("name", ["", "bundeld", "proportional-fair", "bundled "])
def test_no_other_name_of_a_leader_is(name: str) -> None:
    assert not SCHEMA.is_valid({"leader": name})
