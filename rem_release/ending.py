"""How a command ends: a known failure is one line on stderr and its own exit code, a bug keeps its traceback."""

import errno
import io
import logging
import os
import signal
import sys
import traceback
import warnings
from types import TracebackType

import typer

from rem_release.errors import RemReleaseError
from rem_release.hub.endpoint import check_readable
from rem_release.plain_text import escape, show
from rem_release.tokens import hide_tokens

_MACHINE_FAULTS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENXIO),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EBUSY, errno.ESTALE),
    *(errno.EMFILE, errno.ENFILE),
)
_format_warning = warnings.formatwarning


def run_to_its_end(app: typer.Typer) -> None:
    """Run the command line and exit. Whatever is printed, others' warnings and tracebacks included, is escaped."""
    # Threads that wait by spinning make torch several times slower where another program wants the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, _terminate)
    _escape_the_rest()
    try:
        check_readable(os.environ.get("HF_ENDPOINT", ""))
        sys.exit(app(standalone_mode=False) or 0)
    except RemReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Abort:
        print("Aborted!", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _MACHINE_FAULTS:
            raise
        print(f"error: {_describe_fault(error)}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # of usage, which the library does not export
            sys.excepthook = show_bug
            raise
        sys.exit(_show_usage(error))


def _terminate(number: int, frame: object) -> None:
    """Leave in good order, so that temporary copies are deleted and the status is written."""
    sys.exit(128 + number)


def _describe_fault(error: OSError) -> str:
    where = f": {show(error.filename)}" if error.filename else ""
    command = sys.argv[1:2]
    if error.errno == errno.EFBIG:
        smaller = ", or a smaller --max-shard-size with --overwrite" if command == ["protect"] else ""
        return f"{error.strerror}{where}; the disk or a limit takes no file of that size: use another one{smaller}"
    resume = " with --resume" if command in (["protect"], ["audit"]) and "--plan" not in sys.argv else ""
    return f"{error.strerror}{where}; mend that, then run it again{resume}"


def _show_usage(error: Exception) -> int:
    """Print what was wrong with the words of the command line, which it repeats; returns the exit code."""
    if not error.message.startswith("Usage: "):  # type: ignore[attr-defined]
        error.message = show(error.message)  # type: ignore[attr-defined]
    text = io.StringIO()
    error.show(text)  # type: ignore[attr-defined]
    sys.stderr.write(escape(text.getvalue()))
    return int(error.exit_code)  # type: ignore[attr-defined]


def show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback as Python does, escaped and without tokens: `sys.excepthook`."""
    sys.stderr.write(escape(hide_tokens("".join(traceback.format_exception(kind, error, trace)))))


class _EscapedRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802 - the library's name
        return escape(super().getMessage())


def _write_warning(*arguments: object, **named: object) -> str:
    return escape(_format_warning(*arguments, **named))  # type: ignore[arg-type]


def _escape_the_rest() -> None:
    """What other packages say, too; and a terminal that lacks a letter gets its escape."""
    warnings.formatwarning = _write_warning
    logging.setLogRecordFactory(_EscapedRecord)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
