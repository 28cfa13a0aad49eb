"""The token with which Grafana tells of the platform, where both are given it by their settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from dashboards.desk.auth.accounts import Accounts
from dashboards.desk.auth.tokens import TokenError

NAME: Final = "grafana"
LABEL: Final = "TOCSIN_GRAFANA_DESK_TOKEN"
SCOPE: Final = ("report",)
VALID: Final = timedelta(days=365)


def admit(accounts: Accounts, secret: str) -> None:
    """Make ``secret`` a token of the account ``grafana`` that opens Grafana's endpoint and nothing else, for a year
    from now; the one of before ends. Without a secret, or when an administrator has disabled the account, there is
    none; what ``tocsin accounts token grafana`` made stays.

    Raises:
        TokenError: the secret is too short to be a token.
    """
    for token in accounts.tokens.all():
        if token.account == NAME and token.label == LABEL:
            accounts.tokens.revoke(token.id)
    mine = next((account for account in accounts.all() if account.name == NAME), None)
    if not secret or (mine is not None and mine.disabled):
        return
    if mine is None:
        accounts.add_machine(NAME, "watch_officer", display="Grafana")
    try:
        accounts.tokens.make(NAME, SCOPE, VALID, LABEL, secret=secret)
    except TokenError as error:
        raise TokenError(f"{LABEL}: {error}") from error
