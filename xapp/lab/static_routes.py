"""A static route file, for an xApp that is to do without a route manager."""

from __future__ import annotations

import os
from pathlib import Path

from xapp.rmr.routes import UNSET_SUB_ID
from xapp.rmr.transport import RIC_CONTROL_REQUEST


def write_xapp_routes(path: Path, e2term: str) -> None:
    """Write the route file that an xApp reads by RMR_SEED_RT: controls go to the E2 termination at host:port."""
    text = f"newrt|start|stackmac-lab\nmse|{RIC_CONTROL_REQUEST}|{UNSET_SUB_ID}|{e2term}\nnewrt|end|1\n"
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)  # a reader sees the whole file or none
