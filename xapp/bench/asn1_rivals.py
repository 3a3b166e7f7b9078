"""Generic ASN.1 libraries that read KPM reports, set up as somebody who uses them would.

pycrate's module is compiled once, to Python; asn1tools compiles when it is loaded, once a process. What each reads is
compared as a table, made outside of what is timed: their users would have to make one, too.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policy.errors import is_installed
from xapp.e2.asn1.aper_reader import BitReader

MODULE = Path(__file__).parents[2] / "tests" / "benchmarks" / "e2sm_kpm.asn"
"""In a checkout only."""
MESSAGE, FORMAT_3 = "E2SM-KPM-IndicationMessage", "E2SM-KPM-IndicationMessage-Format3"
FRAGMENT_OCTETS = 16384
COMPILE_TIMEOUT_S = 100.0
COMPILE = """
import sys
from pycrate_asn1c.asnproc import PycrateGenerator, compile_text, generate_modules
compile_text(open(sys.argv[1]).read())
generate_modules(PycrateGenerator, sys.argv[2])
"""


class Rival(Protocol):
    """A library that reads and writes messages."""

    name: str

    def prepared(self, message: bytes) -> bytes:
        """The message as the library is given it."""
        ...

    def read(self, message: bytes) -> Any:
        """The library's own value of a prepared message."""
        ...

    def write(self, value: Any) -> bytes: ...

    def ue_reports(self, value: Any) -> list[dict[str, Any]]:
        """The list in a value."""
        ...


class Asn1tools:
    """Its open types of 16 KiB and more are read wrongly: of longer messages it is given what is in the open type."""

    name = "asn1tools"

    def __init__(self) -> None:
        import asn1tools

        self._types = asn1tools.compile_files(str(MODULE), "per").types
        self._type = self._types[MESSAGE]

    def prepared(self, message: bytes) -> bytes:
        is_long = len(message) > FRAGMENT_OCTETS
        self._type = self._types[FORMAT_3 if is_long else MESSAGE]
        if not is_long:
            return message
        outer = BitReader(message)
        outer.position = 9  # two extension bits and the number of the extension
        return outer.open_type().data

    def read(self, message: bytes) -> Any:
        return self._type.decode(message)

    def write(self, value: Any) -> bytes:
        encoded: bytes = self._type.encode(value)
        return encoded

    def ue_reports(self, value: Any) -> list[dict[str, Any]]:
        body = value["indicationMessage-formats"][1] if "indicationMessage-formats" in value else value
        found: list[dict[str, Any]] = body["ueMeasReportList"]
        return found


class Pycrate:
    """Objects of the generated module."""

    name = "pycrate"

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "e2sm_kpm_bench.py"
            command = [sys.executable, "-c", COMPILE, str(MODULE), str(made)]
            subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_TIMEOUT_S)  # nosec B603 # this Python, no shell
            spec = importlib.util.spec_from_file_location(made.stem, made)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        self._message = module.E2SM_KPM_Bench.E2SM_KPM_IndicationMessage

    def prepared(self, message: bytes) -> bytes:
        return message

    def read(self, message: bytes) -> Any:
        self._message.from_aper(message)
        return self._message.get_val()

    def write(self, value: Any) -> bytes:
        self._message.set_val(value)
        encoded: bytes = self._message.to_aper()
        return encoded

    def ue_reports(self, value: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = value["indicationMessage-formats"][1]["ueMeasReportList"]
        return found


def rivals() -> list[Rival]:
    """Those that are installed; none where there is no module for them."""
    if not MODULE.exists():
        return []
    made: list[Rival] = []
    if is_installed("pycrate_asn1c"):
        made.append(Pycrate())
    if is_installed("asn1tools"):
        made.append(Asn1tools())
    return made


def table_of(ue_reports: list[dict[str, Any]]) -> NDArray[np.float64]:
    """[U, N], as a report's values."""
    return np.array(
        [[_number(*item) for item in ue["measReport"]["measData"][-1]["measRecord"]] for ue in ue_reports], np.float64
    )


def _number(kind: str, value: Any) -> float:
    if kind == "noValue":
        return float("nan")
    if isinstance(value, tuple):  # pycrate's reals: mantissa, base, exponent
        mantissa, base, exponent = value
        return float(mantissa) * float(base) ** exponent
    return float(value)
