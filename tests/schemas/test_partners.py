"""partners.yml: the eight of the demonstration, and errors that name file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.partners import UnknownPartner, load_partners
from schemas.settings import Settings
from schemas.yaml_lines import ConfigError

ONE = """\
- id: fiu-nl
  name: Unit
  country: NL
  kind: financial-intelligence
  kafka_principal: User:fiu-nl
  families: [financial_transaction, heartbeat]
  quota_events_per_s: 10
  expected_interval_s: 60
  error_rate_limit: 0.02
  contact: desk@fiu-nl.example
"""


def test_eight_demo_partners_of_different_kinds_and_countries() -> None:
    partners = load_partners(Settings().partners_file)
    assert [partner.id for partner in partners] == [
        "bpol-de",
        "fiu-nl",
        "cert-fr",
        "rail-at",
        "tipline-uk",
        "platform-ie",
        "retail-pl",
        "hub-ke",
    ]
    assert len({partner.country for partner in partners}) == len({partner.kind for partner in partners}) == 8
    assert all(partner.may_publish("heartbeat") for partner in partners)
    assert partners.get("fiu-nl").may_publish("financial_transaction")
    assert not partners.get("fiu-nl").may_publish("tip_report")


def test_unknown_partner_names_the_known_ones() -> None:
    with pytest.raises(UnknownPartner, match=r"unknown partner 'fiu'; .*partners.yml has: bpol-de, fiu-nl"):
        load_partners(Settings().partners_file).get("fiu")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ONE.replace("country: NL", "country: nl"), ":3: [0].country: found 'nl'; must be an ISO 3166-1"),
        (ONE.replace("quota_events_per_s: 10", "quota_events_per_s: 0"), ":7: [0].quota_events_per_s: found 0"),
        (ONE.replace("  contact: desk@fiu-nl.example\n", ""), ":1: [0].contact: missing"),
        (ONE.replace("heartbeat]", "payments]"), ":6: families: found 'payments'; must be one of border_crossing"),
        (ONE + "  colour: red\n", ":11: [0].colour: not in the contract"),
        (ONE + "  country: DE\n", ":11: 'country' is given twice, first on line 3"),
        (ONE + ONE, ":11: id: found 'fiu-nl' again, first on line 1"),
        ("a: [1\n", ":2: not valid YAML"),
        ("", ":1: expected a list of partners, found NoneType"),
        ("- 7\n", ":1: [0]: found 7; must be a valid dictionary"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "partners.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_partners(path)
    assert f"{path}{says}" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_partners(tmp_path / "none.yml")
    (tmp_path / "latin.yml").write_bytes(b"- id: \xff")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 6"):
        load_partners(tmp_path / "latin.yml")
