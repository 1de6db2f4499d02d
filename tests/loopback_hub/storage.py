"""The other origin: storage, which takes and gives large objects under signed addresses and wants no token."""

import re

from tests.loopback_hub.messages import Answer, RefusalError, Request, answer_bytes
from tests.loopback_hub.state import State

_UPLOAD = re.compile(r"/uploads/(?P<key>[\w-]+)(?:/(?P<part>[1-9]\d*))?")
_OBJECT = re.compile(r"/objects/(?P<repo_id>[^/]+/[^/]+)/(?P<sha256>[0-9a-f]{64})")


def answer(hub: State, request: Request, body: bytes) -> Answer:
    """Do what a request to storage asks for.

    Raises:
        RefusalError: storage says no; a token, which must not come here, is among the reasons.
    """
    if "authorization" in request.headers:
        raise RefusalError(400, "Only one auth mechanism allowed")
    if request.method == "PUT" and (place := _UPLOAD.fullmatch(request.route)):
        return _take(hub, place["key"], place["part"], body)
    if request.method in ("GET", "HEAD") and (place := _OBJECT.fullmatch(request.route)):
        return _give(hub, request, place["repo_id"], place["sha256"])
    raise RefusalError(404, f"no such place: {request.method} {request.route}")


def _take(hub: State, key: str, part: str | None, body: bytes) -> Answer:
    ticket = hub.tickets.get(key)
    if ticket is None:
        raise RefusalError(403, "the signature is not valid")
    if (part is None) != (ticket.chunk_size is None):
        raise RefusalError(400, "this upload comes in parts" if part is None else "this upload does not come in parts")
    if part is None or ticket.chunk_size is None:
        hub.keep_upload(ticket, body)
        return Answer(200, b"", {"ETag": f'"{hub.make_etag(body)}"'})
    first = (int(part) - 1) * ticket.chunk_size
    if first >= ticket.size or len(body) != min(ticket.chunk_size, ticket.size - first):
        raise RefusalError(400, f"part {part} has {len(body)} bytes")
    ticket.parts[int(part)] = body
    return Answer(200, b"", {"ETag": f'"{hub.make_etag(body)}"'})


def _give(hub: State, request: Request, repo_id: str, sha256: str) -> Answer:
    repo = hub.repos.get(repo_id)
    stored = repo.objects.get(sha256) if repo else None
    if stored is None or request.query.get("signature") != hub.signature:
        raise RefusalError(403, "the signature is not valid")
    if stored.file.data is None:
        raise RefusalError(501, "these bytes stand in Xet's store, compressed; set HF_XET_XORB_COMPRESSION_POLICY=none")
    return answer_bytes(stored.file.data, request, {"ETag": f'"{hub.make_etag(stored.file.data)}"'})
