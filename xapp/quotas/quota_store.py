"""Which UEs are under quotas, in shared data; one RC encoder per node."""

from __future__ import annotations

from typing import Any

from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.dialect import Dialect
from xapp.e2.rc import messages as rc
from xapp.e2.ue_id.ue_id import UeId, ue_id_from_value, ue_id_to_value, write_ue_id
from xapp.quotas.encoder_store import EncoderStore
from xapp.quotas.rc_encoder import RcEncoder, RcSettings

KEY = "quota/"
"""With the node's name: {"ues": [UEID as xapp.e2.ue_id.ue_id writes it as JSON]}."""

FIRST_FORM = rc.QuotaForm()


class QuotaKeeper(EncoderStore[RcSettings, UeId]):
    key = KEY
    subjects = "ues"
    encoder_type = RcEncoder

    def encoder(
        self, node: str, form: rc.QuotaForm = FIRST_FORM, dialect: Dialect | None = Dialect.STANDARD
    ) -> RcEncoder:
        """The node's. dialect: None = not known yet, see RcSettings."""
        settings = self._controls.node(node)
        sd = int(settings.sd, 16) if settings.sd else None
        encoder: RcEncoder = self._encoder(node, RcSettings(settings.plmn_octets, settings.sst, sd, dialect, form))
        return encoder

    @staticmethod
    def to_value(kept: UeId) -> dict[str, Any]:
        return ue_id_to_value(kept)

    @staticmethod
    def from_value(value: Any) -> UeId:
        ue_id = ue_id_from_value(value)
        write_ue_id(BitWriter(), ue_id)  # what cannot be written would fail in every control from now on
        return ue_id
