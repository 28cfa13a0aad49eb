"""Invented identities in numbered pools, such that no two pools share a value and no value can belong to anybody.

Every pool holds numbers ``n`` with ``n % POOLS == pool``; a value spells ``n`` after a bijection (multiplication by a
unit modulo the size of the value space), so values of different pools differ by construction, with any seed and any
number of runs. Rules that need one value from two partners or two families can therefore not be met by chance.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from datetime import date, timedelta

POOLS = 32
PER_POOL = 50_000
ADDRESSES_PER_POOL = 4_096


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIVEN = _words(
    "ADA ALMA AMINA ANA ANTON AYO BELA BRAM CARLA CHIARA CLARA DANIEL DARIA DAVID DEMBA EDDA ELENA ELIAS EMIL "
    "EMMA ERIK ESTHER FATOU FELIX FINN FREYA GRACE GREGOR HANNA HUGO IDA INES IVAN JAN JOHN JONAS JULES KAROL "
    "KATE KOFI LARS LEILA LENA LIAM LINA LUCA MAJA MARC MARIE MARTA MATEO MIA MILA MOSES NADIA NIKO NOAH NORA "
    "OLGA OMAR OSCAR PAUL PETRA PIA RAVI ROSA RUTH SAMI SARA SIMON SOFIA STELLA TARA THEO TOMAS VERA VICTOR "
    "WANJIRU YARA ZOE"
)
FAMILY = _words(
    "ADLER AHMED ALVES BAKKER BARTOK BAUER BECK BERG BIANCHI BLOM BOATENG BOYLE BRANDT BYRNE CARTER CHEN CLARKE "
    "COHEN COSTA DAHL DEKKER DIALLO DIETZ DUBOIS DUNNE EDER EKWUEME FABER FARKAS FISCHER FOX FUCHS GALLO GARCIA "
    "GRAY GRUBER HAAS HAHN HALL HANSEN HILL HORVAT HUBER IVANOV JANSEN JOHANSSON KAMAU KAUR KELLER KHAN KIM KING "
    "KLEIN KOVACS KOWAL LANG LEROY LINDT LOPEZ MAIER MARTIN MBEKI MEIER MORETTI MORRIS MOSER MWANGI NAGY NEUMANN "
    "NOVAK NOWAK OCONNOR ODHIAMBO OKAFOR OTIENO PATEL PEREIRA PETIT POPESCU QUINN REYES RICCI ROSSI ROUX RYAN "
    "SANTOS SATO SCHMID SILVA SINGH SMIT SORENSEN STEIN TANAKA THOMAS TURNER VARGA VIDAL VOGT WAGNER WALSH WEBER "
    "WOLF WOOD YILMAZ ZELLER"
)
WORDS = _words("amber birch cedar coral delta ember falcon grove harbor iris jade kestrel lumen maple north onyx")

_BIRTH_DAYS = 18_262  # 1955-01-01 to 2004-12-31
_FIRST_BIRTH_DAY = date(1955, 1, 1)
_LETTERS = string.ascii_uppercase
_UNITS = {  # coprime to the value spaces below, so that multiplication is a bijection
    "person": 64_368_787,
    "document": 7_368_787,
    "phone": 6_700_417,
    "bank": 2_750_159,
    "online": 3_367_900_313,
    "plate": 179_424_673,
}
_PERSON_SPACE = len(GIVEN) * len(FAMILY) * _BIRTH_DAYS
_NUMBER_SPACE = 10**7
_PLATE_SPACE = 26**4 * 1000
_CALLING_CODES = {"DE": 49, "NL": 31, "FR": 33, "AT": 43, "GB": 44, "IE": 353, "PL": 48, "KE": 254}


@dataclass(frozen=True, slots=True)
class Pool:
    """Identities of one pool; ``k`` is 0 <= k < PER_POOL and the same ``k`` always gives the same person.

    Raises:
        ValueError: ``number`` is not in 0..POOLS-1.
    """

    number: int
    country: str

    def __post_init__(self) -> None:
        if not 0 <= self.number < POOLS:
            raise ValueError(f"pool {self.number} does not exist: expected 0 to {POOLS - 1}")

    def _spread(self, k: int, kind: str, space: int) -> int:
        return (k * POOLS + self.number) * _UNITS[kind] % space

    def person(self, k: int) -> str:
        """``FAMILY GIVEN YYYY-MM-DD``, the normal form in which partners exchange persons."""
        rest, given = divmod(self._spread(k, "person", _PERSON_SPACE), len(GIVEN))
        day, family = divmod(rest, len(FAMILY))
        return f"{FAMILY[family]} {GIVEN[given]} {_FIRST_BIRTH_DAY + timedelta(days=day)}"

    def document(self, k: int, country: str = "") -> str:
        """Code of the issuing country (the pool's unless given) and seven digits, unique whatever the country."""
        return f"{country or self.country}{self._spread(k, 'document', _NUMBER_SPACE):07d}"

    def phone(self, k: int) -> str:
        """E.164 in shape; the 000 after the calling code starts no subscriber's number anywhere."""
        return f"+{_CALLING_CODES[self.country]}000{self._spread(k, 'phone', _NUMBER_SPACE):07d}"

    def bank_account(self, k: int) -> str:
        """IBAN in shape; check digits 00 are never valid (ISO 13616), so it is nobody's account."""
        return f"{self.country}00TOCS{self._spread(k, 'bank', _NUMBER_SPACE):010d}"

    def online_account(self, k: int) -> str:
        """A handle at an online service."""
        return f"{WORDS[k % len(WORDS)]}_{self._spread(k, 'online', _NUMBER_SPACE):07d}"

    def plate(self, k: int) -> str:
        """Licence plate ``AB-123-CD``."""
        n, digits = divmod(self._spread(k, "plate", _PLATE_SPACE), 1000)
        letters = "".join(_LETTERS[n // 26**power % 26] for power in range(4))
        return f"{letters[:2]}-{digits:03d}-{letters[2:]}"

    def address(self, k: int) -> str:
        """IPv4 address in 198.18.0.0/15, which RFC 2544 sets aside; repeats after ADDRESSES_PER_POOL."""
        n = (k % ADDRESSES_PER_POOL) * POOLS + self.number
        return f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"
