"""A static route file, for an xApp that is to do without a route manager."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xapp.rmr.routes import UNSET_SUB_ID
from xapp.rmr.transport import A1_POLICY_QUERY, A1_POLICY_RESPONSE, RIC_CONTROL_REQUEST


def write_xapp_routes(path: Path, e2term: str, a1_mediator: str) -> None:
    """Write the route file that an xApp reads by RMR_SEED_RT: where controls, and where A1 answers and queries go.

    Raises OSError.
    """
    routes = {RIC_CONTROL_REQUEST: e2term, A1_POLICY_RESPONSE: a1_mediator, A1_POLICY_QUERY: a1_mediator}
    records = [f"mse|{mtype}|{UNSET_SUB_ID}|{endpoint}" for mtype, endpoint in routes.items()]
    text = "\n".join(["newrt|start|stackmac-lab", *records, f"newrt|end|{len(records)}", ""])
    with _new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)  # a reader sees the whole file or none


def check_route_file(path: Path) -> None:
    """Before anything listens: whether it could be written. Raises the same OSError."""
    with _new_file(path) as temporary:
        temporary.touch()


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A name beside it, of which nothing is left behind. Raises OSError that names `path`."""
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    try:
        yield temporary
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with suppress(OSError):
            temporary.unlink()
