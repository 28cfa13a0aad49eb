"""Rules that are loaded together: public correlations, filters, ids and names, and all errors at once."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from processors.rule_files import RuleError, load, load_texts
from processors.rulebook import Detection
from schemas.settings import Settings
from tests.processors.sigma_rules import A, C, base, book, correlation

SAMPLES = {
    "event_count.yml": {"group-by": ["ComputerName"], "timespan": "1h", "condition": {"gte": 100}},
    "event_count_ecs.yml": {"group-by": ["dns.question.name"], "timespan": "1h", "condition": {"gte": 100}},
    "value_count.yml": {
        "group-by": ["ComputerName", "WorkstationName"],
        "timespan": "1d",
        "condition": {"field": "User", "gte": 100},
    },
    "value_avg.yml": {
        "group-by": ["SourceIP", "User"],
        "timespan": "24h",
        "condition": {"field": "BytesOut", "gt": 500},
    },
    "value_sum.yml": {
        "group-by": ["SourceIP", "User"],
        "timespan": "1h",
        "condition": {"field": "bytes_sent", "gt": 1_000_000},
    },
    "value_percentile.yml": {
        "group-by": ["ComputerName"],
        "timespan": "24h",
        "condition": {"field": "Image", "lte": 1},
    },
    "temporal.yml": {"group-by": ["ComputerName", "User"], "timespan": "5m"},
    "temporal_ordered.yml": {"group-by": ["ComputerName", "User"], "timespan": "5m"},
}


def test_all_errors_of_all_documents_are_told_at_once() -> None:
    errors: list[RuleError] = []
    broken = base("a") | {"detection": {"s": {"nothing": 1}, "condition": "s"}}
    rules = book(broken, base("b"), correlation(condition=C), correlation("d", rules=["b"], condition=C), errors=errors)
    assert [each.meta.name for each in rules.rules] == ["b", "d"]
    assert "no field 'nothing'" in errors[0].reason
    assert errors[1].reason == "rule 'a' is refused itself: rules.yml:1"


def test_two_rules_cannot_share_an_id_or_a_name() -> None:
    with pytest.raises(RuleError, match=r"^rules\.yml:12: id .* is already used in rules\.yml:1$"):
        book(base("a"), base("b") | {"id": A})
    with pytest.raises(RuleError, match=r"name a is already used in rules\.yml:1"):
        book(base("a"), base("b") | {"name": "a"})


def test_a_rule_without_an_id_gets_one_from_its_content() -> None:
    plain = {key: value for key, value in base("a").items() if key != "id"}
    first, again = (book(plain).detections[0].meta.id for _ in range(2))
    assert first == again == str(uuid.UUID(first))
    assert book(plain | {"level": "low"}).detections[0].meta.id != first


def foreign(title: str, detection: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {
        "title": title,
        "logsource": {"product": "windows", "category": "process_creation"},
        "detection": {"selection": detection, "condition": "selection"},
        **keys,
    }


def sample_bases() -> list[dict[str, Any]]:
    """The rules that the samples of public correlations refer to."""
    return [
        foreign("Failed logon", {"EventID": 4625}, id="5638f7c0-ac70-491d-8465-2a65075e0d86"),
        *(foreign(f"Recon {each}", {"CommandLine|contains": each}, name=f"recon_cmd_{each}") for each in "abc"),
        foreign("Traffic", {"BytesOut|gt": 0}, name="rule_a_id"),
        foreign("Any process", {"Image": "*"}, name="process_creation"),
        foreign("Website", {"c-uri": "*"}, name="website_access"),
    ]


def samples() -> list[dict[str, Any]]:
    """Correlations as public repositories have them: two share an id, most have none."""
    shared, failed = "0e95725d-7320-415d-80f7-004da920fc11", "5638f7c0-ac70-491d-8465-2a65075e0d86"
    rules = {
        "event_count": [failed],
        "event_count_ecs": [failed],
        "value_count": [failed],
        "value_avg": ["rule_a_id"],
        "value_sum": ["website_access"],
        "value_percentile": ["process_creation"],
        "temporal": ["recon_cmd_a", "recon_cmd_b", "recon_cmd_c"],
        "temporal_ordered": ["recon_cmd_a", "recon_cmd_b", "recon_cmd_c"],
    }
    found = []
    for file, keys in SAMPLES.items():
        kind = file.removesuffix(".yml")
        document = {"title": kind, "correlation": {"type": kind.removesuffix("_ecs"), "rules": rules[kind], **keys}}
        found.append(document | ({"id": shared} if kind.startswith("event_count") else {}))
    return found


def test_public_correlations_load_when_the_log_source_is_ignored() -> None:
    texts = [(Path(f"{number}.yml"), yaml.safe_dump(each)) for number, each in enumerate(samples() + sample_bases())]
    rules = load_texts(texts, ignore_logsource=True)
    assert len(rules.correlations) == 8
    assert len(rules.detections) == 7
    assert {each.family for each in rules.detections} == {""}
    assert len({each.meta.id for each in rules.rules}) == 15
    assert not any(each.alerts for each in rules.detections)


def test_rules_of_other_products_need_to_be_asked_for() -> None:
    with pytest.raises(RuleError, match="--ignore-logsource"):
        book(foreign("Any process", {"Image": "*"}))
    (rule,) = book(foreign("Any process", {"Image": "*"}), ignore_logsource=True).detections
    assert (rule.family, rule.fields) == ("", ("Image",))


def filter_(*rules: str, **keys: Any) -> dict[str, Any]:
    return {
        "title": "Not our own desk",
        "logsource": {"product": "tocsin", "category": "border_crossing"},
        "filter": {"rules": list(rules), "own": {"header.source_system|startswith": "desk"}, "condition": "not own"}
        | keys,
    }


@pytest.mark.parametrize("reference", ["a", A, A.upper(), "any"])
def test_a_filter_narrows_the_rules_that_it_names(reference: str) -> None:
    plain = book(base("a")).detections[0]
    given = filter_("a") if reference != "any" else filter_(rules="any")
    if reference != "any":
        given["filter"]["rules"] = reference
    found = {each.meta.name: each for each in book(given, base("a"), base("b", "tip_report")).detections}
    assert isinstance(found["a"], Detection)
    assert "header.source_system" in found["a"].fields
    assert found["a"].meta.version != plain.meta.version
    assert found["b"].fields == ("header.partner",)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (filter_("zzzz"), "there is no rule 'zzzz'"),
        (
            filter_("a") | {"logsource": {"product": "tocsin", "category": "tip_report"}},
            "does not contain that of rule",
        ),
        (filter_(rules="any") | {"logsource": {"product": "windows"}}, "is that of no rule"),
        (filter_("a", condition=None), "condition"),
        (filter_("a", rules=None), "rules"),
        (filter_("a", own={"nothing": 1}), "no field 'nothing'"),
    ],
)
def test_a_filter_that_fits_nothing_is_refused(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(RuleError) as caught:
        book(base("a"), document)
    assert reason in caught.value.reason


def test_a_filter_does_not_apply_to_correlations() -> None:
    with pytest.raises(RuleError, match="is a correlation"):
        book(base("a"), base("b"), correlation(condition=C), filter_("c"))


def test_the_shipped_rules_load() -> None:
    errors: list[RuleError] = []
    load([Settings().rules_path], errors=errors)
    assert errors == []
