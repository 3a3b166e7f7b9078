"""Kubernetes' Pod Security Standards, profile "restricted" (with "baseline", which it includes), as a checker of pods.

In: a pod's spec as rendered. Out: a line for each control that it violates. Linux pods only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
VOLUME_KINDS = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
ADDABLE_CAPABILITIES = frozenset({"NET_BIND_SERVICE"})
SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
SECCOMP_TYPES = ("RuntimeDefault", "Localhost")


def violations(pod: dict[str, Any]) -> list[str]:
    """What of the profile "restricted" a pod's spec violates; empty = it is admitted."""
    containers = [container for key in CONTAINER_LISTS for container in pod.get(key) or ()]
    of_pod = pod.get("securityContext") or {}
    return [
        *_pod(pod, of_pod),
        *(f"{container['name']}: {line}" for container in containers for line in _container(container, of_pod)),
    ]


def _pod(pod: dict[str, Any], context: dict[str, Any]) -> Iterator[str]:
    yield from (f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key))
    for volume in pod.get("volumes") or ():
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUME_KINDS:
            yield f"volume {volume['name']} is of kind {sorted(kinds - VOLUME_KINDS)}"
    for sysctl in context.get("sysctls") or ():
        if sysctl["name"] not in SAFE_SYSCTLS:
            yield f"sysctl {sysctl['name']}"


def _container(container: dict[str, Any], of_pod: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext") or {}
    both = {**of_pod, **own}
    capabilities = own.get("capabilities") or {}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if "ALL" not in (capabilities.get("drop") or ()):
        yield "capabilities.drop has no ALL"
    if not set(capabilities.get("add") or ()) <= ADDABLE_CAPABILITIES:
        yield f"capabilities.add is {capabilities['add']}"
    if both.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if both.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if (both.get("seccompProfile") or {}).get("type") not in SECCOMP_TYPES:
        yield f"seccompProfile.type is none of {SECCOMP_TYPES}"
    if own.get("procMount", "Default") != "Default":
        yield f"procMount is {own['procMount']}"
    if (both.get("appArmorProfile") or {}).get("type", "RuntimeDefault") not in SECCOMP_TYPES:
        yield "appArmorProfile is Unconfined"
    selinux = both.get("seLinuxOptions") or {}
    if selinux.get("type", "") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield f"seLinuxOptions are {selinux}"
    if (both.get("windowsOptions") or {}).get("hostProcess"):
        yield "windowsOptions.hostProcess"
    yield from (f"hostPort {port['hostPort']}" for port in container.get("ports") or () if port.get("hostPort"))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name) or {}
        if any((probe.get(kind) or {}).get("host") for kind in ("httpGet", "tcpSocket")):
            yield f"{name} goes to another host"
