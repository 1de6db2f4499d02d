"""Folders that hold several data sets, each of Parquet files: one of them has to be given."""

import os
from pathlib import Path

import datasets

from rem_release.data.sources.rows import PrivateCache
from rem_release.data.sources.split_names import splits_hinted
from rem_release.errors import InputError


def require_one_config(path: Path, mirror: str, cache: PrivateCache) -> None:
    """Refuse a folder whose card names several data sets, and none that is read where nobody chooses.

    Args:
        path: the folder.
        mirror: where it is read.
        cache: for what `datasets` unpacks.

    Raises:
        InputError: names them, and the folder of the first that has its own.
    """
    names = datasets.get_dataset_config_names(mirror)
    if len(names) < 2 or datasets.get_dataset_default_config_name(mirror) is not None:
        return
    folders = []
    for name in names:
        found = datasets.load_dataset_builder(mirror, name, cache_dir=cache.name).config.data_files
        parents = {str(Path(file).parent) for files in found.values() for file in files}
        folders.append(os.path.relpath(os.path.commonpath(parents), os.path.realpath(mirror)))
    own = [folder for folder in folders if folders.count(folder) == 1 and folder != "."]
    raise InputError(
        f"README.md of {path} names several data sets ({', '.join(names)}): give the folder of one of them"
        + (f", such as {path / own[0]}" if own else ", or one file")
    )


def require_one_place(path: Path, files: list[Path], split: str) -> None:
    """Refuse tables of one split that lie in several folders, as `en/train.parquet` and `fr/train.parquet` do.

    Pieces of one table may: `train/a/0.parquet`, and files whose names say nothing of a split.

    Raises:
        InputError: names the folders.
    """
    places = sorted({place for file in files if (place := _find_place(file.relative_to(path))) is not None})
    if len(places) > 1:
        first = next(place for place in places if place != ".")
        raise InputError(
            f"{path} holds {len(places)} tables of the split {split!r}, in the folders "
            f"{', '.join(places[:5])}: give one of them, such as {path / first}"
        )


def _find_place(file: Path) -> str | None:
    """The folder in which the splits lie, or None where nothing says which split this is."""
    for depth, part in enumerate((*file.parts[:-1], file.stem)):
        if splits_hinted(part):
            return str(Path(*file.parts[:depth]))
    return None
