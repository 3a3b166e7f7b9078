"""The route manager's stand-in: routes of the E2 termination, and the static route file of an xApp."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from xapp.rmr.routes import RouteTable
from xapp.rmr.transport import RIC_CONTROL_ACK, RIC_CONTROL_FAILURE, RIC_CONTROL_REQUEST, RIC_INDICATION

logger = logging.getLogger(__name__)

TO_XAPP = (RIC_INDICATION, RIC_CONTROL_ACK, RIC_CONTROL_FAILURE)
UNSET_SUB_ID = -1


class StaticRoutes:
    """What goes to which xApp: by subscription, else to the default one if there is one. Thread safe."""

    def __init__(self, table: RouteTable, default_xapp: str = "") -> None:
        """default_xapp: host:port that gets what belongs to no known subscription; "" = nobody."""
        self._table = table
        self._lock = threading.Lock()
        self._endpoints: dict[int, str] = {UNSET_SUB_ID: default_xapp} if default_xapp else {}
        with self._lock:
            self._publish()

    def add(self, instance_id: int, endpoint: str) -> None:
        """Indications and control answers of this subscription go to `endpoint`."""
        with self._lock:
            self._endpoints[instance_id] = endpoint
            self._publish()

    def remove(self, instance_id: int) -> None:
        with self._lock:
            if self._endpoints.pop(instance_id, None) is not None:
                self._publish()

    def _publish(self) -> None:
        records = [
            f"mse|{mtype}|{sub_id}|{endpoint}" for sub_id, endpoint in self._endpoints.items() for mtype in TO_XAPP
        ]
        refused = self._table.update("\n".join(["newrt|start", *records, f"newrt|end|{len(records)}"]))
        if refused:
            logger.warning("routes: %s", refused)


def write_xapp_routes(path: Path, e2term: str) -> None:
    """Write the route file that an xApp reads by RMR_SEED_RT: controls go to the E2 termination at host:port."""
    text = f"newrt|start|stackmac-lab\nmse|{RIC_CONTROL_REQUEST}|{UNSET_SUB_ID}|{e2term}\nnewrt|end|1\n"
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)  # a reader sees the whole file or none
