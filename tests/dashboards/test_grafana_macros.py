"""What Grafana and the plugin make of a query, as their documentation has it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dashboards.grafana.macros import EVERYTHING, PLUGIN_4_ONLY, Window, expand

START = datetime(2026, 3, 1, 11, tzinfo=UTC)
END = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
WINDOW = Window(START, END, timedelta(seconds=20))
A, B = int(START.timestamp()), int(END.timestamp())
VALUES: dict[str, str | list[str]] = {
    "desk": "http://desk",
    "alert": "it's",
    "none": "",
    "partner": ["bpol-de", "o'brien"],
    "family": EVERYTHING,
}


@pytest.mark.parametrize(
    ("sql", "becomes"),
    [
        ("$__timeFilter(t)", f"t >= toDateTime({A}) AND t <= toDateTime({B})"),
        (
            "$__timeFilter_ms(t)",
            f"t >= fromUnixTimestamp64Milli({A}000) AND t <= fromUnixTimestamp64Milli({B}250)",
        ),
        ("$__dateFilter(d)", "d >= toDate('2026-03-01') AND d <= toDate('2026-03-01')"),
        (
            "$__dateTimeFilter(d, t)",
            "(d >= toDate('2026-03-01') AND d <= toDate('2026-03-01')) AND "
            f"(t >= toDateTime({A}) AND t <= toDateTime({B}))",
        ),
        ("$__fromTime", f"toDateTime({A})"),
        ("$__toTime", f"toDateTime({B})"),
        ("$__fromTime_ms", f"fromUnixTimestamp64Milli({A}000)"),
        ("$__toTime_ms", f"fromUnixTimestamp64Milli({B}250)"),
        ("$__timeInterval(t)", "toStartOfInterval(toDateTime(t), INTERVAL 20 second)"),
        ("$__timeInterval_ms(t)", "toStartOfInterval(toDateTime64(t, 3), INTERVAL 20000 millisecond)"),
        ("n / $__interval_s", "n / 20"),
        ("$__timeFilter(max(a, b))", f"max(a, b) >= toDateTime({A}) AND max(a, b) <= toDateTime({B})"),
        ("$__conditionalAll(partner IN ($partner), $partner)", r"partner IN ('bpol-de','o\'brien')"),
        ("$__conditionalAll(f(family, (1)) IN ($family), $family) AND x", "1=1 AND x"),
        ("$__conditionalAll(id = '$none', $none)", "1=1"),
        ("$__conditionalAll(a, $family) $__conditionalAll(b, $alert)", "1=1 b"),
        ("$__from $__to $__interval $__interval_ms", f"{A}000 {B}250 20s 20000"),
        ("${__from}", f"{A}000"),
        ("$alert", "it's"),
        ("${alert:singlequote}", r"'it\'s'"),
        ("${alert:sqlstring}", "'it''s'"),
        ("${partner}", r"'bpol-de','o\'brien'"),
        ("${partner:singlequote}", r"'bpol-de','o\'brien'"),
        ("${partner:doublequote}", '"bpol-de","o\'brien"'),
        ("${partner:csv}", "bpol-de,o'brien"),
        ("${partner:pipe}", "bpol-de|o'brien"),
        ("${partner:json}", '["bpol-de", "o\'brien"]'),
        ("${family:singlequote}", "'__all__'"),
        ("$family", "'__all__'"),
    ],
)
def test_expands_as_documented(sql: str, becomes: str) -> None:
    assert expand(sql, WINDOW, VALUES) == becomes


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("$__timeFilter()", "needs a column"),
        ("$__timeFilter", "needs a column"),
        ("$__timeFilter(a, b)", "needs a column"),
        ("$__dateTimeFilter(a)", "needs 2 columns"),
        ("$__timeFilter(a", "never closed"),
        ("$__timeFitler(a)", r"\$__timeFitler is not a macro .* \$__timeFilter"),
        ("$__conditionalAll(a)", "needs a condition and a variable"),
        ("$__conditionalAll(a, $nobody)", r"\$nobody, which is not a variable"),
        ("${nobody:csv}", r"\$nobody is not a variable of the dashboard; it has alert, desk"),
        ("$nobody", "not a variable"),
        ("${partner:poetry}", r"\$\{partner:poetry\} has a format that is not known"),
    ],
)
def test_what_is_not_known_is_named(sql: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        expand(sql, WINDOW, VALUES)


@pytest.mark.parametrize(
    ("sql", "becomes"),
    [
        ("$__timeFilter(t)", f"t >= '{A}' AND t <= '{B}'"),
        ("$__fromTime", f"toDateTime(intDiv({A}000,1000))"),
        ("$__toTime", f"toDateTime(intDiv({B}250,1000))"),
        ("$__timeInterval(t)", "toStartOfInterval(toDateTime(t), INTERVAL 20 second)"),
    ],
)
def test_the_old_plugin_writes_times_another_way(sql: str, becomes: str) -> None:
    assert expand(sql, WINDOW, VALUES, 3) == becomes


@pytest.mark.parametrize("name", sorted(PLUGIN_4_ONLY))
def test_the_old_plugin_lacks_the_newer_macros(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} is not a macro known here; plugin 3 has"):
        expand(f"$__{name}(t)", WINDOW, VALUES, 3)


def test_a_bucket_is_never_below_a_second() -> None:
    assert expand("$__interval_s", Window(START, END, timedelta(milliseconds=5)), {}) == "1"
