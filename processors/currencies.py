"""Minor units per major unit of a currency, from ISO 4217 (amendment 176)."""

from __future__ import annotations

# ISO 4217 table A.1 gives every other current currency two decimal places.
_DECIMALS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}


def minor_unit_factor(code: str) -> float:
    """How many minor units make one major unit: 100 for EUR, 1 for JPY, 1000 for KWD."""
    return float(10 ** _DECIMALS.get(code, 2))
