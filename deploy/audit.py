"""``python -m deploy.audit requirements.lock``: known vulnerabilities of what is installed, by pip-audit.

Exit status 1 when there are any. Where the vulnerability service cannot be reached, as on a closed network, that is
said with the reason and the status is 0; pip-audit itself would call an index that knows nothing "no vulnerabilities".
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# One package that is asked about first: two hundred questions to a service that is away would take long.
PROBE: Final = "jinja2"
_AWAY: Final = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError")
_REACHED: Final = ("SSLError", "HTTPError")
_FAILURE: Final = re.compile(r"\b(\w+(?:Error|Timeout)): ?(.*)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit found. ``skipped`` says why nothing could be said at all."""

    audited: int = 0
    unknown: tuple[str, ...] = ()
    vulnerable: tuple[str, ...] = ()
    skipped: str = ""


class AuditError(Exception):
    """pip-audit failed for another reason than a service that is away; the message is its own."""


def verdict(report: dict[str, Any]) -> Verdict:
    """What pip-audit's JSON report says."""
    found, unknown, audited = [], [], 0
    for each in report["dependencies"]:
        if "skip_reason" in each:
            unknown.append(each["name"])
            continue
        audited += 1
        for problem in each["vulns"]:
            fixed = ", ".join(problem["fix_versions"]) or "no version yet"
            found.append(f"{each['name']} {each['version']}: {problem['id']}, fixed in {fixed}")
    if unknown and not audited:
        return Verdict(skipped="the package index answers, but has no vulnerability data of any package")
    return Verdict(audited, tuple(unknown), tuple(found))


def audit(requirements: Path, *options: str) -> Verdict:
    """Ask about every package of a pinned requirements file; ``options`` go to pip-audit.

    Raises:
        AuditError: pip-audit failed, and not for lack of an answer.
    """
    pinned = re.search(rf"^{PROBE}==[^\s;\\]+", requirements.read_text(), re.MULTILINE)
    if pinned is not None:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as probe:
            probe.write(pinned.group() + "\n")
            probe.flush()
            first = _run([probe.name, "--no-deps"], options)
        if first.skipped:
            return first
    return _run([str(requirements)], options)


def unreachable(told: str) -> str | None:
    """Why the service could not be reached, in what pip-audit wrote; ``None`` of any other failure. A service that
    answers with an error, or with a certificate that is not its own, was reached."""
    named = list(_FAILURE.finditer(told))
    if any(match.group(1) in _REACHED for match in named):
        return None
    if not named or named[-1].group(1) not in _AWAY:
        return None
    return (named[-1].group(2) or named[-1].group(1)).strip()


def _run(requirements: Sequence[str], options: Sequence[str]) -> Verdict:
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run([*command, *options, "-r", *requirements], capture_output=True, text=True)
    if done.stdout.lstrip().startswith("{"):
        return verdict(json.loads(done.stdout))
    reason = unreachable(done.stderr)
    if reason is not None:
        return Verdict(skipped=reason)
    raise AuditError(done.stderr.strip() or f"pip-audit ended with status {done.returncode} and said nothing")


def main() -> int:
    """Print what was found; the exit status."""
    try:
        found = audit(Path(sys.argv[1]), *sys.argv[2:])
    except AuditError as error:
        print(f"audit: pip-audit failed:\n{error}", file=sys.stderr)
        return 1
    if found.skipped:
        print(f"audit: SKIPPED, dependencies were not checked: {found.skipped}")
        return 0
    for line in found.vulnerable:
        print(f"audit: {line}")
    if found.unknown:
        print(f"audit: not known to the service: {', '.join(found.unknown)}")
    print(f"audit: {found.audited} packages checked, {len(found.vulnerable)} known vulnerabilities")
    return 1 if found.vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
