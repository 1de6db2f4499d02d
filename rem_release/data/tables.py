"""Sources that are tables: metadata files beside images, Parquet, `save_to_disk` folders, the Hugging Face Hub.

What `datasets` unpacks from a local source goes to a private temporary folder that is deleted with the rows, never to
its shared cache: it holds clean pixels. A Hub dataset stays in the Hugging Face cache, where it was downloaded to.
"""

import glob
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.exceptions import DatasetsError
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import logging as hub_logging

from rem_release.data.folders import choose_folder, guess_split_folder, list_other_folders, walk
from rem_release.data.hidden_pictures import is_plain
from rem_release.data.labels import guess_columns, is_image, read_plain
from rem_release.data.parquet_column import ParquetColumn
from rem_release.data.rows import PrivateCache, Rows, SourceOptions, point_at_files
from rem_release.data.split_names import split_named
from rem_release.errors import InputError

_METADATA = {"metadata.csv": "csv", "metadata.jsonl": "json", "metadata.parquet": "parquet"}
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_PICTURES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2"),
    *(".avif", ".mpo", ".heic", ".heif", ".jxl"),
}


def find_metadata(path: Path, options: SourceOptions) -> Path | None:
    """Find the metadata file of a folder of images, in the folder of the split first, then in SOURCE.

    Raises:
        InputError: two of them stand side by side, and nobody knows which is right.
    """
    for folder in (guess_split_folder(path, options), path):
        found = [folder / name for name in _METADATA if (folder / name).is_file()]
        if len(found) > 1:
            raise InputError(
                f"{folder} holds {' and '.join(file.name for file in found)}; keep the one that is right, and remove "
                "or rename the other"
            )
        if found:
            return found[0]
    return None


def open_metadata(path: Path, options: SourceOptions) -> Rows:
    """Read a metadata file; its `file_name` column becomes the image column, a path relative to the file's folder.

    Raises:
        InputError: the file cannot be read, has no usable `file_name` column, or names files outside its folder.
    """
    cache = PrivateCache()
    with _explaining(path):
        loaded = datasets.load_dataset(
            _METADATA[path.name],
            **(_sniff(path) if path.suffix == ".csv" else {}),
            data_files={"train": [glob.escape(str(path))]},
            split="train",
            cache_dir=cache.name,
        )
    names = _read_file_names(path, loaded, options)
    table = loaded.data.table
    unlisted = _count_unlisted(path.parent, names)
    tops = _list_split_folders(path, names, options)
    if tops:
        chosen = choose_folder(path.parent, tops, options)
        rows = [row for row, name in enumerate(names) if PurePosixPath(name).parts[0] == chosen]
        table, names = table.take(rows), [names[row] for row in rows]
    elif options.split != "train" and path.parent == Path(options.source):
        raise InputError(
            f"{path.parent} has no split {options.split!r}: only {path.name} for train; choose with --split"
        )
    files = [str(path.parent / name) for name in names]
    position = loaded.column_names.index("file_name")
    features = {
        (options.image_column if name == "file_name" else name): (
            datasets.Image(decode=False) if name == "file_name" else feature
        )
        for name, feature in loaded.features.items()
    }
    table = table.set_column(position, options.image_column, point_at_files(files))
    table = pa.Table.from_arrays(table.columns, schema=datasets.Features(features).arrow_schema)
    return Rows(
        dataset=datasets.Dataset(table),
        layout="pictures with metadata",
        labels_from="column",
        root=path.parent,
        origins=names,
        also_read=(path,),
        caches=(cache,),
        left_out=tuple(top for top in tops if top != chosen) if tops else list_other_folders(path.parent, options),
        unlisted=unlisted,
    )


def _list_split_folders(path: Path, names: list[str], options: SourceOptions) -> list[str]:
    """The folders of splits in which all files of a table for several splits lie; empty where it is for one."""
    if path.parent != Path(options.source) or options.layout == "classes":
        return []
    tops = {parts[0] if len(parts := PurePosixPath(name).parts) > 1 else "" for name in names}
    return sorted(tops) if all(map(split_named, tops)) else []


def _count_unlisted(folder: Path, names: list[str]) -> dict[str, int]:
    """How many pictures each folder holds of which the table says nothing: folder, relative, -> count."""
    listed = {PurePosixPath(name).as_posix() for name in names}
    others = ["/".join(parts) for parts in walk(folder) if PurePosixPath(parts[-1]).suffix.lower() in _PICTURES]
    return dict(Counter(str(PurePosixPath(name).parent) for name in others if name not in listed))


def _read_file_names(path: Path, loaded: datasets.Dataset, options: SourceOptions) -> list[str]:
    if "file_name" not in loaded.column_names:
        raise InputError(f"{path} has no column 'file_name'; its columns are {', '.join(loaded.column_names)}")
    if options.image_column in loaded.column_names and options.image_column != "file_name":
        raise InputError(f"{path} has a column {options.image_column!r} already; name the pictures with --image-column")
    for name in loaded.column_names:
        points = name.endswith(("_file_name", "_file_names")) or name == "file_names"
        is_read = name not in options.drop_columns and (options.keep_columns is None or name in options.keep_columns)
        if points and is_read:
            raise InputError(f"column {name!r} of {path} points at more files; leave it out with --drop-column {name}")
    names = [_turn_slashes(path.parent, name) for name in loaded["file_name"][:]]
    for row, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise InputError(f"{path}: 'file_name' of row {row} is {name!r}, not the path of a file")
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"{path}: 'file_name' of row {row} leads out of the folder: {name}")
    return names


def _sniff(path: Path) -> dict[str, str]:
    """How a CSV is written: UTF-16 by its mark, else UTF-8, and the separator of its first line."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
    header = start.decode(encoding, "ignore").lstrip("\ufeff").splitlines()[:1]
    counts = {separator: header[0].count(separator) if header else 0 for separator in ",;\t|"}
    return {"encoding": encoding, "sep": max(counts, key=lambda separator: counts[separator])}


def _turn_slashes(folder: Path, name: Any) -> Any:
    """A path as Windows writes it; where a file really has such a name, it stays."""
    if isinstance(name, str) and "\\" in name and not (folder / name).exists():
        return name.replace("\\", "/")
    return name


def is_parquet(path: Path) -> bool:
    """Tell a Parquet file by its first bytes: in a cache it has no name."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


def holds_parquet(path: Path, options: SourceOptions) -> bool:
    """Tell a folder of Parquet files from a folder of images.

    They lie at its top, in `data/` or in SPLIT/; or anywhere, where its card says so or no picture is there. A table
    beside class folders of pictures is none.
    """
    usual = (path, path / "data", path / options.split)
    if any(_has_suffix(file, {".parquet"}) for folder in usual if folder.is_dir() for file in folder.iterdir()):
        return not _has_class_folders(path)
    if not _list_parquet(path):
        return False
    return _describes_data(path / "README.md") or not any(_has_suffix(file, _PICTURES) for file in path.rglob("*"))


def _has_suffix(path: Path, suffixes: set[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.is_dir()


def _has_class_folders(path: Path) -> bool:
    inner = [folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    return sum(any(_has_suffix(file, _PICTURES) for file in folder.rglob("*")) for folder in inner) > 1


def _describes_data(card: Path) -> bool:
    """Whether the card of a dataset repository says where its data lie."""
    if not card.is_file():
        return False
    with card.open(encoding="utf-8", errors="replace") as file:
        head = file.read(100_000)
    return head.startswith("---") and any(line.startswith(("configs:", "dataset_info:")) for line in head.splitlines())


def open_parquet(path: Path, options: SourceOptions) -> Rows:
    """Read one Parquet file, which is the split asked for, or a folder of them in a layout that `datasets` knows.

    The pictures are read from the files themselves. What other columns hold is unpacked to a private temporary folder.

    Raises:
        InputError: a file is damaged or empty, or there is no such split.
    """
    cache = PrivateCache()
    with _explaining(path):
        found = [path] if path.is_file() else _list_parquet(path)
        if not any(pq.read_metadata(file).num_rows for file in found):
            raise InputError(f"{path} has no rows")
        if path.is_file():
            where: dict[str, Any] = {"path": "parquet", "data_files": {options.split: [glob.escape(str(path))]}}
        else:
            where = {"path": _mirror(path, found, Path(cache.name))}
        builder = datasets.load_dataset_builder(**where, cache_dir=cache.name)
        _require_split(builder.config.data_files, str(path), options)
        files = [Path(file).resolve() for file in builder.config.data_files[options.split]]
        features, is_mixed = _join_features(files, builder.info.features)
        options = guess_columns(features, options)
        pictures = None
        if is_image(features.get(options.image_column)):
            pictures = ParquetColumn(files, options.image_column)
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
        cells=pictures,
        files=tuple(files),
        also_read=tuple(_list_read(path, found)),
        caches=(cache,),
        left_out=_list_others(builder.config.data_files, options),
    )


def _join_features(files: list[Path], stated: datasets.Features | None) -> tuple[datasets.Features, bool]:
    """The features of all files together, and whether they differ: where one has nulls the others may have texts."""
    schemas = [pq.read_schema(file) for file in files]
    if all(schema.equals(schemas[0]) for schema in schemas):
        return stated or datasets.Features.from_arrow_schema(schemas[0]), False
    joined = pa.unify_schemas(schemas, promote_options="permissive")
    return datasets.Features.from_arrow_schema(joined), True


def _load_columns(
    where: dict[str, Any], cache: PrivateCache, names: list[str], split: str, features: datasets.Features | None
) -> datasets.Dataset:
    typed = {} if features is None else {"features": features}
    return datasets.load_dataset(**where, columns=names, cache_dir=cache.name, split=split, **typed)


def _add_unread(dataset: datasets.Dataset | None, features: datasets.Features, rows: int) -> datasets.Dataset:
    """All columns in their order, those that were not read as nulls: pictures, and what is dropped or refused."""
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
    with _explaining(path):
        if (path / "dataset_dict.json").is_file():
            splits = json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
            _require_split(splits, str(path), options)
            folder = path / options.split
        if not any(folder.glob("*.arrow")):
            raise InputError(f"{folder} has no rows")
        loaded = datasets.load_from_disk(str(folder))
    if folder == path and loaded.split is not None:
        _require_split([str(loaded.split)], str(path), options)
    described = (path / "dataset_dict.json", folder / "state.json", folder / "dataset_info.json")
    return Rows(
        dataset=loaded,
        layout="a folder of save_to_disk",
        labels_from="column",
        root=path,
        also_read=tuple(file for file in described if file.is_file()),
        left_out=_list_others(splits, options),
    )


def open_hub(options: SourceOptions) -> Rows:
    """Read a dataset of the Hugging Face Hub, through the Hugging Face cache.

    Raises:
        InputError: it does not exist, cannot be reached, or cannot be read.
    """
    with _explaining(options.source):
        loaded = datasets.load_dataset(options.source)
    _require_split(loaded, options.source, options)
    return Rows(
        dataset=loaded[options.split],
        layout="a dataset of the Hugging Face Hub",
        labels_from="column",
        left_out=_list_others(loaded, options),
    )


def _list_others(splits: Iterable[str], options: SourceOptions) -> tuple[str, ...]:
    return tuple(str(name) for name in splits if str(name) != options.split)


def _require_split(splits: Iterable[str], source: str, options: SourceOptions) -> None:
    if options.split not in splits:
        names = ", ".join(str(name) for name in splits)
        raise InputError(f"{source} has no split {options.split!r}; choose one of {names} with --split")


@contextmanager
def _explaining(source: object) -> Iterator[None]:
    """Read through `datasets` in silence, and turn what it raises into one line."""
    bars, level = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    hub_level = hub_logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    hub_logging.set_verbosity(datasets.logging.CRITICAL)  # it passes on what a server says
    try:
        yield
    except (
        DatasetsError,
        HfHubHTTPError,
        pa.ArrowException,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
    ) as error:
        cause = error.__cause__ or error
        lines = (str(cause).strip() or type(cause).__name__).splitlines()
        if isinstance(cause, UnicodeDecodeError):
            lines = [f"it is not UTF-8 (byte {cause.start}); bring it there with iconv -f ENCODING -t UTF-8"]
        raise InputError(f"{source} cannot be read: {lines[0]}") from error
    finally:
        datasets.logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        if not bars:
            datasets.enable_progress_bars()
