"""Words of others as plain words in Markdown: nothing in them becomes mark-up, a table, HTML or a masked link."""

import re

from rem_release.plain_text import escape

_SPECIAL = re.compile(r"[\\`*_\[\]<>#|~&$]")
_STARTS_A_BLOCK = re.compile(r"^(?=[-+=]|\d{1,9}[.)](?: |$))(\d*)")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_URL = re.compile(rf"https?://{_LABEL}(?:\.{_LABEL})*(?::\d{{1,5}})?(?:[/?#][A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*)?")
_MAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_{{}}~-]+@{_LABEL}(?:\.{_LABEL})+")


def write_plain(text: str) -> str:
    """A text as plain words on one line, unseen characters written out. A bare address stays one: it shows its goal."""
    escaped = _SPECIAL.sub(_escape, escape(" ".join(text.split())))
    return _STARTS_A_BLOCK.sub(r"\1\\", escaped)


def write_paragraphs(text: str) -> str:
    """The same for a text of several paragraphs, which blank lines part."""
    paragraphs = (write_plain(paragraph) for paragraph in re.split(r"\n\s*\n", text))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def write_address(text: str) -> str:
    """The address of a page or of mail as a link that shows it; anything else as plain words."""
    return f"<{text}>" if is_url(text) or is_mail(text) else write_plain(text)


def is_url(text: str) -> bool:
    """Whether a text is the http address of a page, in ASCII, without a user's name in it."""
    return _URL.fullmatch(text) is not None


def is_mail(text: str) -> bool:
    """Whether a text is an address of mail."""
    return _MAIL.fullmatch(text) is not None


def _escape(found: re.Match[str]) -> str:
    return "&#92;" if found[0] == "\\" else f"\\{found[0]}"  # the Hub reads two backslashes as mathematics
