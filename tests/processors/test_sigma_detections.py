"""Detections in the manner of public Sigma rules on events of other products: every modifier and form of condition."""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any

import pytest

from processors.rule_files import RuleError
from tests.processors.sigma_events import found_by

PROCESSES = [
    {
        "EventID": 1,
        "Image": r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
        "CommandLine": "powershell.exe -NoP -Enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQA",
        "ParentImage": r"C:\Program Files\Microsoft Office\root\Office16\WINWORD.EXE",
        "User": "CORP\\anna",
    },
    {
        "EventID": 1,
        "Image": r"C:\Windows\System32\cmd.exe",
        "CommandLine": 'cmd.exe /c "whoami /all"',
        "ParentImage": r"C:\Windows\explorer.exe",
        "User": "CORP\\SYSTEM",
        "OriginalFileName": "Cmd.Exe",
    },
    {
        "EventID": "4688",
        "Image": r"C:\Windows\System32\svchost.exe",
        "CommandLine": "",
        "ParentImage": r"C:\Windows\System32\services.exe",
        "User": "NT AUTHORITY\\SYSTEM",
        "Hashes": ["MD5=0123", "SHA256=abcd"],
    },
]


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        (
            r"""
selection_img:
  Image|endswith: ['\powershell.exe', '\pwsh.exe']
selection_enc:
  CommandLine|contains: [' -e ', ' -enc ', ' -EncodedCommand ']
selection_parent:
  ParentImage|endswith: ['\winword.exe', '\excel.exe']
condition: all of selection_*
""",
            [0],
        ),
        (
            r"""
selection:
  - Image|endswith: '\cmd.exe'
  - OriginalFileName: Cmd.Exe
filter_main_system:
  User|contains: [AUTHORI, AUTORI]
filter_optional_empty:
  CommandLine: ''
condition: selection and not 1 of filter_main_* and not 1 of filter_optional_*
""",
            [1],
        ),
        ("selection: {EventID: 4688}\ncondition: selection", [2]),
        ("selection: {EventID: '1'}\ncondition: selection", [0, 1]),
        ("selection: {EventID: [1, 4688]}\ncondition: selection", [0, 1, 2]),
        ("selection: {EventID|gte: 4000}\ncondition: selection", [2]),
        ("selection: {CommandLine: ''}\ncondition: selection", [2]),
        ("selection: {CommandLine|contains: ''}\ncondition: selection", [0, 1, 2]),
        ("selection: {OriginalFileName: null}\ncondition: selection", [0, 2]),
        ("selection: {OriginalFileName: ''}\ncondition: selection", []),
        ("selection: {OriginalFileName|exists: true}\ncondition: selection", [1]),
        ("selection: {OriginalFileName|exists: false}\ncondition: selection", [0, 2]),
        ("selection: {OriginalFileName|neq: cmd.exe}\ncondition: selection", [0, 2]),
        ("selection: {User|neq: ['CORP\\anna', 'CORP\\bob']}\ncondition: selection", [1, 2]),
        ("selection: {Hashes: 'sha256=ABCD'}\ncondition: selection", [2]),
        ("selection: {Hashes|contains|all: [md5, sha256]}\ncondition: selection", [2]),
        ("selection: {CommandLine|contains|all: [whoami, '/ALL']}\ncondition: selection", [1]),
        ("selection: {CommandLine|cased|contains: '/ALL'}\ncondition: selection", []),
        ("selection: {CommandLine|contains|cased: '/all'}\ncondition: selection", [1]),
        ("selection: {OriginalFileName|cased: Cmd.Exe}\ncondition: selection", [1]),
        ("selection: {OriginalFileName|cased: cmd.exe}\ncondition: selection", []),
        (r"selection: {Image: 'c:\windows\\*\cmd.exe'}" "\ncondition: selection", [1]),
        ("selection: {Image|endswith: '\\c?d.exe'}\ncondition: selection", [1]),
        ("selection: {Image: '*'}\ncondition: selection", [0, 1, 2]),
        ("selection: {Hashes: '*'}\ncondition: selection", [2]),
        ("a: {Image|endswith: cmd.exe}\nb: {EventID: 4688}\ncondition: a or b", [1, 2]),
        ("a: {EventID: 1}\nb: {Image|endswith: cmd.exe}\ncondition: a and (not b)", [0]),
        ("a: {EventID: 1}\nb: {User: '*system'}\ncondition: 1 of them", [0, 1, 2]),
        ("a: {EventID: 1}\nb: {User: '*system'}\ncondition: all of them", [1]),
        ("a1: {EventID: 1}\na2: {User: '*system'}\ncondition: any of a*", [0, 1, 2]),
        ("a: {EventID: 1}\nb: {User: '*system'}\ncondition: [a and b, not a]", [1, 2]),
    ],
)
def test_process_creation(detection: str, expected: list[int]) -> None:
    assert found_by(detection, PROCESSES) == expected


def test_backslashes_and_wildcards_follow_the_specification() -> None:
    values = [r"C:\a*b", r"C:\axb", r"\\host\share", "C:\\", r"C:\\x", "what?", "whats"]
    events = [{"p": value} for value in values]
    for written, expected in [
        (r"C:\a\*b", [0]),
        (r"C:\a*b", [0, 1]),
        (r"\\\\host\\share", [2]),
        (r"\\host\share", []),
        ("*\\", [3]),
        (r"C:\\*", [0, 1, 3, 4]),
        (r"what\?", [5]),
        ("what?", [5, 6]),
    ]:
        assert found_by(f"s:\n  p: '{written}'\ncondition: s", events) == expected, written


def encoded(text: str, kind: str = "utf-8") -> str:
    return base64.b64encode(text.encode(kind)).decode()


@pytest.mark.parametrize(
    ("modifiers", "value", "texts", "expected"),
    [
        ("base64", "IEX (New-Object", [encoded("IEX (New-Object"), "other"], [0]),
        ("base64|contains", "abc", ["x" + encoded("abc") + "y", "abc"], [0]),
        ("base64offset|contains", "http://", [encoded(" " * n + "http://x") for n in range(3)] + ["aHR"], [0, 1, 2]),
        ("wide|base64offset|contains", "Invoke", [encoded("a Invoke", "utf-16-le"), encoded("a Invoke")], [0]),
        ("utf16|base64|contains", "hi", [encoded("\ufeffhi", "utf-16-le"), encoded("hi", "utf-16-le")], [0]),
        ("utf16be|base64|contains", "hi", [encoded("hi", "utf-16-be"), encoded("hi", "utf-16-le")], [0]),
        ("wide", "hi", ["h\0i\0", "hi"], [0]),
        ("cased|base64", "abc", ["YWJj", "ywjj"], [0]),
        ("windash|contains", " -f ", [f"x {dash}f y" for dash in "-/\u2013\u2014\u2015+"], [0, 1, 2, 3, 4]),
        ("contains|windash|all", "[' -f ', ' -g ']", ["x /f -g y", "x -f y"], [0]),
        ("cased|windash", "-F", ["-F", "/F", "/f"], [0, 1]),
        ("re", "'^ab+c$'", ["abbc", "ABC", "xabc"], [0]),
        ("re", "'b+'", ["abbc", "ABC"], [0]),
        ("re|i", "'^ab+c$'", ["abbc", "ABC", "xabc"], [0, 1]),
        ("re|m", "'^b$'", ["a\nb", "ab"], [0]),
        ("re|s", "'a.b'", ["a\nb", "a b", "ab"], [0, 1]),
        ("re|i|m|s", "'^B.C$'", ["a\nb\nc", "bc"], [0]),
        ("re|ignorecase|multiline|dotall", "'^B.C$'", ["a\nb\nc", "bc"], [0]),
        ("re|startswith", "'a+|b'", ["aax", "bx", "xa"], [0, 1]),
        ("re|endswith", "'a+|b'", ["xaa", "xb", "ax"], [0, 1]),
        ("re|contains", "'a{2}'", ["xaay", "xay"], [0]),
        ("re", r"'(?<!\\)\bfoo(?=bar)'", ["foobar", r"\foobar", "foobaz"], [0]),
        ("re", r"'(a)\1'", ["xaa", "aba"], [0]),
        ("cidr", "10.0.0.0/8", ["10.1.2.3", "11.1.1.1", "10.0.0.0/8", ""], [0]),
        ("cidr", "[192.168.0.0/16, 'fe80::/10']", ["192.168.3.4", "FE80::1", "2001:db8::1"], [0, 1]),
        ("lt", "5", ["4", "4.5", "5", "x", "-1e3", ""], [0, 1, 4]),
        ("lte", "5", ["5", "5.0", "6"], [0, 1]),
        ("gt", "5.5", ["5.6", "5.5", "0x10"], [0]),
        ("gte", "5.5", ["5.6", "5.5", "5,6"], [0, 1]),
    ],
)
def test_modifiers_on_text(modifiers: str, value: str, texts: list[str], expected: list[int]) -> None:
    written = value if value[0] in "'[" else f"'{value}'" if not value[0].isdigit() or "/" in value else value
    assert found_by(f"s:\n  f|{modifiers}: {written}\ncondition: s", [{"f": text} for text in texts]) == expected


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("s: {a|fieldref: b}", [0, 4]),
        ("s: {a|fieldref|startswith: b}", [0, 1, 4]),
        ("s: {a|fieldref|endswith: b}", [0, 2, 4]),
        ("s: {a|fieldref|contains: b}", [0, 1, 2, 4]),
        ("s: {a|cased|fieldref: b}", [4]),
        ("s: {a|fieldref|neq: b}", [1, 2, 3, 5]),
        ("s: {n|fieldref: o}", [1]),
        ("s: {a|fieldref: n}", [4]),
    ],
)
def test_references_to_other_fields(detection: str, expected: list[int]) -> None:
    events = [
        {"a": "ANNA", "b": "anna"},
        {"a": "annabel", "b": "Anna", "n": 5, "o": 5.0},
        {"a": "hanna", "b": "ANNA", "n": 5, "o": 6.5},
        {"a": "x", "b": None},
        {"a": ["7", "y"], "b": ["z", "y"], "n": 7},
        {"b": "anna"},
    ]
    assert found_by(f"{detection}\ncondition: s", events) == expected


MOMENTS: list[Any] = [
    dt.datetime(2026, 1, 1, 23, 30, tzinfo=dt.UTC),
    dt.datetime(2025, 12, 29, 3, 5, tzinfo=dt.UTC),
    None,
]


@pytest.mark.parametrize("kind", ["timestamp", "micros", "text"])
@pytest.mark.parametrize(
    ("part", "value", "expected"),
    [
        ("minute", "30", [0]),
        ("hour", "[22, 23]", [0]),
        ("hour|lt", "6", [1]),
        ("hour|gte", "22", [0]),
        ("day", "29", [1]),
        ("week", "1", [0, 1]),
        ("month", "12", [1]),
        ("year", "2025", [1]),
        ("year|neq", "2025", [0, 2]),
    ],
)
def test_parts_of_timestamps(kind: str, part: str, value: str, expected: list[int]) -> None:
    shown = {
        "timestamp": lambda each: each,
        "micros": lambda each: round(each.timestamp() * 1_000_000),
        "text": lambda each: each.astimezone(dt.timezone(dt.timedelta(hours=5))).isoformat(),
    }[kind]
    events = [{"at": each and shown(each)} for each in MOMENTS]
    assert found_by(f"s: {{'at|{part}': {value}}}\ncondition: s", events) == expected


WEB: list[dict[str, Any]] = [
    {"c-uri": "/a.php?q=1' UNION SELECT 1--", "cs": {"user-agent": "sqlmap/1.0", "method": "GET"}, "sc-status": 200},
    {"c-uri": "/login", "cs": {"user-agent": "Mozilla/5.0", "method": "POST"}, "tags": ["${JNDI:ldap}"]},
    {"c-uri": "/200", "cs": {"method": "GET"}, "sc-status": 500},
]


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("keywords: ['UNION select', '${jndi:']\ncondition: keywords", [0, 1]),
        ("keywords: sqlmap\ncondition: keywords", [0]),
        ("keywords: ['union*--']\ncondition: keywords", [0]),
        ("keywords: ['un?on', 'l?gin']\ncondition: keywords", [0, 1]),
        ("keywords: ['*login*']\ncondition: keywords", [1]),
        ("keywords: [200]\ncondition: keywords", [2]),
        ("keywords: {'|all': [sqlmap, union]}\ncondition: keywords", [0]),
        ("keywords: {'|all': [sqlmap, login]}\ncondition: keywords", []),
        ("keywords: {'|cased': UNION}\ncondition: keywords", [0]),
        ("keywords: {'|cased': union}\ncondition: keywords", []),
        ("keywords: {'|re': 'U[A-Z]+N SEL'}\ncondition: keywords", [0]),
        ("keywords: {'|re|i': '^/LOGIN$'}\ncondition: keywords", [1]),
        ("keywords: {'|contains': 'mozilla'}\ncondition: keywords", [1]),
        ("keywords: {'|startswith': 'mozilla'}\ncondition: keywords", [1]),
        ("keywords: {'|startswith': 'ozilla'}\ncondition: keywords", []),
        ("keywords: {'|endswith|all': ['in', '5.0']}\ncondition: keywords", [1]),
        ("keywords: {'|cidr': 10.0.0.0/8}\ncondition: keywords", []),
        ("keywords: {'|base64offset|contains': foo}\ncondition: keywords", []),
        ("keywords: [sqlmap]\ns: {cs.method: get}\ncondition: s and not keywords", [2]),
        ("s: {cs.user-agent|startswith: [sqlmap, nikto], sc-status: 200}\ncondition: s", [0]),
        ("s:\n  - c-uri|contains: union\n  - nothing\n  - sc-status: 500\ncondition: s", [0, 2]),
    ],
)
def test_web_server_with_keywords(detection: str, expected: list[int]) -> None:
    assert found_by(detection, WEB) == expected


def test_dns_and_script_blocks() -> None:
    events = [
        {"QueryName": "a.b.ngrok.io", "record_type": "TXT", "answers": ["10.0.0.1", "8.8.8.8"]},
        {"QueryName": "example.org", "record_type": "A", "answers": ["8.8.8.8"]},
        {"ScriptBlockText": "$c = New-Object System.Net.WebClient; $c.DownloadString('http://x')"},
        {"ScriptBlockText": "Get-ChildItem", "flag": True},
    ]
    dns = "s: {QueryName|endswith: ['.ngrok.io', '.duckdns.org'], record_type: TXT}\ncondition: s"
    private = "s: {answers|cidr: [10.0.0.0/8, 172.16.0.0/12]}\ncondition: s"
    script = """
a: {ScriptBlockText|contains: 'System.Net.WebClient'}
b: {ScriptBlockText|contains: ['.DownloadString(', '.DownloadFile(']}
condition: a and b
"""
    assert found_by(dns, events) == [0]
    assert found_by(private, events) == [0]
    assert found_by(script, events) == [2]
    assert found_by("s: {flag: true}\ncondition: s", events) == [3]
    assert found_by("s: {flag: 'TRUE'}\ncondition: s", events) == [3]
    assert found_by("s: {flag: 1}\ncondition: s", events) == []


def test_true_and_one_are_different_questions() -> None:
    events = [{"f": "1"}, {"f": "true"}]
    assert found_by("s: {f: 1}\nt: {f: true}\ncondition: s and not t", events) == [0]
    assert found_by("s: {f: 1}\nt: {f: true}\ncondition: t and not s", events) == [1]


@pytest.mark.parametrize(
    ("detection", "reason"),
    [
        ("s: {a: 1}\ncondition: t", "'t' not defined"),
        ("s: {a: 1}\ncondition: 1 of t*", "doesn't match any detection"),
        ("s: {a: 1}\ncondition: s | count() > 5", "pipe syntax"),
        ("s: {a: 1}\ncondition: s and", "Expected"),
        ("s: {a: 1}\ntimeframe: 15m\ncondition: s", "timeframe"),
        ("s: {}\ncondition: s", "empty"),
        ("s: {a: 1}", "condition"),
        ("s: {1: a}\ncondition: s", "field name 1"),
        ("s: {a|sounds_like: 1}\ncondition: s", "sounds_like"),
        ("s: {a|expand: '%admins%'}\ncondition: s", "nothing expands %admins%"),
        ("s: {a|re|expand: '%admins%'}\ncondition: s", "nothing expands %admins%"),
        ("s: {a|re: 'a(b'}\ncondition: s", "not a regular expression"),
        ("s: {a|re: '(?=x)(a+)+$'}\ncondition: s", "exponential"),
        ("s: {a|cidr: 10.0.0.1/8}\ncondition: s", "CIDR"),
        ("s: {a|contains: 5}\ncondition: s", "Contains"),
        ("s: {a|gt: x}\ncondition: s", "incompatible"),
        ("s: {a|hour: 8.5}\ncondition: s", "whole number"),
        ("s: {a|exists: maybe}\ncondition: s", "Exists"),
        ("s: {'|exists': true}\ncondition: s", "field"),
        ("s: {'|gt': 5}\ncondition: s", "needs a field"),
        ("s: [null]\ncondition: s", "needs a field"),
        ("s: {a|windash: '-a -b -c -d'}\ncondition: s", "three dash"),
        ("s: {a|base64: 'a*'}\ncondition: s", "wildcards"),
        ("s: {a: 2026-01-01}\ncondition: s", "Unsupported type"),
    ],
)
def test_what_is_not_evaluated_is_refused(detection: str, reason: str) -> None:
    with pytest.raises(RuleError) as caught:
        found_by(detection, [])
    assert reason in caught.value.reason
    assert caught.value.line == 1
