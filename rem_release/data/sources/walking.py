"""What lies in a folder: files and folders in order, without system files."""

import os
from pathlib import Path

from rem_release.errors import InputError

_SYSTEM_FILES = {
    *("thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin"),
    *("system volume information", "__macosx", "icon\r", "network trash folder", "temporary items", "lost+found"),
    *("nohup.out", "__pycache__", "picasa.ini", "zbthumbnail.info", "@eadir", "#recycle", "pspbrwse.jbf"),
}
"""what operating systems, file managers, viewers and network drives leave behind, as ignore templates list it"""
_DROPPED_ENDS = ("~", ".lnk", ".stackdump", ".swp")
_DOCUMENTS = (
    *(".md", ".txt", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".toml", ".html", ".pdf"),
    *(".py", ".ipynb", ".bib", ".cff", ".log", ".doc", ".docx", ".odt", ".rtf", ".xls", ".xlsx", ".ods"),
)
_DOCUMENT_NAMES = {"readme", "license", "licence", "citation", "notice", "copying", "changelog", "makefile"}
"""what lies beside class folders and is no image"""
_SHOWN = 10
PathParts = tuple[str, ...]


def walk(root: Path, ignored: list[str] | None = None) -> list[PathParts]:
    """List every file below a folder as path parts, sorted by code points, part by part.

    Args:
        root: the folder.
        ignored: what is passed over is added to it: hidden entries and system files.

    Raises:
        InputError: a folder cannot be read, or a name is not UTF-8.
    """
    files: list[PathParts] = []

    def visit(folder: Path, parts: PathParts, ancestors: frozenset[str]) -> None:
        real = os.path.realpath(folder)
        if real in ancestors:
            raise InputError(f"{folder} is a link to a folder that contains it; remove the link")
        for entry in list_folder(folder, ignored):
            if entry.is_dir():
                visit(folder / entry.name, (*parts, entry.name), ancestors | {real})
            else:
                files.append((*parts, entry.name))

    visit(root, (), frozenset())
    return files


def list_folder(folder: Path, ignored: list[str] | None = None) -> list["os.DirEntry[str]"]:
    """The entries of a folder by name, less what is passed over, which is added to `ignored`.

    Raises:
        InputError: it cannot be read, or a name is not UTF-8.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from None
    kept = [entry for entry in found if not _is_ignored(entry)]
    if ignored is not None:
        names = {entry.name for entry in kept}
        ignored += [entry.path for entry in found if entry.name not in names]
    for entry in kept:
        if any(0xDC80 <= ord(letter) <= 0xDCFF for letter in entry.name):
            raise InputError(f"the name of {os.fsencode(entry.path)!r} is not UTF-8; rename it")
    return kept


def _is_ignored(entry: "os.DirEntry[str]") -> bool:
    name = entry.name.lower()
    return name.startswith(".") or name in _SYSTEM_FILES or (name.endswith(_DROPPED_ENDS) and not entry.is_dir())


def is_document(name: str) -> bool:
    """Whether a file's name is that of what lies beside images: README, LICENSE, tables, texts."""
    return name.lower().endswith(_DOCUMENTS) or name.lower().split(".")[0] in _DOCUMENT_NAMES


def enumerate_names(names: list[str]) -> str:
    """The first ten names and how many more there are, for a message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "none"
