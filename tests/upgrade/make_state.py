"""`python tests/upgrade/make_state.py`: keep what this version leaves behind, for later ones to start from.

Writes tests/upgrade/state-<version>/, once for each version, when it is released; what is there is never written again:
- shared-data.json: what an xApp that was killed in control of a cell leaves in Redis: policies, UEs under quotas,
  subscriptions. It ran in `stackmac lab --control rc` with those policies of descriptors/examples that let it.
- config-file.json: the whole descriptor, each control of it by its default.
- values.yaml: the chart's values by default, as `helm upgrade --reuse-values` goes on using them; values-set.yaml: what
  a site may set, each value another than the default.
- policies/: what operators may have put.
Recordings and bundles of each format are kept in tests/xapp/record.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import redis
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "shared"), str(HERE.parent / "deployment")]

import chart  # noqa: E402
from conftest import OwnRedis  # noqa: E402

from xapp.a1.policy_model import POLICY_TYPE_ID, make_policy_type  # noqa: E402
from xapp.lab.lab import Lab  # noqa: E402
from xapp.lab.options import LabOptions  # noqa: E402
from xapp.ric.sdl import NAMESPACE  # noqa: E402

EXAMPLES = ROOT / "descriptors" / "examples"
LAB = LabOptions(seconds=600, control="rc", period_ms=100, ues=8, seed=1)
PATIENCE_S = 60.0


def main() -> None:
    folder = HERE / f"state-{version('stackmac')}"
    folder.mkdir()
    shutil.copytree(EXAMPLES, folder / "policies")
    shutil.copy(ROOT / "descriptors" / "config-file.json", folder)
    defaults = yaml.safe_load((chart.CHART / "values.yaml").read_text(encoding="utf-8"))
    write_yaml(folder / "values.yaml", defaults)
    write_yaml(folder / "values-set.yaml", chart.EVERYTHING)
    with TemporaryDirectory() as place:
        server = OwnRedis(Path(place))
        try:
            document = {"stackmac": version("stackmac"), "redis": left_behind(server)}
        finally:
            server.stop()
    text = json.dumps(document, indent=1, sort_keys=True)
    (folder / "shared-data.json").write_text(f"{text}\n", encoding="utf-8")


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


def left_behind(server: OwnRedis) -> dict[str, str]:
    """By key, every value of our namespace, after a kill in the middle of the work."""
    os.environ |= server.environ
    with Lab(LAB) as lab:
        lab.wait_first_indication()
        assert lab.xapp is not None
        names = put_policies(lab.a1_url)
        assert lab.xapp.wait_status(lambda status: status["policies"].keys() == names, PATIENCE_S), lab.xapp.status
        client = redis.Redis(*server.address)
        prefix = f"{{{NAMESPACE}}},"
        give_up_at_s = time.monotonic() + PATIENCE_S
        while not quotas(client, prefix):
            assert time.monotonic() < give_up_at_s, "no UE came under a quota"
            time.sleep(0.01)
        lab.xapp.kill()
        return {key.decode(): client.get(key).decode() for key in client.keys(f"{prefix}*")}


def put_policies(a1_url: str) -> set[str]:
    """As an operator does; their names. One with a mode takes cells from the xApp, and is not among them."""
    url = f"{a1_url}/A1-P/v2/policytypes/{POLICY_TYPE_ID}"
    httpx.put(url, json=make_policy_type(), trust_env=False, timeout=PATIENCE_S).raise_for_status()
    policies = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in EXAMPLES.glob("*.json")}
    named = {name: policy for name, policy in policies.items() if "mode" not in policy}
    for name, policy in named.items():
        httpx.put(f"{url}/policies/{name}", json=policy, trust_env=False, timeout=PATIENCE_S).raise_for_status()
    return set(named)


def quotas(client: redis.Redis, prefix: str) -> list[bytes]:
    found: list[bytes] = client.keys(f"{prefix}quota/*")
    return found


if __name__ == "__main__":
    main()
