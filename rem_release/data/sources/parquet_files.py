"""Parquet files, one or many, and clones of dataset repositories.

What `datasets` unpacks from a local source goes to a private temporary folder that is deleted with the rows, never to
its shared cache: it holds clean pixels.
"""

import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.data.leaks.hidden_images import is_plain
from rem_release.data.sources.labels import guess_columns, is_image, read_plain
from rem_release.data.sources.parquet_column import ParquetColumn
from rem_release.data.sources.reading import IMAGE_SUFFIXES, count_images, explaining, list_others, require_split
from rem_release.data.sources.rows import PrivateCache, Rows, SourceOptions
from rem_release.data.sources.several_tables import require_one_config, require_one_place
from rem_release.data.sources.split_names import splits_hinted
from rem_release.errors import InputError


def is_parquet(path: Path) -> bool:
    """Tell a Parquet file by its first bytes: in a cache it has no name."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


def holds_parquet(path: Path, options: SourceOptions) -> bool:
    """Tell a folder of Parquet files from a folder of images.

    They lie at its top, in `data/` or in SPLIT/; or anywhere, where its card says so or no image is there. A table
    beside class folders of images is none.
    """
    usual = (path, path / "data", path / options.split)
    if any(
        _has_suffix(file, {".parquet"}) and file.name != "metadata.parquet"
        for folder in usual
        if folder.is_dir()
        for file in folder.iterdir()
    ):
        return not has_class_folders(path)
    if not _list_parquet(path):
        return False
    return _describes_data(path / "README.md") or not any(_has_suffix(file, IMAGE_SUFFIXES) for file in path.rglob("*"))


def _has_suffix(path: Path, suffixes: set[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.is_dir()


def has_class_folders(path: Path) -> bool:
    """Whether several folders in this one hold images."""
    inner = [folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    return sum(any(_has_suffix(file, IMAGE_SUFFIXES) for file in folder.rglob("*")) for folder in inner) > 1


def _describes_data(card: Path, fields: tuple[str, ...] = ("configs:", "dataset_info:")) -> bool:
    """Whether the card of a dataset repository says what its data are; where they lie says `configs` alone."""
    if not card.is_file():
        return False
    with card.open(encoding="utf-8", errors="replace") as file:
        head = file.read(100_000)
    return head.startswith("---") and any(line.startswith(fields) for line in head.splitlines())


def open_parquet(path: Path, options: SourceOptions) -> Rows:
    """Read one Parquet file, which is the split asked for, or a folder of them in a layout that `datasets` knows.

    The images are read from the files themselves. What other columns hold is unpacked to a private temporary folder.

    Raises:
        InputError: a file is damaged or empty, or there is no such split.
    """
    cache = PrivateCache()
    with explaining(path):
        found = [path] if path.is_file() else _list_parquet(path)
        if not any(pq.read_metadata(file).num_rows for file in found):
            raise InputError(f"{path} has no rows")
        if path.is_file():
            where: dict[str, Any] = {"path": "parquet", "data_files": {options.split: [glob.escape(str(path))]}}
        else:
            where = {"path": _mirror(path, found, Path(cache.name))}
            if has_card := _describes_data(path / "README.md", ("configs:",)):
                require_one_config(path, where["path"], cache)
        builder = datasets.load_dataset_builder(**where, cache_dir=cache.name)
        if path.is_dir():
            _refuse_partitions(path, found)
            _require_known_splits(path, found, builder.config.data_files)
        used = {Path(file).resolve() for each in builder.config.data_files.values() for file in each}
        unused = [str(file.relative_to(path)) for file in found if path.is_dir() and file.resolve() not in used]
        require_split(builder.config.data_files, str(path), options, unused)
        files = [Path(file).resolve() for file in builder.config.data_files[options.split]]
        if path.is_dir():
            own = [file for file in found if file.resolve() in set(files)]
            _require_all_shards(own)
            if not has_card:
                require_one_place(path, own, options.split)
        features, is_mixed = _join_features(files, builder.info.features)
        options = guess_columns(features, options)
        _require_all_columns(files, options)
        images = None
        if is_image(features.get(options.image_column)):
            images = ParquetColumn(files, options.image_column)
            features[options.image_column] = datasets.Image(decode=False)  # whatever else its cells hold
        read = [name for name, feature in features.items() if is_plain(feature) and name not in options.drop_columns]
        typed = datasets.Features({name: features[name] for name in read}) if is_mixed else None
        dataset = read_plain(_load_columns(where, cache, read, options.split, typed)) if read else None
        features |= dataset.features if dataset is not None else {}
        dataset = _add_unread(dataset, features, sum(pq.read_metadata(file).num_rows for file in files))
    root = path.parent if path.is_file() else path
    return Rows(
        dataset=dataset,
        layout="Parquet files",
        labels_from="column",
        root=root,
        cells=images,
        files=tuple(files),
        also_read=tuple(_list_read(path, found)),
        caches=(cache,),
        left_out=(
            *list_others(builder.config.data_files, options),
            *unused,
        ),
        unlisted=count_images(path) if path.is_dir() else {},
    )


def _join_features(files: list[Path], stated: datasets.Features | None) -> tuple[datasets.Features, bool]:
    """The features of all files together, and whether they differ: where one has nulls the others may have texts."""
    schemas = [pq.read_schema(file) for file in files]
    _require_same_classes(files, [datasets.Features.from_arrow_schema(schema) for schema in schemas])
    if all(schema.equals(schemas[0]) for schema in schemas):
        return _prefer_own(datasets.Features.from_arrow_schema(schemas[0]), stated)
    joined = pa.unify_schemas(schemas, promote_options="permissive")
    return datasets.Features.from_arrow_schema(joined), True


def _prefer_own(own: datasets.Features, stated: datasets.Features | None) -> tuple[datasets.Features, bool]:
    """What a card states, and the classes as the files themselves name them: `datasets` takes those of another split.

    Returns:
        The features, and whether `datasets` has to be told.
    """
    classes = {name: feature for name, feature in own.items() if isinstance(feature, datasets.ClassLabel)}
    if stated is None:
        return own, bool(classes)
    joined = datasets.Features({name: classes.get(name, feature) for name, feature in stated.items()})
    return joined, joined != stated


def _require_all_shards(files: list[Path]) -> None:
    """Refuse `train-00000-of-00002.parquet` without the other one.

    Raises:
        InputError: names one that is missing.
    """
    found = {file.name for file in files}
    for file in files:
        if match := re.fullmatch(r"(.+)-(\d{5})-of-(\d{5})\.parquet", file.name, re.IGNORECASE):
            for number in range(int(match[3])):
                name = f"{match[1]}-{number:05d}-of-{match[3]}{file.suffix}"
                if name not in found:
                    raise InputError(f"{file.parent} holds {file.name} and not {name}; bring all of them, or rename it")


def _require_same_classes(files: list[Path], features: list[datasets.Features]) -> None:
    """Refuse files that number their classes differently, or of which some name none: the first one's would be taken.

    Raises:
        InputError: names two of them.
    """
    for column in features[0]:
        names = [getattr(each.get(column), "names", None) for each in features]
        for file, other in zip(files, names, strict=True):
            if other != names[0]:
                shown = [", ".join(each[:5]) if each else "none" for each in (names[0], other)]
                raise InputError(
                    f"column {column!r} names the classes {shown[0]} in {files[0].name} and {shown[1]} in {file.name}; "
                    "bring them to one order"
                )


def _require_all_columns(files: list[Path], options: SourceOptions) -> None:
    """Refuse files of which some lack a column that others have, unless it is left out.

    Raises:
        InputError: names the column and two files.
    """
    names = {file: pq.read_schema(file).names for file in files}
    for column in dict.fromkeys(column for each in names.values() for column in each):
        needed = column in (options.image_column, options.label_column)
        is_kept = options.keep_columns is None or column in options.keep_columns
        lacking = [file.name for file in files if column not in names[file]]
        if lacking and (needed or (is_kept and column not in options.drop_columns)):
            having = next(file.name for file in files if column in names[file])
            cure = "" if needed else f", or leave it out with --drop-column {column}"
            raise InputError(f"column {column!r} is in {having} and not in {lacking[0]}; write it into all files{cure}")


def _refuse_partitions(path: Path, found: list[Path]) -> None:
    """Refuse folders named `label=cat`, of which the files in them do not say the value.

    Raises:
        InputError: says how to write one file with all columns.
    """
    for file in found:
        for part in file.relative_to(path).parts[:-1]:
            if re.fullmatch(r"\w+=.*", part):
                raise InputError(
                    f"{path} keeps a column in the names of its folders ({part}); write it into a file: python -c "
                    f"\"import pandas; pandas.read_parquet({str(path)!r}).to_parquet('all.parquet')\""
                )


def _require_known_splits(path: Path, found: list[Path], splits: Iterable[str]) -> None:
    """Refuse files that are named like several splits, and are read as one.

    Raises:
        InputError: names them.
    """
    names = [file.relative_to(path) for file in found]
    hinted = {split for name in names for part in (*name.parts[:-1], name.stem) for split in splits_hinted(part)}
    if len(list(splits)) == 1 and len(hinted) > 1:
        raise InputError(
            f"{path} holds files that are named like several splits ({', '.join(map(str, names[:5]))}) and would be "
            "read as one; call them train-*.parquet, validation-*.parquet, test-*.parquet, or give one file"
        )


def _load_columns(
    where: dict[str, Any], cache: PrivateCache, names: list[str], split: str, features: datasets.Features | None
) -> datasets.Dataset:
    typed = {} if features is None else {"features": features}
    return datasets.load_dataset(**where, columns=names, cache_dir=cache.name, split=split, **typed)


def _add_unread(dataset: datasets.Dataset | None, features: datasets.Features, rows: int) -> datasets.Dataset:
    """All columns in their order, those that were not read as nulls: images, and what is dropped or refused."""
    schema = features.arrow_schema
    read = dataset.data.table if dataset is not None else pa.table({})
    columns = [
        read.column(field.name) if field.name in read.column_names else pa.chunked_array([pa.nulls(rows, field.type)])
        for field in schema
    ]
    return datasets.Dataset(pa.Table.from_arrays(columns, schema=schema))


def _list_parquet(path: Path) -> list[Path]:
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".parquet")
    files = [file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    for file in files:
        if file.exists() and not file.is_file() and not file.is_dir():  # a pipe would wait for ever
            raise InputError(f"{file} is a pipe, a socket or a device and no Parquet file; remove it")
    return [file for file in files if not file.is_dir()]


def _mirror(path: Path, files: list[Path], cache: Path) -> str:
    """Link the files of a data set under a plain name: in a folder's own, `datasets` takes brackets for patterns."""
    for file in _list_read(path, files):
        link = cache / "source" / file.relative_to(path)
        link = link.with_suffix(link.suffix.lower())
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    return str(cache / "source")


def _list_read(path: Path, files: list[Path]) -> list[Path]:
    """What is read of a data set: its tables, and its card, which says which of them are of which split."""
    return [file for file in (*files, path / "README.md") if file.is_file()]
