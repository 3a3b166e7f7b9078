"""The three readers of measurement reports side by side: the composed types, the walk in Python, the compiled one."""

from __future__ import annotations

import numpy as np

from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dialect import Dialect
from xapp.e2.kpm.compiled_code import compiled_walk_code
from xapp.e2.kpm.compiled_walk import CompiledWalk
from xapp.e2.kpm.report_reader import decode_report, decode_report_generic, use_compiled_walk

COMPILED_CODE = compiled_walk_code(may_compile=True)
COMPILED_WALK = CompiledWalk(COMPILED_CODE)
"""Which knows the reports of all tests so far."""


def kinds_and_ids(ue_ids):
    """Comparable: as tuples a gNB-DU's id and a gNB-CU-UP's of the same numbers are equal."""
    return [(type(ue_id), ue_id) for ue_id in ue_ids]


def outcome(read, message, names, dialect):
    """What a reader makes of a message, in comparable form."""
    try:
        report = read(message, names, dialect)
    except E2DecodeError as error:
        return "refused", str(error) if read is decode_report else ""
    rows = len(report.ue_keys)
    assert report.values.shape == (rows, len(report.names)) and report.values.dtype == np.float64
    ue_ids = kinds_and_ids(report.ue_id(row) for row in range(rows))
    values = [[str(value) for value in row] for row in report.values]
    return report.ue_keys, ue_ids, report.names, values, report.granularity_ms, report.incomplete


def agree(message, names=(), dialect=Dialect.STANDARD):
    """What all readers make of a message; the compiled walk before and after it has seen it, and knowing others.

    "refused" = all of them refuse it, both walks in the same words.
    """
    use_compiled_walk(None)
    result = outcome(decode_report, message, names, dialect)
    new = CompiledWalk(COMPILED_CODE)
    for walk in (new, new, COMPILED_WALK, COMPILED_WALK):
        use_compiled_walk(walk)
        assert outcome(decode_report, message, names, dialect) == result, message.hex()
    use_compiled_walk(None)
    generic = outcome(decode_report_generic, message, names, dialect)
    if result[0] == "refused":
        assert generic[0] == "refused", message.hex()
        return "refused"
    assert generic == result, message.hex()
    return result
