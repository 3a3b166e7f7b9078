"""E2SM-KPM messages as JSON values."""

from __future__ import annotations

from xapp.e2.json_codec import codecs
from xapp.e2.kpm import schema as kpm_schema

KPM_TYPES = codecs(
    {
        "kpm-event-trigger": kpm_schema.EVENT_TRIGGER,
        "kpm-action-definition": kpm_schema.ACTION_DEFINITION,
        "kpm-indication-header": kpm_schema.INDICATION_HEADER,
        "kpm-indication-message": kpm_schema.INDICATION_MESSAGE,
        "kpm-ran-function": kpm_schema.RAN_FUNCTION,
    }
)
