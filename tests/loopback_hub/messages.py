"""What goes over the wire: a request as the server recorded it, an answer, and a refusal."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """One request, recorded when its head has arrived.

    `status` is what was answered: 0 while there is no answer, and where a fault left none.
    """

    method: str
    path: str
    """as it came, with the query"""
    origin: str
    """`hub` or `storage`"""
    headers: dict[str, str]
    """lower-case names"""
    status: int = 0
    body_length: int = 0
    body: bytes = field(default=b"", repr=False)
    """of requests to the hub; not kept for storage"""

    @property
    def route(self) -> str:
        """The path without its query, still quoted."""
        return urlsplit(self.path).path

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def read_json(self) -> dict[str, Any]:
        """The body as one JSON object.

        Raises:
            RefusalError: it is none.
        """
        try:
            value = json.loads(self.body)
        except ValueError:
            raise RefusalError(400, "the body is not JSON") from None
        if not isinstance(value, dict):
            raise RefusalError(400, "the body is not a JSON object")
        return value


@dataclass
class Answer:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def answer_json(value: object, status: int = 200, **headers: str) -> Answer:
    """A JSON answer; `X_Error_Code` becomes the header `X-Error-Code`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=utf-8", **named})


class RefusalError(Exception):
    """The server says no.

    Args:
        status: HTTP status.
        message: goes into `X-Error-Message` and the body.
        code: `X-Error-Code`.
        extra: more fields of the body.
    """

    def __init__(self, status: int, message: str, code: str | None = None, **extra: object) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.extra = status, message, code, extra

    def as_answer(self) -> Answer:
        """The answer that says so."""
        codes = {"X_Error_Code": self.code} if self.code else {}
        return answer_json({"error": self.message, **self.extra}, self.status, X_Error_Message=self.message, **codes)


def paginate(items: list[Any], request: Request, endpoint: str, size: int) -> Answer:
    """One page of a list; the `Link` header names the next one."""
    first = int(request.query.get("cursor", "0"))
    page, last = items[first : first + size], first + size
    if last >= len(items):
        return answer_json(page)
    base, _, query = request.path.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("cursor=")]
    return answer_json(page, Link=f'<{endpoint}{base}?{"&".join([*kept, f"cursor={last}"])}>; rel="next"')


def answer_bytes(data: bytes, request: Request, headers: dict[str, str]) -> Answer:
    """The bytes of a file, or the range that is asked for."""
    headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if not asked or not (asked[1] or asked[2]):
        return Answer(200, data, headers)
    first = int(asked[1]) if asked[1] else max(0, len(data) - int(asked[2]))
    last = min(int(asked[2]) if asked[1] and asked[2] else len(data) - 1, len(data) - 1)
    if first > last:
        return Answer(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"})
    return Answer(206, data[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"})
