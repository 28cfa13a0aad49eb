"""Traffic Light Protocol 2.0: labels, what each allows, and which of several holds.

Words of the definitions: FIRST, Traffic Light Protocol (TLP) Version 2.0, section 4 (https://www.first.org/tlp/).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas.alerts import TLP_ORDER

RESTRICTIONS: Final[dict[str, str]] = {
    "CLEAR": "TLP:CLEAR. There is no limit on disclosure.",
    "GREEN": "TLP:GREEN. Recipients may share it within their community, not through publicly accessible channels.",
    "AMBER": "TLP:AMBER. Recipients may share it only on a need-to-know basis within their organisation and with its "
    "clients.",
    "AMBER_STRICT": "TLP:AMBER+STRICT. Recipients may share it only on a need-to-know basis within their organisation.",
    "RED": "TLP:RED. For the eyes and ears of individual recipients only, no further disclosure.",
}


def known(tlp: str) -> str:
    """The level itself; RED for one that is not known, as the contract's default has it."""
    return tlp if tlp in TLP_ORDER else "RED"


def strictest(levels: Iterable[str]) -> str:
    """The level that holds where several meet; CLEAR for none."""
    return max(map(known, levels), key=TLP_ORDER.index, default="CLEAR")
