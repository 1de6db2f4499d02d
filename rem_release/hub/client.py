"""One dataset repository on the Hub, asked through the real client: every question is put again where that can help.

Tokens come as `hf` takes them (`HF_TOKEN`, or `hf auth login`) and stay inside the client: no message shows one, see
`tokens`.
"""

import time
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, get_session, set_client_factory
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import disable_progress_bars, logging, validate_repo_id  # type: ignore[attr-defined]

import rem_release
from rem_release.errors import InputError, RemReleaseError
from rem_release.hub.endpoint import check_endpoint
from rem_release.hub.failures import FAILURES, ODD_ANSWERS, Failure, is_raised_in_client
from rem_release.tokens import hide_tokens, remember_token

REPO_TYPE = "dataset"
MAIN = "main"
PATIENCE = 120.0
"""seconds that the Hub may be silent"""
_TRIES = 5
T = TypeVar("T")
Say = Callable[[str], None]
Hook = Callable[[httpx2.Request], None]


class HubError(RemReleaseError):
    """The Hub refused, or could not be reached.

    Args:
        message: one line.
        status: the HTTP status of the answer; None where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class Hub:
    """One dataset repository on the Hub.

    Args:
        repo_id: NAMESPACE/NAME.
        say: told, in one line, when a question is put again.

    Raises:
        InputError: `repo_id` cannot be the name of a repository, or HF_ENDPOINT is no address of a Hub.
    """

    def __init__(self, repo_id: str, say: Say = lambda text: None) -> None:
        self.repo_id = check_repo_id(repo_id)
        self.api = HfApi(library_name="rem-release", library_version=rem_release.__version__)
        check_endpoint(self.api.endpoint)
        self._say = say
        disable_progress_bars()
        logging.set_verbosity_error()  # what matters is said here
        _own_hooks()
        set_client_factory(_make_client)

    @property
    def url(self) -> str:
        """Where people see the repository."""
        return f"{self.api.endpoint}/datasets/{self.repo_id}"

    def ask(self, what: str, call: Callable[[], T], already: Callable[[], T | None] | None = None) -> T:
        """Call the client, and again after a pause where the failure may pass: no answer, 429, 5xx.

        Args:
            what: what is done, for the messages: `making the commit`.
            call: asks the client.
            already: for what changes the Hub: its result where the change was made although no answer came, else None.
                Asked before every further try.

        Raises:
            HubError: the Hub refuses, or stays unreachable.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                if attempt > 1 and already and (found := already()) is not None:
                    return found
                return call()
            except (*FAILURES, *ODD_ANSWERS) as error:
                if isinstance(error, ODD_ANSWERS) and not is_raised_in_client(error):
                    raise
                failure = Failure(error, self.api.endpoint, self.repo_id)
                if failure.is_of_this_machine:
                    raise
                words, advice = failure.describe()
                if attempt == _TRIES or not failure.may_pass:
                    raise HubError(f"{what}: {words}; {advice}", failure.status) from None
                pause = failure.choose_pause(attempt)
                again = f"{what}: {words}; trying again in {pause:.0f} s (try {attempt + 1} of {_TRIES})"
                self._say(hide_tokens(again))
                time.sleep(pause)
        raise AssertionError("unreachable")


def check_repo_id(repo_id: str) -> str:
    """NAMESPACE/NAME as the Hub allows it.

    Raises:
        InputError: it is not.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"{repo_id!r} cannot name a repository ({' '.join(str(error).split())[:200]})") from None
    if repo_id.count("/") != 1:
        raise InputError(f"{repo_id!r} cannot name a repository; write NAMESPACE/NAME")
    return repo_id


@cache
def _own_hooks() -> tuple[Hook, ...]:
    """What the client does with each of its requests, as long as its connections are of its own making."""
    return tuple(get_session().event_hooks["request"])


def _make_client() -> httpx2.Client:
    """Connections that do what the client's own do; those wait for ever for a Hub that fell silent."""
    hooks = [*_own_hooks(), _limit_silence, _note_token]
    return httpx2.Client(event_hooks={"request": hooks}, follow_redirects=True, timeout=None)


def _limit_silence(request: httpx2.Request) -> None:
    waits = request.extensions.get("timeout", {})
    limits = {kind: waits.get(kind) or PATIENCE for kind in ("connect", "read", "write")}
    request.extensions = {**request.extensions, "timeout": waits | limits}


def _note_token(request: httpx2.Request) -> None:
    """Tokens may come from elsewhere than file and environment, and anew while a push goes on."""
    remember_token(request.headers.get("authorization", ""))
