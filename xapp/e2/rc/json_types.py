"""E2SM-RC messages as JSON values."""

from __future__ import annotations

from xapp.e2.json_codec import codecs
from xapp.e2.rc import schema as rc_schema

RC_TYPES = codecs(
    {
        "rc-call-process-id": rc_schema.CALL_PROCESS_ID,
        "rc-control-header": rc_schema.CONTROL_HEADER,
        "rc-control-message": rc_schema.CONTROL_MESSAGE,
        "rc-control-outcome": rc_schema.CONTROL_OUTCOME,
        "rc-ran-function": rc_schema.RAN_FUNCTION,
    }
)
