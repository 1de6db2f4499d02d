"""What libtiff says of damaged files: kept, as Pillow reads on after some of it, and off the error stream."""

import ctypes
import logging
import threading

from PIL import _imaging

_heard = threading.local()


def _hear(module: object, form: object, values: object) -> None:
    _heard.errors = getattr(_heard, "errors", 0) + 1


_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(_hear)
"""which is to live as long as libtiff calls it"""


def _take_over() -> None:
    """Libtiff has one handler of errors for the whole process, and calls it in the thread that decodes."""
    try:
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(_HANDLER)
    except (OSError, AttributeError):  # a Pillow whose libtiff cannot be reached: its errors stay on the error stream
        return


def forget_errors() -> None:
    """Of this thread."""
    _heard.errors = 0


def has_errors() -> bool:
    """Whether libtiff told of an error in this thread since they were forgotten."""
    return getattr(_heard, "errors", 0) > 0


_take_over()
logging.getLogger("PIL").setLevel(logging.CRITICAL)  # which tells more of a damaged file than its reason
