"""Why a request is refused, for programs and for people."""

from typing import NamedTuple

from starlette.responses import PlainTextResponse


class Refusal(NamedTuple):
    """Why a request is refused.

    Attributes:
        status: The HTTP status.
        code: The reason for programs; sent as the header `x-refused`.
        message: The reason for people.
    """

    status: int
    code: str
    message: str

    def response(self) -> PlainTextResponse:
        """Return the answer; the connection is closed, for the body may not have been read."""
        headers = {"x-refused": self.code, "connection": "close"}
        return PlainTextResponse(self.message, self.status, headers)


class RefusedError(Exception):
    """A request is refused while its body is read."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


NOT_FOUND = Refusal(404, "route", "Not found.")
INVALID = Refusal(422, "invalid", "The request does not have the form that this address expects.")
TIMEOUT = Refusal(408, "timeout", "The request took too long to arrive.")


def too_large(limit: int) -> Refusal:
    """Return the refusal of a body of more than `limit` bytes."""
    return Refusal(413, "size", f"The request is too large: at most {limit:,} bytes.")
