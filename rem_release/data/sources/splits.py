"""Several splits of one source, read as one table: the rows of each split after those of the one before it.

Splits come in the order of their names, which is the order of the names of the files that they are released in.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path, PurePath
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from rem_release.data.leaks.published_words import LONGEST_SPLIT
from rem_release.data.sources.labels import describe_feature
from rem_release.data.sources.parquet_column import ParquetColumn
from rem_release.data.sources.rows import Rows, SourceOptions
from rem_release.data.sources.saved import is_one_split
from rem_release.errors import InputError
from rem_release.plain_text import show

_MAX_BYTES = 200
"""of a split's name: files are named after it, and their names may have 255"""
_SHOWN = 80
_APART = "or protect one split alone"


def read_split_names(text: str) -> list[str]:
    """Read `train` or `train+validation`.

    Returns:
        The names, sorted.

    Raises:
        InputError: one of them cannot name a split, or is given twice.
    """
    names = text.split("+")
    for name in names:
        if fault := find_name_fault(name):
            which = f" {show(repr(text), _SHOWN)}:" if len(names) > 1 else ""
            raise InputError(f"--split{which} {fault}, such as train")
        if names.count(name) > 1:
            raise InputError(f"--split {text!r} names {name!r} twice; name every split once")
    return sorted(names)


def find_name_fault(name: str) -> str | None:
    """Why this cannot name a split, and what to do about it; None where it can."""
    if not re.fullmatch(r"\w+(\.\w+)*", name) or name.lower() == "all":  # which `datasets` takes for all splits
        return f"{show(repr(name), _SHOWN)} cannot name a split; use letters, digits and _"
    if len(name) > LONGEST_SPLIT:
        return (
            f"{show(repr(name), _SHOWN)} names a split with {len(name)} characters; {LONGEST_SPLIT} are allowed: use "
            "fewer"
        )
    if (size := len(name.encode())) > _MAX_BYTES:
        return f"{show(repr(name), _SHOWN)} names a split of {size} bytes; use at most {_MAX_BYTES}"
    return None


def find_split(splits: Mapping[str, int], row: int) -> str:
    """Find the split in which a row stands.

    Args:
        splits: name -> rows, in order.
        row: counted from 0 over all of them, and below their sum.
    """
    return list(splits)[bisect_right(list(accumulate(splits.values())), row)]


def require_splits(options: SourceOptions) -> None:
    """Refuse what cannot have several splits.

    Raises:
        InputError: a file, one saved `Dataset`, or labels from albums.
    """
    if is_one_split(Path(options.source)):
        raise InputError(
            f"{options.source} is one split, and --split {options.split} names several; name one, "
            "or give a folder that holds them all"
        )
    if options.label_from == "albums":
        raise InputError(
            f"--split {options.split} with --label-from albums: albums are numbered within one split; "
            "name one split, or give class folders"
        )


def join_splits(by_split: dict[str, Rows], options: SourceOptions) -> Rows:
    """Put the rows of several splits one after the other.

    Class folders may differ from split to split: the classes are those of all of them. Columns may not.

    Args:
        by_split: name of the split -> its rows, none empty, in the order of the release.
        options: of the source as a whole.

    Raises:
        InputError: the splits are not of one kind or have other columns, or one of them is the whole source.
    """
    _require_one_kind(by_split, options)
    by_split = _share_classes(by_split, options.label_column)
    _require_same_columns(by_split, options)
    rows = list(by_split.values())
    columns = rows[0].dataset.column_names
    ids = [each.class_ids for each in rows if each.class_ids is not None]
    files = tuple(file for each in rows for file in each.files)
    return Rows(
        dataset=datasets.concatenate_datasets([each.dataset.select_columns(columns) for each in rows]),
        layout=rows[0].layout,
        labels_from=rows[0].labels_from,
        root=None if rows[0].root is None else Path(options.source),
        origins=[origin for name, each in by_split.items() for origin in _list_origins(name, each, options)],
        class_ids=np.concatenate(ids) if ids else None,
        cells=ParquetColumn(files, options.image_column) if rows[0].cells is not None else None,
        files=files,
        also_read=tuple(file for each in rows for file in each.also_read),
        caches=tuple(cache for each in rows for cache in each.caches),
        left_out=tuple(name for name in rows[0].left_out if all(name in each.left_out for each in rows)),
        ignored=tuple(dict.fromkeys(path for each in rows for path in each.ignored)),
        unlisted=_join_unlisted(by_split, options),
    )


def _join_unlisted(by_split: dict[str, Rows], options: SourceOptions) -> dict[str, int]:
    """Of the tables of all splits; one over all of them has counted already, and so has what lies beside them all."""
    first = next(iter(by_split.values()))
    if first.root == Path(options.source) or first.layout == "class folders of splits":
        return first.unlisted
    return {
        str(PurePath(name) / folder): count
        for name, each in by_split.items()
        for folder, count in each.unlisted.items()
    }


def _list_origins(name: str, rows: Rows, options: SourceOptions) -> list[str]:
    """As `Source.origin` says them; of a table over all splits they name the folder already."""
    if rows.origins is None:
        return [f"{name}/row {row}" for row in range(len(rows.dataset))]
    return rows.origins if rows.root == Path(options.source) else [f"{name}/{origin}" for origin in rows.origins]


def _require_one_kind(by_split: dict[str, Rows], options: SourceOptions) -> None:
    for name, each in by_split.items():
        if each.origins is not None and each.root == Path(options.source) and not each.also_read:
            raise InputError(
                f"{options.source} has no folder for the split {name!r} alone; with --split {options.split} every "
                f"split needs its own, {_APART}"
            )
        if twice := [other for other in by_split if other != name and _is_the_same(each, by_split[other])]:
            raise InputError(
                f"--split {options.split}: {name} and {twice[0]} are both {each.root}; name every split once"
            )
    kinds = {(each.labels_from, bool(each.files), each.origins is None) for each in by_split.values()}
    if len(kinds) > 1:
        raise InputError(
            f"the splits {', '.join(by_split)} of {options.source} are of several kinds (class folders, metadata, "
            f"Parquet); bring them to one kind, {_APART}"
        )


def _is_the_same(one: Rows, other: Rows) -> bool:
    return one.origins is not None and (one.root, one.origins) == (other.root, other.origins)


def _share_classes(by_split: dict[str, Rows], column: str) -> dict[str, Rows]:
    """Number the class folders of all splits together."""
    if any(each.class_ids is None for each in by_split.values()):
        return by_split
    names = sorted({name for each in by_split.values() for name in each.dataset.features[column].names})
    return {split: _number_anew(each, column, names) for split, each in by_split.items()}


def _number_anew(each: Rows, column: str, names: list[str]) -> Rows:
    own = each.dataset.features[column].names
    index = {name: number for number, name in enumerate(names)}
    numbers = np.array([*(index[name] for name in own), -1], np.int64)  # -1, no class, is the last one
    class_ids = numbers[each.class_ids]
    labels = pa.array(class_ids, pa.int64(), mask=class_ids < 0)
    dataset = each.dataset.remove_columns(column).add_column(column, labels, feature=datasets.ClassLabel(names=names))
    return replace(each, dataset=dataset, class_ids=class_ids)


def _require_same_columns(by_split: dict[str, Rows], options: SourceOptions) -> None:
    (first, rows), *others = by_split.items()
    expected = rows.dataset.features
    for name, each in others:
        found = each.dataset.features
        for column in dict.fromkeys([*expected, *found]):
            if column not in found or column not in expected:
                where, lacking = (first, name) if column in expected else (name, first)
                raise InputError(
                    f"{options.source}: column {column!r} is in the split {where} and not in {lacking}; "
                    f"add it there, {_advise(column, options)}"
                )
            if expected[column] != found[column]:
                kinds = _tell_apart(expected[column], found[column])
                raise InputError(
                    f"{options.source}: column {column!r} holds {kinds[0]} in the split {first} and {kinds[1]} in "
                    f"{name}; give it one type, {_advise(column, options)}"
                )


def _advise(column: str, options: SourceOptions) -> str:
    needed = (options.image_column, options.label_column)
    return _APART if column in needed else f"or leave it out with --drop-column {column}"


def _tell_apart(one: Any, other: Any) -> tuple[str, str]:
    """Two different types in words."""
    if isinstance(one, datasets.ClassLabel) and isinstance(other, datasets.ClassLabel):
        return f"the classes {_shorten(one.names)}", f"{_shorten(other.names)}"
    words = describe_feature(one), describe_feature(other)
    return words if words[0] != words[1] else (f"{one}"[:200], f"{other}"[:200])


def _shorten(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
