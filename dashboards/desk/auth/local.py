"""The token with which the commands of this machine call the desk (``settings.api_token``)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from dashboards.desk.auth.accounts import Accounts
from schemas.settings import Settings

NAME: Final = "local"
SCOPE: Final = ("view", "inspect", "act", "silence", "act_as")


def local_token(settings: Settings) -> str:
    """A fresh token of the account ``local``, a watch officer without a password; older ones end.

    Whoever may read the platform's data directory may use it, so it is kept there with mode 0600 and renewed at each
    start. Empty when an administrator has disabled the account.

    Raises:
        DatabaseError: the accounts' file cannot be used.
    """
    accounts = Accounts(settings)
    try:
        mine = next((account for account in accounts.all() if account.name == NAME), None)
        if mine is not None and mine.disabled:
            return ""
        if mine is None:
            accounts.add_machine(NAME, "watch_officer", display="Commands of this machine")
        for token in accounts.tokens.all():
            if token.account == NAME and token.label == NAME:
                accounts.tokens.revoke(token.id)
        return accounts.tokens.make(NAME, SCOPE, timedelta(days=365), NAME).secret
    finally:
        accounts.close()
