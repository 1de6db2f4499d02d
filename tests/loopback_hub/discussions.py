"""Discussions and pull requests as they are kept."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.loopback_hub.files import write_date


@dataclass
class Discussion:
    """A discussion, or a pull request."""

    num: int
    title: str
    author: str
    base: str | None
    """the commit of main from which a pull request started; None for a mere discussion"""
    status: str
    """open, closed, merged or draft"""
    events: list[dict[str, Any]] = field(default_factory=list)
    merge_commit: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def is_pull_request(self) -> bool:
        """Whether it brings commits."""
        return self.base is not None

    @property
    def ref(self) -> str:
        """Where its commits stand."""
        return f"refs/pr/{self.num}"

    def note(self, kind: str, author: str, **data: object) -> dict[str, Any]:
        """Add an event: `comment`, `status-change`, `commit` or `title-change`."""
        event = {
            "id": secrets.token_hex(12),
            "type": kind,
            "createdAt": write_date(datetime.now(UTC)),
            "author": {"name": author},
            "data": data,
        }
        self.events.append(event)
        return event

    def comment(self, author: str, text: str) -> dict[str, Any]:
        """Add a comment."""
        latest = {"raw": text, "html": text, "updatedAt": write_date(datetime.now(UTC)), "author": {"name": author}}
        return self.note("comment", author, edited=False, hidden=False, latest=latest, history=[], numEdits=0)

    def change_status(self, author: str, status: str) -> dict[str, Any]:
        """Open, close or merge it."""
        self.status = status
        return self.note("status-change", author, status=status)
