"""What a failure of the Hub's client means: in one line, with what to do, and whether another try can help."""

import errno
import json
import traceback
from collections.abc import Iterator

import httpx2
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_hf_hub_args  # type: ignore[attr-defined]

FAILURES = (HfHubHTTPError, httpx2.HTTPError, httpx2.InvalidURL, OSError, RuntimeError, ValueError)
"""What the client raises when a question fails; hf_xet and uploads raise RuntimeError, errors of a batch ValueError."""
ODD_ANSWERS = (KeyError, IndexError, TypeError, AttributeError)
"""What the client raises over JSON that is not what a Hub answers. Raised elsewhere they are bugs."""
_OF_THIS_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
_LASTING = (
    *ODD_ANSWERS,
    *(ValueError, OfflineModeIsEnabled, LocalTokenNotFoundError, httpx2.UnsupportedProtocol, httpx2.InvalidURL),
)
_CHECKS_ARGUMENTS = validate_hf_hub_args.__module__
_WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)
_LASTING_OF_STORAGE = (413, 501)
_LONGEST_WAIT = 600.0
_ERRORS = {
    401: "not logged in, or the token is not valid",
    403: "the token does not allow it",
    404: "not found",
    409: "it exists already, or another commit is being made",
    412: "the branch moved meanwhile",
    413: "too large",
    429: "too many requests",
}
_AGAIN = "push again: it goes on where it stopped"
_CHECK_ENDPOINT = f"check HF_ENDPOINT, and what stands between, such as a proxy, and {_AGAIN}"
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN, which comes first"
_ADVICE = {
    400: "mend what it names, and push again",
    401: _LOG_IN,
    403: "use a token that may write to {repo}",
    404: "check the name, and log in with `hf auth login` if {repo} is private",
    409: "look at {repo} and push again",
    412: "nothing was overwritten; look at what changed in {repo} and push again",
    413: "the Hub takes no files of this size here; its limits depend on the plan of the namespace",
    429: f"wait, and {_AGAIN}",
}


class Failure:
    """One failure of the client.

    Args:
        error: what the client raised, one of FAILURES or ODD_ANSWERS.
        endpoint: the Hub's address; an answer from elsewhere is one of the storage behind it.
        repo_id: the repository, for the advice.
    """

    def __init__(self, error: Exception, endpoint: str, repo_id: str) -> None:
        self._error = error
        self._endpoint = endpoint
        self._repo_id = repo_id
        self._answer = _find_answer(error)

    @property
    def is_of_this_machine(self) -> bool:
        """Whether it is no matter of the Hub: a full disk, say."""
        return isinstance(self._error, OSError) and self._error.errno in _OF_THIS_MACHINE

    @property
    def status(self) -> int | None:
        """The HTTP status of the answer; None where there was none."""
        return None if self._answer is None else self._answer.status_code

    @property
    def may_pass(self) -> bool:
        """Whether the same question can have a better answer a little later."""
        if self._answer is None:
            return not isinstance(self._error, _LASTING) or isinstance(self._error, json.JSONDecodeError)
        if self._is_of_storage(self._answer):  # its addresses hold for a while only: the next try gets new ones
            return self._answer.status_code not in _LASTING_OF_STORAGE
        return self._answer.status_code in _WORTH_ANOTHER_TRY

    def choose_pause(self, attempt: int) -> float:
        """Seconds to wait after so many tries: what the Hub asks for (Retry-After), else 1, 2, 4, 8."""
        asked = "" if self._answer is None else self._answer.headers.get("Retry-After", "")
        return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else float(2 ** (attempt - 1))

    def describe(self) -> tuple[str, str]:
        """In one line what happened, and what to do."""
        if self._answer is None:
            return self._describe_silence()
        status = self._answer.status_code
        words = f"{' '.join(self._read_words(self._answer).split()).rstrip('.'):.300}"
        advice = _ADVICE.get(status, _AGAIN).format(repo=self._repo_id)
        if self._is_of_storage(self._answer):
            return f"the storage behind the Hub answers {status}: {words}", advice if status == 413 else _AGAIN
        return f"the Hub answers {status} for {self._repo_id}: {words}", advice

    def _describe_silence(self) -> tuple[str, str]:
        if isinstance(self._error, OfflineModeIsEnabled):
            return "the client is offline (HF_HUB_OFFLINE)", "unset it to reach the Hub"
        if isinstance(self._error, LocalTokenNotFoundError):
            return "nobody is logged in", _LOG_IN
        chain = list(_chain(self._error))
        if odd := [link for link in chain if isinstance(link, (*ODD_ANSWERS, json.JSONDecodeError, httpx2.InvalidURL))]:
            words = f"{type(odd[0]).__name__}: {' '.join(str(odd[0]).split()):.200}"
            return f"{self._endpoint} does not answer as a Hub does ({words})", _CHECK_ENDPOINT
        cause = chain[-1]
        words = f"{' '.join(str(cause).split()) or type(cause).__name__:.300}"
        if isinstance(cause, (ValueError, RuntimeError)):
            return f"{words.rstrip('.')} ({self._endpoint})", _AGAIN
        return f"no answer from {self._endpoint} ({words.rstrip('.')})", f"check the network, and {_AGAIN}"

    def _read_words(self, answer: httpx2.Response) -> str:
        """What the Hub says in header and body; else what the status means."""
        said = (link.server_message for link in _chain(self._error) if isinstance(link, HfHubHTTPError))
        return next(filter(None, said), None) or _ERRORS.get(answer.status_code) or answer.reason_phrase

    def _is_of_storage(self, answer: httpx2.Response) -> bool:
        asked, hub = answer.request.url, httpx2.URL(self._endpoint)
        return (asked.host, asked.port) != (hub.host, hub.port)


def is_raised_in_client(error: BaseException) -> bool:
    """Whether an error comes from inside the client, below the last line of our own.

    A call with wrong arguments fails at that line, or in what checks the arguments: that is no answer's fault.
    """
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = max((place for place, name in enumerate(modules) if name.startswith("rem_release.")), default=-1)
    return any(name.startswith("huggingface_hub.") and name != _CHECKS_ARGUMENTS for name in modules[own + 1 :])


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _find_answer(error: BaseException) -> httpx2.Response | None:
    """The Hub's answer behind an exception, which the client may have wrapped."""
    answers = (link.response for link in _chain(error) if isinstance(link, (HfHubHTTPError, httpx2.HTTPStatusError)))
    return next(answers, None)
