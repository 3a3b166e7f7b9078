"""The route manager's client: takes the tables that it pushes, or asks for them until it sends one.

Tables arrive as text in messages of type 20, a table maybe in several; each block (`newrt`, `updatert`, `meid_map`) is
answered by a message of type 22, `OK <id>` or `ERR <id> reason`. A block that is refused changes nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from xapp.rmr.link import Link
from xapp.rmr.route_sources import RouteSources
from xapp.rmr.routes import RouteTable, fields, records
from xapp.rmr.settings import RmrSettings, TableSource
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import ROUTE_ANSWER, ROUTE_REQUEST, ROUTE_TABLE, RmrMessage

log = logging.getLogger(__name__)

BLOCKS = frozenset({"newrt", "updatert", "meid_map"})
MAX_BLOCK_BYTES = 1 << 20
"""Ten thousand records; a block that never ends must not fill the memory."""
MAX_REASON_CHARACTERS = 800
"""librmr answers in 1 KB."""
MISSING_ID = "<id-missing>"
"""What librmr answers when the table's start named none."""
RECEIVE_S = 0.5


class Block(NamedTuple):
    """The records of a table from its start to its end."""

    table_id: str
    text: str
    refused: str = ""
    """Why there is nothing to apply."""


class TableAssembler:
    """Cuts the stream of records into blocks. Any text is taken, none raises."""

    def __init__(self) -> None:
        self.strays = 0
        """Records that belong to no block."""
        self._open = False
        self._table_id = ""
        self._lines: list[str] = []
        self._bytes = 0

    def feed(self, text: str) -> list[Block]:
        """The blocks that `text` completes, or that its records put an end to."""
        done: list[Block] = []
        for record in records(text):
            tokens = fields(record)
            if tokens == [""]:
                continue
            if tokens[0] in BLOCKS and tokens[1:2] != ["end"]:
                if self._open:
                    done.append(Block(self._table_id, "", "table not complete"))
                self._start(tokens)
            elif not self._open:
                self.strays += 1
                continue
            self._lines.append(record)
            self._bytes += len(record) + 1
            if self._bytes > MAX_BLOCK_BYTES:
                done.append(Block(self._table_id, "", f"table longer than {MAX_BLOCK_BYTES} bytes"))
                self._clear()
            elif tokens[0] in BLOCKS and tokens[1:2] == ["end"]:
                done.append(Block(self._table_id, "\n".join(self._lines)))
                self._clear()
        return done

    def _start(self, tokens: list[str]) -> None:
        self._clear()
        self._open = True
        self._table_id = tokens[2] if len(tokens) > 2 and tokens[2] else MISSING_ID

    def _clear(self) -> None:
        self._open, self._table_id, self._lines, self._bytes = False, "", [], 0


class ControlPort(Si95Transport):
    """Where tables arrive: those of whom `sources` does not admit go no further."""

    def __init__(self, settings: RmrSettings, sources: RouteSources, routes: RouteTable) -> None:
        self._sources = sources
        super().__init__(settings.bind_host, settings.control_port, host=settings.host, routes=routes)

    def on_messages(self, link: Link, messages: list[RmrMessage]) -> None:
        """In the I/O thread."""
        taken = [each for each in messages if each.mtype != ROUTE_TABLE or self._sources.admits(link.peer)]
        self.count("route_source_refused", len(messages) - len(taken))
        if taken:
            super().on_messages(link, taken)


class RouteClient:
    """Feeds `table`, the routes of the endpoint known as `name` (host:port), from a thread of its own.

    OSError from the constructor when the control port cannot be had.
    """

    def __init__(
        self, table: RouteTable, settings: RmrSettings, name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._table, self._settings, self._name, self._clock = table, settings, name, clock
        self._assembler = TableAssembler()
        self._counts: Counter[str] = Counter()
        self._closed = threading.Event()
        asks = settings.tables is TableSource.ASKED
        self._ask_at = 0.0 if asks else float("inf")
        # Its own names are not its own here: who asks on the machine of the route manager must still reach it.
        routes = RouteTable(f"newrt|start\nrte|{ROUTE_REQUEST}|{settings.manager}\nnewrt|end\n" if asks else "")
        self.sources = RouteSources(settings.route_sources, clock)
        self._control = ControlPort(settings, self.sources, routes)
        self.port = self._control.port
        self._thread = threading.Thread(target=self._run, name=f"routes-{self.port}", daemon=True)
        self._thread.start()

    @property
    def counters(self) -> dict[str, int]:
        """route_tables (blocks taken), route_table_refused, route_records_astray, route_requests, route_source_refused
        (messages with tables of whom may not bring any).
        """
        refused = self._control.counters.get("route_source_refused", 0)
        return {**self._counts, **({"route_source_refused": refused} if refused else {})}

    def close(self) -> None:
        self._closed.set()
        self._control.close()
        self._thread.join(timeout=0.5)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                if self._table.managed:
                    self._ask_at = float("inf")
                if self._clock() >= self._ask_at:
                    self._ask()
                message = self._control.receive(max(0.0, min(RECEIVE_S, self._ask_at - self._clock())))
                if message is not None:
                    self._on_message(message)
            except Exception:  # a bug costs one table; without this thread there are no more
                self._counts["route_client_error"] += 1
                log.exception("route table not read")

    def _ask(self) -> None:
        self._ask_at = self._clock() + self._settings.request_period_s
        self._counts["route_requests"] += 1
        payload = f"{self._name} ts={int(time.time())}\n\0".encode()
        self._control.send(RmrMessage(ROUTE_REQUEST, payload, sub_id=0))

    def _on_message(self, message: RmrMessage) -> None:
        if message.mtype != ROUTE_TABLE:
            self._counts["route_messages_unknown"] += 1
            return
        strays = self._assembler.strays
        text = message.payload.split(b"\0", 1)[0].decode("utf-8", "replace")
        for block in self._assembler.feed(text):
            reason = block.refused or self._table.update_by_manager(block.text)
            self._counts["route_table_refused" if reason else "route_tables"] += 1
            if reason:
                log.warning("route table %s of %s: %s", block.table_id, message.source, reason)
            answer = f"{'ERR' if reason else 'OK'} {block.table_id} {reason[:MAX_REASON_CHARACTERS]}\n\0"
            self._control.reply(message, ROUTE_ANSWER, answer.encode())
        if self._assembler.strays > strays:
            self._counts["route_records_astray"] += self._assembler.strays - strays
