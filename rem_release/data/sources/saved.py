"""Sources that `datasets` keeps: folders of `save_to_disk`, and the Hugging Face Hub.

A Hub dataset stays in the Hugging Face cache, where it was downloaded to.
"""

import json
from pathlib import Path

import datasets

from rem_release.data.sources.reading import explaining, list_others, require_split
from rem_release.data.sources.rows import Rows, SourceOptions
from rem_release.errors import InputError


def is_saved_dataset(path: Path) -> bool:
    """Tell a folder written by `save_to_disk`."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def is_one_split(path: Path) -> bool:
    """Tell a source that has no splits: one file, which is read as any split, or a folder of `Dataset.save_to_disk`."""
    return path.is_file() or (is_saved_dataset(path) and not (path / "dataset_dict.json").is_file())


def open_saved(path: Path, options: SourceOptions) -> Rows:
    """Read a folder written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`.

    Raises:
        InputError: it cannot be read, or there is no such split.
    """
    folder, splits = path, [options.split]
    with explaining(path):
        if (path / "dataset_dict.json").is_file():
            splits = json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
            require_split(splits, str(path), options)
            folder = path / options.split
        if not any(folder.glob("*.arrow")):
            raise InputError(f"{folder} has no rows")
        loaded = datasets.load_from_disk(str(folder))
    if folder == path and loaded.split is not None:
        require_split([str(loaded.split)], str(path), options)
    described = (path / "dataset_dict.json", folder / "state.json", folder / "dataset_info.json")
    return Rows(
        dataset=loaded,
        layout="a folder of save_to_disk",
        labels_from="column",
        root=path,
        also_read=tuple(file for file in described if file.is_file()),
        left_out=list_others(splits, options),
    )


def open_hub(options: SourceOptions) -> Rows:
    """Read a dataset of the Hugging Face Hub, through the Hugging Face cache.

    Raises:
        InputError: it does not exist, cannot be reached, or cannot be read.
    """
    with explaining(f"there is no such folder here, and on the Hub {options.source}"):
        loaded = datasets.load_dataset(options.source)
    require_split(loaded, options.source, options)
    return Rows(
        dataset=loaded[options.split],
        layout="a dataset of the Hugging Face Hub",
        labels_from="column",
        left_out=list_others(loaded, options),
    )
