"""A small server that speaks the Hub's protocol well enough for the real clients."""

from tests.loopback_hub.faults import Faults
from tests.loopback_hub.files import Commit, File
from tests.loopback_hub.messages import Request
from tests.loopback_hub.server import LoopbackHub
from tests.loopback_hub.store import Repo

__all__ = ["Commit", "Faults", "File", "LoopbackHub", "Repo", "Request"]
