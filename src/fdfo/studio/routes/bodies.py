"""What a page sends, read as a record."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from fdfo.web.guard import Refusal

Body = TypeVar("Body", bound=BaseModel)


async def body_of(request: Request, kind: type[Body], said: str | None = None) -> Body:
    """The body of a request as such a record.

    Raises Refusal with what is wrong first; it begins with what is `said`, or else with the place in the body.
    """
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors()[0]
        raise Refusal(400, f"{said or '.'.join(map(str, first['loc']))}: {first['msg']}") from error
