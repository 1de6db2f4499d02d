"""Faults on demand: what happens to the next requests of a kind."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from tests.loopback_hub.messages import Answer, Request, answer_json

Kind = Literal["status", "drop", "drop_after", "slow", "truncate"]
_KINDS = ("status", "drop", "drop_after", "slow", "truncate")


@dataclass
class Fault:
    """One entry of the list; `times` and `skip` count down."""

    method: str
    path: re.Pattern[str]
    kind: Kind
    times: int
    skip: int
    status: int
    headers: dict[str, str]
    error_code: str | None
    message: str | None
    origin: str | None
    seconds: float

    def is_for(self, request: Request) -> bool:
        """Whether method, origin and path (quoted or not) fit."""
        fits = self.method in ("*", request.method) and self.origin in (None, request.origin)
        return fits and bool(self.path.search(request.path) or self.path.search(unquote(request.path)))

    def make_answer(self) -> Answer:
        """The answer of the kind `status`."""
        message = self.message or f"fault {self.status}"
        answer = answer_json({"error": message}, self.status, X_Error_Message=message)
        if self.error_code:
            answer.headers["X-Error-Code"] = self.error_code
        answer.headers.update(self.headers)
        return answer


@dataclass
class Faults:
    """The faults that are still to come; the first that fits a request strikes."""

    waiting: list[Fault] = field(default_factory=list)
    struck: list[tuple[str, Request]] = field(default_factory=list)
    """(kind, request) of every fault so far"""

    def add(
        self,
        method: str,
        path_regex: str,
        kind: Kind,
        times: int = 1,
        skip: int = 0,
        status: int = 503,
        headers: Mapping[str, str] | None = None,
        error_code: str | None = None,
        message: str | None = None,
        origin: str | None = None,
        seconds: float = 1.0,
    ) -> None:
        """Let requests fail.

        Args:
            method: `GET`, ..., or `*`.
            path_regex: searched in path and query, as they came and unquoted.
            kind: `status`: answer with a status, nothing is done. `drop`: close the connection, nothing is done.
                `drop_after`: do it, then close without an answer. `slow`: send the body in pieces over so many
                seconds. `truncate`: send half of the body, then close.
            times: how often.
            skip: how many fitting requests pass before.
            status: for `status`.
            headers: more headers for `status`, such as `Retry-After`.
            error_code: `X-Error-Code` for `status`.
            message: `X-Error-Message` for `status`.
            origin: `hub`, `storage`, or both.
            seconds: for `slow`.
        """
        assert kind in _KINDS, f"{kind} is no kind of fault"
        assert origin in (None, "hub", "storage"), f"{origin} is no origin"
        pattern, given = re.compile(path_regex), dict(headers or {})
        self.waiting.append(
            Fault(method, pattern, kind, times, skip, status, given, error_code, message, origin, seconds)
        )

    def strike(self, request: Request) -> Fault | None:
        """The fault that this request meets."""
        for fault in self.waiting:
            if not fault.is_for(request):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if not fault.times:
                self.waiting.remove(fault)
            self.struck.append((fault.kind, request))
            return fault
        return None

    def clear(self) -> None:
        """Forget those that are still to come."""
        self.waiting.clear()
