"""A Redis and a subscription manager that misbehave as they are told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from xapp.http.rest_client import RestClient
from xapp.lab.lab import free_port
from xapp.soak.platform_faults import FaultyHttp, FaultyRedis


@pytest.fixture
def faulty_redis(tmp_path: Path) -> Iterator[FaultyRedis]:
    with closing(FaultyRedis(free_port(), tmp_path)) as made:
        yield made


def test_a_redis_that_is_full_read_only_or_silent_and_well_again(faulty_redis: FaultyRedis) -> None:
    with redis.Redis("127.0.0.1", faulty_redis.port, socket_timeout=0.2) as client:
        client.set("a", "1")
        faulty_redis.fill(True)
        with pytest.raises(redis.ResponseError, match="OOM"):
            client.set("a", "2")
        faulty_redis.fill(False)
        faulty_redis.make_read_only(True)
        with pytest.raises(redis.ReadOnlyError):
            client.set("a", "2")
        faulty_redis.make_read_only(False)
        assert client.get("a") == b"1" and client.set("a", "2")
        faulty_redis.stall(60.0)
        with pytest.raises(redis.TimeoutError):
            client.get("a")


def test_requests_pass_or_are_answered_with_rubbish(serve: Any) -> None:
    asked: list[str] = []

    def respond(request: Any) -> tuple[int, object]:
        asked.append(f"{request.method} {request.path}")
        return 201, {"id": 7}

    port = int(serve(respond).url.rsplit(":", 1)[1])
    with closing(FaultyHttp(port)) as proxy:
        client = RestClient("submgr", f"http://127.0.0.1:{proxy.port}", timeout_s=5.0)
        assert client.request("POST", "ric", body={"a": 1}).json() == {"id": 7}
        proxy.answer = 503, b"no"
        answer = client.request("DELETE", "ric", "7")
        assert (answer.status, answer.body, asked, proxy.spoilt) == (503, b"no", ["POST /ric"], 1)
