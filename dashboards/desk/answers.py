"""How the API answers a request to the lifecycle worker: done, refused, or no word of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from pydantic import Field

from dashboards.desk.auth.roles import Person
from dashboards.desk.commands import Commands, NoAnswerError
from schemas.lifecycle import Action, Command

BY: Final = "who sits at the terminal; counts for tokens with the scope act_as only, others act as their account"
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    409: {"model": Action, "description": "Refused; reason says why, and what is allowed"},
    504: {"description": "The lifecycle worker has not answered; the request may still be carried out"},
}


By = Annotated[str | None, Field(max_length=64, pattern=r"^[^()\x00-\x1f\x7f]+$", description=BY)]


def acting(person: Person, by: str | None) -> dict[str, Any]:
    """Who is on record for a request: ``by`` and ``via`` of the command. A name that was given counts only with the
    permission ``act_as``, and is marked, so that it is nobody's who logged in at the desk."""
    if by and person.may("act_as"):
        return {"by": f"{by} (cli)", "via": "cli"}
    return {"by": person.name, "via": person.via}


async def answered(commands: Commands, asked: Command) -> Any:
    """The action that came of the request, with 409 when it was refused.

    Raises:
        HTTPException: 504, no answer.
    """
    try:
        action = await commands.ask(asked)
    except NoAnswerError as error:
        raise HTTPException(504, str(error)) from error
    return action if action.accepted else JSONResponse(action.model_dump(mode="json"), 409)
