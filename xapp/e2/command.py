"""`stackmac e2`: decode any message of the E2 interface for reading, or to JSON, edit that, and encode it again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import typer

from policy.errors import DecodeError, UserMistake
from training.command_line.options import argument, command, option
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.ccc.json_types import CCC_TYPES
from xapp.e2.dcm.json_types import DCM_TYPES
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import pycrate_codec as e2ap_asn1
from xapp.e2.kpm.json_types import KPM_TYPES
from xapp.e2.rc.json_types import RC_TYPES
from xapp.e2.rc.layout import message_layout

e2_app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Decode and encode E2 messages.",
)


def _as_it_is(tree: Any) -> Any:
    return tree


class MessageType(NamedTuple):
    """How the command line reads and writes one kind of message."""

    decode: Callable[..., dict[str, Any]]
    """Of bytes, and the dialect where there are several."""
    encode: Callable[..., bytes]
    for_reading: Callable[[Any], Any] = _as_it_is
    """The decoded tree with what helps a reader and does not encode."""
    has_dialects: bool = False


def _with_layout(message: dict[str, Any]) -> dict[str, Any]:
    """Put in front which of the layouts of PRB quotas a control message has."""
    layout = message_layout(message)
    return {"layout": layout, **message} if layout else message


FOR_READING: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"rc-control-message": _with_layout}
TYPES: dict[str, MessageType] = {
    "e2ap-pdu": MessageType(e2ap_asn1.decode_json, e2ap_asn1.encode_json, e2ap_asn1.with_names),
    **{
        name: MessageType(codec.decode, codec.encode, FOR_READING.get(name, _as_it_is), has_dialects=True)
        for name, codec in (KPM_TYPES | RC_TYPES).items()
    },
    **{name: MessageType(*codec) for name, codec in (CCC_TYPES | DCM_TYPES).items()},
}


def _kind() -> Any:
    return argument(", ".join(TYPES), metavar="TYPE")


def _dialect() -> Any:
    return option(Dialect.STANDARD, "How the node writes KPM and RC: flexric only for FlexRIC up to v2.0.0.")


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What `stackmac e2 decode` is given."""

    kind: str = _kind()
    digits: tuple[str, ...] = argument("Spaces, colons and 0x do not matter; - reads standard input.", metavar="HEX")
    as_json: bool = option(False, "Print JSON that `encode` takes.", "--json")
    dialect: Dialect = _dialect()


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What `stackmac e2 encode` is given."""

    kind: str = _kind()
    file: str = option(help="What `decode --json` printed; - = stdin.", flag="--json", metavar="FILE")
    dialect: Dialect = _dialect()


@command(e2_app, "decode", DecodeOptions)
def decode(options: DecodeOptions) -> None:
    """Say what a message says."""
    message_type, dialect = _type(options.kind), options.dialect
    octets = _octets(_read("-") if options.digits == ("-",) else "".join(options.digits))
    try:
        tree = message_type.decode(octets, *([dialect] if message_type.has_dialects else []))
    except E2DecodeError as error:
        other = next(each for each in Dialect if each is not dialect)
        readable = message_type.has_dialects and _reads(message_type, octets, other)
        raise DecodeError(f"{error}{f'; it can be read with --dialect {other}' if readable else ''}") from None
    if options.as_json:
        typer.echo(json.dumps(tree, indent=2))
    else:
        typer.echo("\n".join(_lines(message_type.for_reading(tree))))


@command(e2_app, "encode", EncodeOptions)
def encode(options: EncodeOptions) -> None:
    """Write a message's octets as hexadecimal digits."""
    kind, message_type = options.kind, _type(options.kind)
    text, source = _read(options.file), "standard input" if options.file == "-" else options.file
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserMistake(f"{source} is not JSON: {error}") from None
    if not isinstance(tree, dict):
        raise UserMistake(f"{source} holds a {type(tree).__name__}, expected a JSON object")
    try:
        typer.echo(message_type.encode(tree, *([options.dialect] if message_type.has_dialects else [])).hex())
    except E2EncodeError as error:
        raise UserMistake(str(error) if str(error).startswith(kind) else f"{kind}: {error}") from None


def _type(kind: str) -> MessageType:
    if kind not in TYPES:
        raise UserMistake(f"no message type {kind!r}; expected one of {', '.join(TYPES)}")
    return TYPES[kind]


def _reads(message_type: MessageType, octets: bytes, dialect: Dialect) -> bool:
    try:
        message_type.decode(octets, dialect)
    except E2DecodeError:
        return False
    return True


def _octets(text: str) -> bytes:
    digits = "".join(text.replace(":", " ").replace("0x", " ").split())
    try:
        octets = bytes.fromhex(digits)
    except ValueError:
        octets = b""
    if not octets:
        shown = f"{digits[:40]!r}{'...' if len(digits) > 40 else ''}"
        raise UserMistake(f"HEX is {shown}, expected an even number of hexadecimal digits, or - for standard input")
    return octets


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise UserMistake(f"cannot read {file}: {reason}") from None


def _lines(tree: Any) -> Iterator[str]:
    """An indented outline: a dict's keys, a list's items behind a dash, a list of plain values on one line."""
    if isinstance(tree, list):
        for item in tree:
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            if isinstance(value, dict | list) and value and not _is_plain(value):
                yield f"{key}:"
                yield from (f"  {line}" for line in _lines(value))
            else:
                yield f"{key}: {_plain(value)}"
    else:
        yield _plain(tree)


def _is_plain(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)


def _plain(value: Any) -> str:
    if isinstance(value, dict | list):
        return ", ".join(map(_plain, value)) or "(none)"
    if value is None:
        return "-"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
