"""Folders of images whose labels stand elsewhere: in their names, in a table beside them, in files of boxes.

They are recognised, for a message that names the layout and the lines that mend it; nothing is guessed.
"""

import csv
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from rem_release.data.sources.labels import names_labels
from rem_release.data.sources.one_hot import find_one_hot
from rem_release.data.sources.reading import is_image
from rem_release.data.sources.split_names import split_words, splits_hinted
from rem_release.data.sources.walking import PathParts, is_document

_NAMED = re.compile(r"(?P<name>[^\W\d_]+(?:[ _-][^\W\d_]+)*)[._ -]*\(?\d+\)?")
"""a name and a number: cat.0, dog_12, Abyssinian_100, rose (3)"""
_SED = r"s/^([^0-9]*[^0-9._ (-])[._ (-]*[0-9]+.*$/&,\1/p"
_TABLES = (".csv", ".tsv", ".txt")
_ARCHIVES = (".tar", ".zip", ".gz", ".tgz", ".7z", ".rar", ".tfrecord", ".npz", ".h5", ".hdf5")
_BINARY_TABLES = (".parquet", ".arrow", ".feather")
_MAX_ROWS = 10_000
_MAX_LETTERS = 4_000_000
"""of a table that are read"""
_MIN_SHARE = 0.9
_CAMERAS = {
    *("img", "image", "dsc", "dscn", "dscf", "p", "pxl", "mvi", "gopr", "imag", "photo", "pic", "frame", "screenshot"),
    *("scan", "wa"),
}
"""what cameras and programs begin the names of their files with, whatever is on them"""
_CLUSTERS = "or add --label-from clusters to group them by their looks"


def is_table_or_archive(name: str) -> bool:
    """Whether a file's name is that of a binary table, or of files packed into one."""
    return name.lower().endswith((*_BINARY_TABLES, *_ARCHIVES))


def explain_flat(root: Path, files: list[PathParts]) -> tuple[str, list[str]]:
    """Why a folder without class folders cannot be read, and the lines that mend it.

    Args:
        root: the folder.
        files: of it, all directly in it.
    """
    if archives := explain_archives(root, files):
        return archives, []
    if any(parts[-1].lower().endswith(".arrow") for parts in files) and not any(is_image(parts[-1]) for parts in files):
        return explain_arrow(root)
    images = [parts[-1] for parts in files if PurePosixPath(parts[-1]).suffix.lower() not in (*_TABLES, ".json")]
    table = _find_table(root, images)
    if table is not None:
        return table
    names = Counter(found["name"] for name in images if (found := _NAMED.fullmatch(PurePosixPath(name).stem)))
    are_classes = not any(splits_hinted(name) or _CAMERAS.issuperset(split_words(name)) for name in names)
    if are_classes and 2 <= len(names) <= len(images) / 2 and sum(names.values()) >= _MIN_SHARE * len(images):
        shown = ", ".join(sorted(names)[:5])
        return (
            f"{root} has no class folders; its files seem to be named after their classes ({shown}). Write a metadata "
            f"file of them with these lines, {_CLUSTERS}:",
            [
                f"cd {shlex.quote(str(root))}",
                f"(echo file_name,label; ls | sed -nE '{_SED}') > metadata.csv",
            ],
        )
    return f"{root} has no class folders: sort the images into one folder a class, {_CLUSTERS}", []


def explain_archives(root: Path, files: list[PathParts]) -> str | None:
    """What to do with a folder that holds archives, wherever in it; None where most of its files are none."""
    files = [parts for parts in files if not is_document(parts[-1])]
    archives = ["/".join(parts) for parts in files if parts[-1].lower().endswith(_ARCHIVES)]
    if len(archives) <= len(files) / 2:
        return None
    return (
        f"{root} holds archives ({archives[0]}) and no images; unpack them, and give the folder they make, with "
        "metadata.csv (file_name,label) in it where no folders tell the classes, as in shards of WebDataset"
    )


def explain_arrow(path: Path) -> tuple[str, list[str]]:
    """Why Arrow files without the rest of `save_to_disk` are not read, and the lines that make Parquet of them.

    Args:
        path: one of them, or their folder.
    """
    files = f"[pathlib.Path({str(path)!r})]" if path.is_file() else f"pathlib.Path({str(path)!r}).glob('*.arrow')"
    what = "is a file" if path.is_file() else "holds files"
    return f"{path} {what} of Arrow, which are not read; write Parquet with these lines of Python, and give that:", [
        "import datasets, pathlib",
        f"for file in {files}: datasets.Dataset.from_file(str(file)).to_parquet(str(file.with_suffix('.parquet')))",
    ]


def _find_table(root: Path, images: list[str]) -> tuple[str, list[str]] | None:
    """A table beside the folder, or in it, with a column that names the images; of several that which knows most."""
    stems = {PurePosixPath(name).stem: name for name in images}
    found = []
    for folder in (root, root.parent):
        for path in sorted(folder.iterdir()):
            if _is_table(path) and (match := _match_column(path, stems)):
                found.append((path, match))
    if not found:
        return None
    path, match = max(found, key=lambda each: each[1].known)
    suffix = "" if match.has_suffix else PurePosixPath(next(iter(images))).suffix
    label, ask = f"table[{match.label!r}]", ""
    if match.classes:
        label, ask = f"table[{match.classes}].astype(float).idxmax(axis=1)", ", a class for each column with a 1"
    elif match.label is None:
        label, ask = "table['LABEL']", ", with the column of the labels in place of LABEL"
    named, kept = f"table[{match.column!r}] + {suffix!r}", "[['file_name', 'label']]"
    read = f"{str(path)!r}, sep=None, engine='python', dtype=str, keep_default_na=False, skipinitialspace=True"
    where = (
        f"one of the columns {', '.join(match.others)}" if len(match.others) > 1 else f"the column {match.others[0]}"
    )
    return (
        f"{root} has no class folders, and {path} seems to say the labels of its images in {where}. Write the "
        f"metadata file that is read here with these lines of Python{ask}:",
        [
            f"import pandas; table = pandas.read_csv({read})",
            f"table.assign(file_name={named}, label={label}){kept}.to_csv({str(root / 'metadata.csv')!r}, index=False)",
        ],
    )


def _is_table(path: Path) -> bool:
    """A table, and no form for answers to be handed in."""
    return path.suffix.lower() in _TABLES and path.is_file() and "submission" not in path.stem.lower()


@dataclass(frozen=True)
class _Match:
    """A column that names images, how many, whether with what follows the dot; the others, that of the labels where
    its name says so, and those that stand for a class each."""

    column: str
    known: int
    has_suffix: bool
    others: list[str]
    label: str | None
    classes: list[str]


def _match_column(path: Path, stems: dict[str, str]) -> _Match | None:
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_MAX_LETTERS)
            text = text if file.read(1) == "" else text[: text.rfind("\n") + 1]
        dialect = csv.Sniffer().sniff(text[:4096], delimiters=",;\t")
        dialect.skipinitialspace = True
        rows = list(islice(csv.DictReader(text.splitlines(), dialect=dialect), _MAX_ROWS))
    except (OSError, UnicodeError, csv.Error):
        return None
    if not rows or any(name in stems or PurePosixPath(name or "").stem in stems for name in rows[0]):
        return None  # without names of columns
    for column in rows[0]:
        values = [str(row.get(column) or "") for row in rows]
        others = [name for name in rows[0] if name != column and name]
        known = sum(value in stems or PurePosixPath(value).stem in stems for value in values)
        is_once = len(set(values)) == len(values)  # else it lists boxes
        if others and is_once and known > 1 and known >= _MIN_SHARE * min(len(values), len(stems)):
            labels = [name for name in others if names_labels(name)]
            label = labels[0] if len(labels) == 1 else others[0] if len(others) == 1 else None
            one_hot = [] if label else find_one_hot({name: [row[name] for row in rows] for name in others})
            return _Match(column, known, values[0] not in stems, others, label, one_hot)
    return None
