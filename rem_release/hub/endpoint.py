"""The Hub's address. The client is not imported here: it reads the address when it is imported, and fails over some."""

import os
import re
from urllib.parse import urlsplit

from rem_release.errors import InputError


def check_readable(endpoint: str) -> None:
    """Refuse what is no address at all, which the client's import would fail over with a traceback.

    Raises:
        InputError: it cannot be taken apart.
    """
    try:
        urlsplit(endpoint)
    except ValueError:
        raise _refusal(endpoint) from None


def check_endpoint(endpoint: str) -> None:
    """Refuse what cannot be the address of a Hub.

    Raises:
        InputError: it cannot; the message shows HF_ENDPOINT as it was given.
    """
    try:
        parts = urlsplit(endpoint)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of the port
        sound = False
    if not sound or re.search(r"\s", endpoint):
        raise _refusal(os.environ.get("HF_ENDPOINT", endpoint))


def _refusal(value: str) -> InputError:
    return InputError(f"HF_ENDPOINT={value!r} is no address of a Hub; unset it, or write https://huggingface.co")
