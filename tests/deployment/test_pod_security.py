"""The pod is admitted under "restricted", and each control of that profile would be noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chart
import pod_security
import pytest


@pytest.mark.parametrize("values", chart.VALUES.values(), ids=chart.VALUES)
def test_the_pod_is_admitted_under_restricted(values: dict[str, Any]) -> None:
    assert pod_security.violations(chart.render(values).pod) == []


def test_a_cluster_that_gives_out_user_ids_itself_can_do_so() -> None:
    pod = chart.render({"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}).pod
    assert set(pod["securityContext"]) == {"runAsNonRoot", "seccompProfile"}
    assert pod_security.violations(pod) == []


def context(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["containers"][0]["securityContext"]
    return found


BROKEN: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("hostNetwork", lambda pod: pod.update(hostNetwork=True)),
    ("hostPID", lambda pod: pod.update(hostPID=True)),
    ("hostPath", lambda pod: pod["volumes"].append({"name": "disk", "hostPath": {"path": "/"}})),
    ("sysctl", lambda pod: pod["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}])),
    ("privileged", lambda pod: context(pod).update(privileged=True)),
    ("allowPrivilegeEscalation", lambda pod: context(pod).pop("allowPrivilegeEscalation")),
    ("drop", lambda pod: context(pod)["capabilities"].update(drop=["NET_RAW"])),
    ("add", lambda pod: context(pod)["capabilities"].update(add=["SYS_NICE"])),
    ("runAsNonRoot", lambda pod: pod["securityContext"].pop("runAsNonRoot")),
    ("runAsNonRoot", lambda pod: context(pod).update(runAsNonRoot=False)),
    ("runAsUser", lambda pod: context(pod).update(runAsUser=0)),
    ("seccompProfile", lambda pod: pod["securityContext"].pop("seccompProfile")),
    ("seccompProfile", lambda pod: context(pod).update(seccompProfile={"type": "Unconfined"})),
    ("procMount", lambda pod: context(pod).update(procMount="Unmasked")),
    ("appArmorProfile", lambda pod: context(pod).update(appArmorProfile={"type": "Unconfined"})),
    ("seLinuxOptions", lambda pod: context(pod).update(seLinuxOptions={"type": "spc_t"})),
    ("hostProcess", lambda pod: context(pod).update(windowsOptions={"hostProcess": True})),
    ("hostPort", lambda pod: pod["containers"][0]["ports"][0].update(hostPort=80)),
    ("livenessProbe", lambda pod: pod["containers"][0]["livenessProbe"]["httpGet"].update(host="169.254.169.254")),
    (
        "init: privileged",
        lambda pod: pod.update(initContainers=[{"name": "init", "securityContext": {"privileged": 1}}]),
    ),
]


@pytest.mark.parametrize(("word", "change"), BROKEN, ids=[f"{i}-{word}" for i, (word, _) in enumerate(BROKEN)])
def test_each_violation_is_named(word: str, change: Callable[[dict[str, Any]], object]) -> None:
    pod = chart.render().pod
    change(pod)
    found = pod_security.violations(pod)
    assert any(word in line for line in found), found
