"""What was done to a situation under all the ids that it has had, for the page and the API."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dashboards.desk import queries
from dashboards.desk.desk import Desk
from dashboards.desk.partner_view import Eyes, as_seen
from schemas.lifecycle import Action


async def ids_of(desk: Desk, eyes: Eyes, alert_id: str, supersedes: Sequence[str]) -> list[str]:
    """The alert's id and those before it that ``eyes`` may see; ``supersedes`` are those known of without the store.

    Raises:
        StoreAwayError: no answer, or an error of the store.
    """
    found = await asyncio.to_thread(queries.earlier_ids, desk.store, [alert_id, *supersedes])
    return [each for each in found if each == alert_id or eyes.sees(each)]


async def actions_of(desk: Desk, eyes: Eyes, ids: Sequence[str]) -> list[Action]:
    """What was done under these ids and what was refused, oldest first, as ``eyes`` see it.

    Raises:
        StoreAwayError: no answer, or an error of the store.
    """
    stored = await asyncio.to_thread(queries.history, desk.store, ids)
    found = {each.action_id: each for each in stored}
    # The store follows the log by a moment.
    found |= {each.action_id: each for each in desk.live.actions if each.alert_id in ids}
    done = sorted(found.values(), key=lambda each: (each.at, each.revision, each.action_id))
    return [as_seen(each, eyes) for each in done]
