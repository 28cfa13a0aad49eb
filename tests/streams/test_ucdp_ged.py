"""UCDP GED: what the file knows is kept, what it does not know stays unknown."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from schemas.events import model_for
from streams.adapters.base import AdapterError, Candidate, Context, LineReader, Outcome, RefusedLine
from streams.adapters.ucdp_ged import country_code, precision_m, read_ucdp_ged

GED = Path(__file__).resolve().parents[3] / "shared" / "data" / "ucdp_ged_sample.csv"
needs_ged = pytest.mark.skipif(not GED.is_file(), reason=f"UCDP GED sample is not at {GED}")


def read(path: Path, context: Context) -> list[Outcome]:
    with LineReader(path) as lines:
        return list(read_ucdp_ged(lines, context))


def read_text(tmp_path: Path, text: str, context: Context) -> list[Outcome]:
    path = tmp_path / "ged.csv"
    path.write_text(text)
    return read(path, context)


HUB = Context("hub-ke", "incident_report")


@needs_ged
def test_every_event_of_the_sample_is_valid_and_keeps_what_the_file_says() -> None:
    with GED.open(encoding="utf-8", newline="") as file:
        source = {row["id"]: row for row in csv.DictReader(file)}
    outcomes = read(GED, HUB)
    assert len(outcomes) == len(source) == 1000
    events = {}
    for outcome in outcomes:
        assert isinstance(outcome, Candidate), outcome
        outcome.event["header"]["published_at"] = datetime(2026, 1, 1, tzinfo=UTC)
        event = model_for("incident_report").model_validate(outcome.event)
        events[event.header.event_id] = event
        row = source[str(outcome.key).removeprefix("ucdp-ged:")]
        dumped = event.model_dump()
        location = event.header.location
        assert location is not None
        assert (location.lat, location.lon) == (float(row["latitude"]), float(row["longitude"]))
        assert location.country is not None, row["country"]
        assert dumped["country_name"] == row["country"]
        assert event.header.occurred_at.isoformat() == f"{row['date_start']}T00:00:00+00:00"
        assert (dumped["period_start"], dumped["period_end"]) == (
            date.fromisoformat(row["date_start"]),
            date.fromisoformat(row["date_end"]),
        )
        assert (str(dumped["date_precision_code"]), str(dumped["where_precision_code"])) == (
            row["date_prec"],
            row["where_prec"],
        )
        for field, column in (("best", "best"), ("high", "high"), ("low", "low"), ("civilian", "deaths_civilians")):
            assert dumped[f"fatalities_{field}"] == int(row[column])
        assert dumped["source_total"] == (None if row["number_of_sources"] == "-1" else int(row["number_of_sources"]))
        assert dumped["source_reference"].split()[0] == row["id"]
    assert len(events) == 1000
    codes = Counter(event.header.occurred_precision.value for event in events.values())
    assert codes == {"DAY": 849, "WEEK": 114, "MONTH": 23, "YEAR": 14}
    again = {o.event["header"]["event_id"] for o in read(GED, HUB) if isinstance(o, Candidate)}
    assert again == set(events)


def test_precision_is_a_radius_or_unknown() -> None:
    assert precision_m(1, "SY") == 5_000
    assert precision_m(2, "SY") == 25_000
    assert [precision_m(code, "SY") for code in (3, 4, 5, 7)] == [None] * 4
    assert precision_m(6, None) is None
    mozambique = precision_m(6, "MZ")
    assert mozambique is not None
    assert 900_000 < mozambique < 1_100_000  # its north end lies about 980 km from the middle


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("DR Congo (Zaire)", "CD"),
        ("Yemen (North Yemen)", "YE"),
        ("Serbia (Yugoslavia)", "RS"),
        ("Syria", "SY"),
        ("Russia (Soviet Union)", "RU"),
        ("Kingdom of eSwatini (Swaziland)", "SZ"),
        ("Atlantis", None),
    ],
)
def test_country_names_of_ged(name: str, code: str | None) -> None:
    assert country_code(name) == code


GED_HEAD = (
    "id,relid,type_of_violence,conflict_name,dyad_name,side_a,side_b,number_of_sources,where_prec,where_coordinates,"
    "where_description,adm_1,adm_2,latitude,longitude,country,date_prec,date_start,date_end,deaths_civilians,best,high,low"
)
GED_ROW = "7,R-7,3,C,D,Army,Civilians,-1,6,Chad,,,,15.0,19.0,Chad,4,2001-02-01,2001-02-28,4,4,9,4"


def test_ged_row_in_words(tmp_path: Path) -> None:
    (outcome,) = read_text(tmp_path, f"{GED_HEAD}\n{GED_ROW}\n", HUB)
    assert isinstance(outcome, Candidate)
    header = outcome.event["header"]
    assert header["summary"] == (
        "One-sided violence, Army and Civilians, Chad, between 2001-02-01 and 2001-02-28: "
        "best estimate 4 killed (4 to 9)."
    )
    assert header["occurred_precision"] == "MONTH"
    assert header["entities"] == [{"type": "organisation", "value": "Army", "role": "side_a"}]
    assert header["handling"] == {"tlp": "CLEAR", "legal_basis": "CC BY 4.0 (UCDP GED)", "retain_days": 36_500}
    assert outcome.event["source_total"] is None
    assert outcome.event["violence_type"] == "ONE_SIDED"


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (",4,2001-02-01", ",6,2001-02-01", "date_prec"),
        ("2001-02-01", "2001-02-31", "date_start"),
        ("2001-02-28", "2001-01-28", "date_end"),
        ("15.0", "nan", "latitude"),
        ("19.0", "", "longitude"),
        (",4,9,4", ",4,-2,4", "high"),
        (",6,Chad", ",x,Chad", "where_prec"),
        ("7,R-7", ",R-7", "id"),
    ],
)
def test_ged_cells_that_make_no_sense_are_refused(tmp_path: Path, old: str, new: str, field: str) -> None:
    assert old in GED_ROW
    row = GED_ROW.replace(old, new, 1)
    bad, good = read_text(tmp_path, f"{GED_HEAD}\n{row}\n{GED_ROW}\n", HUB)
    assert isinstance(bad, RefusedLine)
    assert (bad.line, bad.reason, bad.field) == (2, "bad_cell", field)
    assert isinstance(good, Candidate)


def test_ged_needs_its_family_and_columns(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="gives incident_report events, not tip_report"):
        read_text(tmp_path, "", Context("tipline-uk", "tip_report"))
    with pytest.raises(AdapterError, match="not a UCDP GED file: it has no column id, relid"):
        read_text(tmp_path, "a,b\n1,2\n", HUB)
