"""Folders of pictures whose labels stand elsewhere: in their names, in a table beside them, in files of boxes.

They are recognised, for a message that names the layout and the lines that mend it; nothing is guessed.
"""

import csv
import re
from collections import Counter
from itertools import islice
from pathlib import Path, PurePosixPath

Parts = tuple[str, ...]
_NAMED = re.compile(r"(?P<name>[^\W\d_]+(?:[ _-][^\W\d_]+)*)[._ -]*\(?\d+\)?")
"""a name and a number: cat.0, dog_12, Abyssinian_100, rose (3)"""
_SED = r"s/^([^0-9]*[^0-9._ (-])[._ (-]*[0-9]+.*$/&,\1/p"
_TABLES = (".csv", ".tsv", ".txt")
_MOST_ROWS = 10_000
_LEAST_SHARE = 0.9
_CLUSTERS = "or add --label-from clusters to group them by their looks"


def explain_flat(root: Path, files: list[Parts]) -> tuple[str, list[str]]:
    """Why a folder without class folders cannot be read, and the lines that mend it.

    Args:
        root: the folder.
        files: of it, all directly in it.
    """
    pictures = [parts[-1] for parts in files if PurePosixPath(parts[-1]).suffix.lower() not in (*_TABLES, ".json")]
    table = _find_table(root, pictures)
    if table is not None:
        return table
    names = Counter(found["name"] for name in pictures if (found := _NAMED.fullmatch(PurePosixPath(name).stem)))
    if 2 <= len(names) <= len(pictures) / 2 and sum(names.values()) >= _LEAST_SHARE * len(pictures):
        shown = ", ".join(sorted(names)[:5])
        return (
            f"{root} has no class folders; its files seem to be named after their classes ({shown}). Write a metadata "
            f"file of them with these lines, {_CLUSTERS}:",
            [
                f"cd {root}",
                f"(echo file_name,label; ls | sed -nE '{_SED}') > metadata.csv",
            ],
        )
    return f"{root} has no class folders: sort the images into one folder a class, {_CLUSTERS}", []


def _find_table(root: Path, pictures: list[str]) -> tuple[str, list[str]] | None:
    """A table beside the folder, or in it, with a column that names the pictures."""
    stems = {PurePosixPath(name).stem: name for name in pictures}
    for folder in (root, root.parent):
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in _TABLES or not path.is_file():
                continue
            column, others, has_suffix = _match_column(path, stems)
            if column is not None:
                suffix = "" if has_suffix else PurePosixPath(next(iter(pictures))).suffix
                named, label = f"table[{column!r}].astype(str) + {suffix!r}", f"table[{others[0]!r}]"
                kept = f"[['file_name', 'label']].to_csv({str(root / 'metadata.csv')!r}, index=False)"
                return (
                    f"{root} has no class folders, and {path} seems to say the labels of its pictures in the columns "
                    f"{', '.join(others)}. Write the metadata file that is read here with these lines of Python:",
                    [
                        f"import pandas; table = pandas.read_csv({str(path)!r}, sep=None, engine='python')",
                        f"table.assign(file_name={named}, label={label}){kept}",
                    ],
                )
    return None


def _match_column(path: Path, stems: dict[str, str]) -> tuple[str | None, list[str], bool]:
    """The column whose values are the pictures' names, with or without what follows the dot; the others; and
    whether it is with that."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        dialect = csv.Sniffer().sniff(text[:4096], delimiters=",;\t")
        rows = list(islice(csv.DictReader(text.splitlines(), dialect=dialect), _MOST_ROWS))
    except (OSError, UnicodeError, csv.Error):
        return None, [], False
    for column in rows[0] if rows else []:
        values = [str(row.get(column) or "") for row in rows]
        others = [name for name in rows[0] if name != column and name]
        known = sum(value in stems or PurePosixPath(value).stem in stems for value in values)
        if others and known > 1 and known >= _LEAST_SHARE * min(len(values), len(stems)):
            return column, others, values[0] not in stems
    return None, [], False
