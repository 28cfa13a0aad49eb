"""Adapters: every line gives an event or a reason, whatever it holds."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import model_for
from schemas.yaml_lines import ConfigError
from streams.adapters.base import AdapterError, Candidate, Context, LineReader, Outcome, RefusedLine
from streams.adapters.csv_mapping import load_mapping
from streams.adapters.table import Row, read_rows
from streams.publish_file import ADAPTERS

DATA = Path(__file__).parent / "data"
FIU = Context("fiu-nl", "financial_transaction")
GOOD = {"occurred_at": "2026-03-01T12:00:00Z", "tlp": "AMBER", "kind": "CARD"}


def read(path: Path, form: str, context: Context, max_bytes: int = 1_048_576) -> list[Outcome]:
    with LineReader(path, max_bytes) as lines:
        return list(ADAPTERS[form](lines, context))


def read_text(tmp_path: Path, text: str | bytes, form: str = "jsonl", context: Context = FIU) -> list[Outcome]:
    path = tmp_path / "events"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(path, form, context, max_bytes=10_000)


def reasons(outcomes: list[Outcome]) -> list[tuple[int, str]]:
    return [(o.line, o.reason if isinstance(o, RefusedLine) else "ok") for o in outcomes]


# --- jsonl ---


def test_lines_that_cannot_be_events_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    good = json.dumps(GOOD).encode()
    lines = [
        b"\xef\xbb\xbf" + good,
        b"",
        b'{"kind": NaN}',
        b'{"kind": "\xff"}',
        b"[1, 2]",
        b'{"kind": "CARD"',
        b'{"a": "' + b"x" * 20_000 + b'"}',
        b'{"a": "\\ud800"}',
        b"[" * 5000,
        b"\x00\x00",
        json.dumps({**GOOD, "handling": {"tlp": "RED"}}).encode(),
        good + b"\r",
    ]
    outcomes = read_text(tmp_path, b"\n".join(lines))
    assert reasons(outcomes) == [
        (1, "ok"),
        (3, "invalid_json"),
        (4, "invalid_encoding"),
        (5, "not_an_object"),
        (6, "invalid_json"),
        (7, "line_too_long"),
        (8, "invalid_json"),
        (9, "invalid_json"),
        (10, "invalid_json"),
        (11, "given_twice"),
        (12, "ok"),
    ]
    refused = [outcome for outcome in outcomes if isinstance(outcome, RefusedLine)]
    assert all(len(outcome.raw) <= 4096 for outcome in refused)
    assert "byte 11 (ff 22 7d)" in refused[1].message
    assert "20009 bytes; must be at most 10000" in refused[4].message


def test_what_is_filled_in_and_what_never_is(tmp_path: Path) -> None:
    bare = {"tlp": "AMBER", "kind": "CARD"}
    (outcome,) = read_text(tmp_path, json.dumps(bare))
    assert isinstance(outcome, Candidate)
    header = outcome.event["header"]
    assert header["partner"] == "fiu-nl"
    assert set(header) == {"partner", "event_id", "handling"}
    (labelled,) = read_text(
        tmp_path, '{"kind": "CARD"}', context=Context("fiu-nl", "financial_transaction", tlp="GREEN")
    )
    assert isinstance(labelled, Candidate)
    assert labelled.event["header"]["handling"] == {"tlp": "GREEN"}


def test_an_id_made_from_content_repeats_and_differs_with_it(tmp_path: Path) -> None:
    texts = [
        json.dumps(GOOD),
        json.dumps(dict(reversed(GOOD.items()))),
        json.dumps({"header": {"occurred_at": GOOD["occurred_at"], "tlp": "AMBER"}, "kind": "CARD"}),
        json.dumps({**GOOD, "kind": "CASH_DEPOSIT"}),
    ]
    ids = [o.event["header"]["event_id"] for o in read_text(tmp_path, "\n".join(texts)) if isinstance(o, Candidate)]
    assert len(ids) == 4
    assert ids[0] == ids[1] == ids[2] != ids[3]
    again = [o.event["header"]["event_id"] for o in read_text(tmp_path, "\n".join(texts)) if isinstance(o, Candidate)]
    assert again == ids
    (other,) = read_text(tmp_path, texts[0], context=Context("bpol-de", "financial_transaction"))
    assert isinstance(other, Candidate)
    assert other.event["header"]["event_id"] != ids[0]


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=300))
@pytest.mark.parametrize(
    ("form", "family"), [("jsonl", "tip_report"), ("csv", "financial_transaction"), ("eve", "cyber_detection")]
)
def test_no_bytes_end_the_reading(
    tmp_path_factory: pytest.TempPathFactory, form: str, family: str, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    head = (DATA / "payments.csv").read_bytes().partition(b"\n")[0] + b"\n" if form == "csv" else b""
    path.write_bytes(head + content + b"\n")
    context = Context("fiu-nl", family, "GREEN", DATA / "payments.yml")
    outcomes = read(path, form, context)
    assert all(outcome.line >= 1 for outcome in outcomes)
    assert [outcome.line for outcome in outcomes] == sorted(outcome.line for outcome in outcomes)


# --- csv ---


def test_csv_with_the_example_mapping() -> None:
    context = Context("fiu-nl", "financial_transaction", mapping=DATA / "payments.yml")
    outcomes = read(DATA / "payments.csv", "csv", context)
    assert reasons(outcomes) == [
        (2, "ok"),
        (3, "ok"),
        (4, "time_ambiguous"),
        (5, "time_ambiguous"),
        (6, "number_format"),
        (7, "number_format"),
        (8, "unknown_value"),
        (9, "time_format"),
        (10, "ok"),
        (11, "wrong_columns"),
        (12, "bad_quotes"),
        (13, "ok"),
        (14, "wrong_columns"),
        (15, "ok"),
    ]
    first, second = outcomes[0], outcomes[1]
    assert isinstance(first, Candidate)
    assert isinstance(second, Candidate)
    assert first.key == "NL91ABNA0417164300"
    assert first.event["header"]["occurred_at"] == datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
    assert first.event["amount_minor"] == 125_000
    assert first.event["purpose_text"] == "huur; maart"
    assert [entity["role"] for entity in first.event["header"]["entities"]] == ["payer", "payee"]
    assert second.event["purpose_text"] == 'hij zei "ja"'
    assert second.event["amount_minor"] == 7_550
    assert "to_account" not in second.event
    first.event["header"]["published_at"] = first.event["header"]["occurred_at"]
    assert model_for("financial_transaction").model_validate(first.event).header.source_system == "kernbank"
    messages = {o.line: o.message for o in outcomes if isinstance(o, RefusedLine)}
    assert "2026-03-29T02:30:00 does not exist in Europe/Amsterdam" in messages[4]
    assert "2026-10-25T02:30:00 occurs twice in Europe/Amsterdam" in messages[5]
    assert "column 'Bedrag': found 'tien'; must be a number with decimal mark ','" in messages[6]
    assert "found 'X'; the mapping knows O, C" in messages[8]


MAPPING = "fields:\n  occurred_at: when\n  departs_at: leaves\n  kind: kind\nconstants: {tlp: GREEN}\n"


def mapped(tmp_path: Path, rows: str, mapping: str = MAPPING) -> list[Outcome]:
    (tmp_path / "m.yml").write_text(mapping)
    return read_text(tmp_path, rows, "csv", Context("rail-at", "travel_booking", mapping=tmp_path / "m.yml"))


def test_naive_times_need_a_stated_zone(tmp_path: Path) -> None:
    (outcome,) = mapped(tmp_path, "when,leaves,kind\n2026-03-01T10:00,,TRAIN\n")
    assert isinstance(outcome, RefusedLine)
    assert (outcome.reason, outcome.field) == ("time_naive", "header.occurred_at")
    assert "state time_zone in the mapping" in outcome.message
    (stated,) = mapped(tmp_path, "when,leaves,kind\n2026-03-01T10:00,,TRAIN\n", MAPPING + "time_zone: Europe/Vienna\n")
    assert isinstance(stated, Candidate)
    assert stated.event["header"]["occurred_at"] == datetime(2026, 3, 1, 9, tzinfo=UTC)


def test_a_day_keeps_its_precision_and_gets_no_hour_where_there_is_no_precision(tmp_path: Path) -> None:
    day, departure = mapped(tmp_path, "when,leaves,kind\n2026-03-01,,TRAIN\n2026-03-01,2026-03-05,TRAIN\n")
    assert isinstance(day, Candidate)
    assert day.event["header"]["occurred_precision"] == "DAY"
    assert day.event["header"]["occurred_at"] == datetime(2026, 3, 1, tzinfo=UTC)
    assert isinstance(departure, RefusedLine)
    assert (departure.reason, departure.field) == ("day_only", "departs_at")


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ("fields: {kind: {colum: a}}\n", ":1: fields.kind.column: missing"),
        (MAPPING + "time_zone: CET/Here\n", ":6: time_zone: found 'CET/Here'; must be an IANA time zone"),
        (MAPPING + "encoding: utf-77\n", ":6: encoding: found 'utf-77'; must be an encoding"),
        (MAPPING.replace("{tlp: GREEN}", "{kind: BUS}"), ":5: kind is also under fields"),
        ("- 1\n", ":1: expected a mapping with 'fields'"),
    ],
)
def test_mapping_errors_name_the_line(tmp_path: Path, mapping: str, says: str) -> None:
    (tmp_path / "m.yml").write_text(mapping)
    with pytest.raises(ConfigError) as caught:
        load_mapping(tmp_path / "m.yml")
    assert f"m.yml{says}" in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("when,kind\n2026-03-01,TRAIN\n", "columns that the file does not have: leaves; it has: when, kind"),
        ("", "no header line"),
        ("when,when\n", "'when' is there twice"),
        ("when,,kind\n", "column 2 of the header needs a name"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_as_a_whole(tmp_path: Path, rows: str, says: str) -> None:
    with pytest.raises(AdapterError, match=says):
        mapped(tmp_path, rows)


def test_a_stray_quote_costs_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "a,b\n" + "".join(f"{n},x\n" for n in range(100)) + '"open,x\n' + "".join(f"{n},y\n" for n in range(100))
    )
    with LineReader(path) as lines:
        outcomes = list(read_rows(lines))
    assert Counter(type(outcome) for outcome in outcomes) == {Row: 200, RefusedLine: 1}
    assert [(o.line, o.reason) for o in outcomes if isinstance(o, RefusedLine)] == [(102, "bad_quotes")]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), min_size=1, max_size=8)


@given(rows=st.lists(st.tuples(cells, cells), max_size=8))
def test_table_gives_back_what_csv_writes(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    path.write_bytes("\n".join(["a,b", *quoted]).encode() + b"\n")
    with LineReader(path) as lines:
        read_back = [(row.cells["a"], row.cells["b"]) for row in read_rows(lines) if isinstance(row, Row)]
    assert read_back == rows


# --- eve ---

ALERT = {
    "timestamp": "2026-03-01T12:00:00.123456+0100",
    "event_type": "alert",
    "src_ip": "192.0.2.7",
    "dest_ip": "198.51.100.9",
    "dest_port": 443,
    "alert": {
        "signature": "ET SCAN",
        "severity": 2,
        "metadata": {"mitre_technique_id": ["T1110"]},
    },
    "tls": {"sni": "portal.example"},
}
CERT = Context("cert-fr", "cyber_detection", tlp="GREEN")


def test_eve_alerts_become_detections(tmp_path: Path) -> None:
    lines = [json.dumps(ALERT), json.dumps({**ALERT, "event_type": "flow"}), json.dumps({**ALERT, "timestamp": "now"})]
    detection, flow, timeless = read_text(tmp_path, "\n".join(lines), "eve", CERT)
    assert isinstance(detection, Candidate)
    detection.event["header"]["published_at"] = "2026-03-01T12:00:01Z"
    event = model_for("cyber_detection").model_validate(detection.event).model_dump()
    assert event["header"]["occurred_at"] == datetime(2026, 3, 1, 11, 0, 0, 123456, tzinfo=UTC)
    assert (event["detection_name"], event["severity"], event["technique"]) == ("ET SCAN", "MEDIUM", "T1110")
    assert (event["src_ip"], event["dst_ip"], event["dst_port"], event["domain"]) == (
        "192.0.2.7",
        "198.51.100.9",
        443,
        "portal.example",
    )
    assert [entity["role"] for entity in event["header"]["entities"]] == ["source", "target", "contacted"]
    assert reasons([flow, timeless]) == [(2, "not_an_alert"), (3, "time_format")]


def test_eve_needs_a_label(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="give --tlp"):
        read_text(tmp_path, json.dumps(ALERT), "eve", Context("cert-fr", "cyber_detection"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["signature", "severity", "metadata", "hostname", "rrname", "mitre_technique_id"]),
                inner,
                max_size=3,
            )
        ),
    )
)
def test_eve_parts_of_any_shape_never_raise(tmp_path_factory: pytest.TempPathFactory, part: object) -> None:
    record = {**ALERT, **dict.fromkeys(("http", "tls", "dns", "files", "fileinfo", "dest_port", "src_ip"), part)}
    record["alert"] = part if isinstance(part, dict) else {"severity": part, "metadata": part}
    (outcome,) = read_text(tmp_path_factory.mktemp("eve"), json.dumps(record), "eve", CERT)
    assert isinstance(outcome, Candidate)
