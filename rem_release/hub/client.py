"""One dataset repository on the Hub, asked through the real client: every question is put again where that can help.

Tokens come as `hf` takes them (`HF_TOKEN`, or `hf auth login`) and stay inside the client: no message shows one.
"""

import errno
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import disable_progress_bars, logging, validate_repo_id  # type: ignore[attr-defined]

import rem_release
from rem_release.errors import InputError, RemReleaseError

REPO_TYPE = "dataset"
MAIN = "main"
_TRIES = 5
_LONGEST_WAIT = 600.0
_WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)
T = TypeVar("T")
Say = Callable[[str], None]


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
        InputError: `repo_id` cannot be the name of a repository.
    """

    def __init__(self, repo_id: str, say: Say = lambda text: None) -> None:
        self.repo_id = check_repo_id(repo_id)
        self.api = HfApi(library_name="rem-release", library_version=rem_release.__version__)
        self._say = say
        disable_progress_bars()
        logging.set_verbosity_error()  # what matters is said here

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
            except _FAILURES as error:
                if isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE:
                    raise
                words, advice, status = self._explain(what, error)
                if attempt == _TRIES or not _may_pass(error):
                    raise HubError(f"{words}; {advice}" if advice else words, status) from None
                pause = _pause(error, attempt)
                self._say(f"{words}; trying again in {pause:.0f} s (try {attempt + 1} of {_TRIES})")
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _explain(self, what: str, error: Exception) -> tuple[str, str, int | None]:
        """In one line what was done and what the Hub said; what to do; the status. No token is shown."""
        response = _find_response(error)
        if isinstance(error, OfflineModeIsEnabled):
            return f"{what}: the client is offline (HF_HUB_OFFLINE)", "unset it to reach the Hub", None
        if response is None:
            cause = _innermost(error)
            words = f"{' '.join(str(cause).split()) or type(cause).__name__:.300}"
            if isinstance(error, ValueError):
                return self._redact(f"{what}: {words}"), "", None
            if isinstance(error, RuntimeError):
                return self._redact(f"{what}: {words}"), "push again: it goes on where it stopped", None
            silent = f"{what}: no answer from {self.api.endpoint} ({words})"
            return self._redact(silent), "check the network, and push again: it goes on where it stopped", None
        status = response.status_code
        said = response.headers.get("X-Error-Message") or _ERRORS.get(status) or response.reason_phrase
        line = f"{what}: the Hub answers {status} for {self.repo_id}: {' '.join(said.split()):.300}"
        return self._redact(line), _ADVICE.get(status, "").format(repo=self.repo_id), status

    def _redact(self, text: str) -> str:
        token = get_token()
        return text.replace(token, "(token)") if token else text


_FAILURES = (HfHubHTTPError, httpx2.HTTPError, OSError, RuntimeError, ValueError)
"""What the client raises when a question fails; hf_xet and uploads raise RuntimeError, errors of a batch ValueError."""
_OF_THIS_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
_ERRORS = {
    401: "not logged in, or the token is not valid",
    403: "the token does not allow it",
    404: "not found",
    409: "it exists already, or another commit is being made",
    412: "the branch moved meanwhile",
    413: "too large",
    429: "too many requests",
}
_ADVICE = {
    401: "log in with `hf auth login`, or set HF_TOKEN",
    403: "use a token that may write to {repo}",
    404: "check the name, and log in with `hf auth login` if {repo} is private",
    409: "look at {repo} and push again",
    412: "nothing was overwritten; look at what changed in {repo} and push again",
    413: "the Hub takes no files of this size here; its limits depend on the plan of the namespace",
    429: "wait, and push again: it goes on where it stopped",
}


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _innermost(error: BaseException) -> BaseException:
    return list(_chain(error))[-1]


def _find_response(error: BaseException) -> httpx2.Response | None:
    """The Hub's answer behind an exception, which the client may have wrapped."""
    answers = (link.response for link in _chain(error) if isinstance(link, (HfHubHTTPError, httpx2.HTTPStatusError)))
    return next(answers, None)


def _may_pass(error: Exception) -> bool:
    response = _find_response(error)
    if response is not None:
        return response.status_code in _WORTH_ANOTHER_TRY
    return not isinstance(error, (ValueError, OfflineModeIsEnabled))


def _pause(error: Exception, attempt: int) -> float:
    """Seconds to wait: what the Hub asks for (Retry-After), else 1, 2, 4, 8."""
    response = _find_response(error)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(asked), _LONGEST_WAIT) if asked.isdigit() else float(2 ** (attempt - 1))


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
