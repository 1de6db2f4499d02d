"""Tables whose rows say themselves of which split they are."""

import re
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from rem_release.data.sources.rows import SourceOptions
from rem_release.data.sources.split_names import split_named, split_words, splits_hinted
from rem_release.errors import InputError

_WORDS = {"split", "splits", "datasplit", "subset", "partition", "usage", "phase"}
"""words in the name of a column that tells splits"""
_FLAG = re.compile(r"is[ _-]?(train|test|val|holdout).*|train(ing)?|test(ing)?|val(idation)?|holdout")
"""names of columns, in small letters, that say yes or no to one split"""
_TRUTHS = {"0": False, "0.0": False, "false": False, "no": False, "1": True, "1.0": True, "true": True, "yes": True}
_MAX_SPLITS = 10
"""names of splits that a column may have to be one that tells them"""


def refuse_splits_in_column(dataset: datasets.Dataset, splits: dict[str, int], options: SourceOptions) -> None:
    """Refuse a table whose rows say themselves that they are of other splits: all would be released as the one.

    A column tells splits if its name says so and a value hints at another split than the one of its rows, or at one
    beside values that say nothing; if it is called `train`, `is_test` ... and holds truth values; if it is a
    `partition` of a few numbers; or if all its values are names of splits, whatever its own.

    Args:
        dataset: the rows of all splits, one split after the other.
        splits: name of each split -> how many rows it has.
        options: of the source.

    Raises:
        InputError: names the column and its values.
    """
    start = 0
    for split, count in splits.items():
        for name, feature in dataset.features.items():
            is_one_value = isinstance(feature, (datasets.Value, datasets.ClassLabel))
            if name not in (options.image_column, options.label_column) and is_one_value and _may_tell(name, feature):
                values = _list_values(dataset, name, start, count)
                if len(values) > 0 and _tells_others(name, values, split):
                    raise InputError(
                        f"column {name!r} of {options.source} says {_describe(values)}, or add --drop-column {name} to "
                        f"release them all as {split}"
                    )
        start += count


def _describe(values: list[str]) -> str:
    if len(values) == 1:
        return (
            f"{values[0]} in all rows: give their file or folder the name of their split, and ask for it with --split"
        )
    shown = ", ".join(value or "nothing" for value in values[:5])
    return f"that its rows are of several splits ({shown}): write a table for each split"


def _may_tell(name: str, feature: Any) -> bool:
    is_text = isinstance(feature, datasets.ClassLabel) or feature.dtype in ("string", "large_string")
    return is_text or _names_splits(name) or _FLAG.fullmatch(name.lower()) is not None


def _names_splits(name: str) -> bool:
    words = split_words(name)
    return bool(_WORDS & {*words}) or words[-1:] == ["set"] or len(splits_hinted(name)) > 1


def _list_values(dataset: datasets.Dataset, name: str, start: int, count: int) -> list[str]:
    """The distinct values of some rows as texts; empty where a value is missing.

    Raises:
        InputError: text that is not UTF-8.
    """
    rows: pa.Table = dataset.select_columns([name]).with_format("arrow")[start : start + count]
    try:
        values = pc.unique(rows.column(name)).to_pylist()
    except UnicodeDecodeError:
        raise InputError(
            f"column {name!r} holds text that is not UTF-8: write the table again, or leave it out with --drop-column"
        ) from None
    feature = dataset.features[name]
    if isinstance(feature, datasets.ClassLabel):
        known = range(feature.num_classes)
        values = [feature.names[value] if value in known else None for value in values]
    return sorted({"" if value is None else str(value).strip() for value in values})


def _tells_others(name: str, values: list[str], split: str) -> bool:
    asked = splits_hinted(split)
    truths = {_TRUTHS.get(value.lower()) for value in values}
    if _FLAG.fullmatch(name.lower()) and (None not in truths or name.lower().startswith("is")):
        is_sure = asked and None not in truths and splits_hinted(name) in ({"train"}, {"test"})  # is_valid says more
        return len(values) > 1 or (bool(is_sure) and truths != {splits_hinted(name) == asked})
    if len(values) <= _MAX_SPLITS and len({split_named(value) for value in values} - {None}) > 1:
        return _names_splits(name) or all(map(split_named, values))
    if not _names_splits(name):
        return False
    hinted = [splits_hinted(value) for value in values]
    told = {each for hints in hinted for each in hints}
    if told:
        return len(told) > 1 or not all(hinted) or bool(asked and told != asked)
    numbers = [value for value in values if re.fullmatch(r"\d+(\.0)?", value)]
    is_partition = bool({"partition", "split"} & {*split_words(name)})
    return is_partition and 1 < len(values) <= _MAX_SPLITS and len(numbers) > 1
