"""What a JSON schema can say of texts that the configuration checks with more than a pattern: an expression that fits
whatever is taken, and little else. The platform's onboarder and Helm refuse by it before anything is installed.

Python and Go read them alike: no look-ahead, no back references.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from policy.schedulers.schedulers import SCHEDULERS
from policy.shipped import BUNDLED

_PORT = "0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HOST = r"(?:[^\s/?#:@\[\]]+|\[[^\s/?#@\]]+\])"
_URL = rf"[hH][tT][tT][pP][sS]?://(?:[^\s/?#]*@)?{_HOST}(?::(?:{_PORT})?)?(?:/[^\s?#]*)?"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_IPV6 = rf"(?:[0-9a-fA-F]{{0,4}}:){{2,8}}(?:[0-9a-fA-F]{{0,4}}|{_IPV4})(?:%[^%/]+)?"
_NETWORK_4 = rf"{_IPV4}(?:/(?:0*(?:[0-9]|[12][0-9]|3[0-2])|{_IPV4}))?"
_NETWORK_6 = rf"{_IPV6}(?:/0*(?:[0-9]{{1,2}}|1[01][0-9]|12[0-8]))?"


def _fitting(pattern: str) -> Any:
    """In the schema alone: the model's own check says better what is wrong."""
    return Field(json_schema_extra={"pattern": f"^(?:{pattern})$"})


HttpUrl = Annotated[str, _fitting(_URL)]
"""As xapp.config.http_url says."""
HttpUrlOrNone = Annotated[str, _fitting(f"(?:{_URL})?")]
Network = Annotated[str, _fitting(f"{_NETWORK_4}|{_NETWORK_6}")]
"""An address, or ADDRESS/BITS; of IPv4 also ADDRESS/MASK."""
LeaderName = Annotated[str, _fitting("|".join([*map(re.escape, (BUNDLED, *SCHEDULERS)), ".*[/:].*"]))]
"""One that there is, a folder, or module:Class."""
