"""How a SOURCE is recognised, and opened. Nothing is decoded here; how a file is decoded says `data/images/decoding`.

The first that fits, which stands in `Source.layout`:

1. *One Parquet file*, by its first bytes: the rows of the split that is asked for. A local path wins over a Hub id.
2. *A folder of `save_to_disk`*: `dataset_dict.json` or `state.json` is there. Other splits are left out.
3. *Images with metadata*: `metadata.csv`, `.jsonl` or `.parquet` in the folder of the split or in SOURCE; two of
   them are refused. A table whose files all lie in folders named like splits is one of splits. Images
   that it does not list are left out and counted by folder. One that lists none of the files of class folders beside
   it is a question; with `--layout` it is passed over. How a CSV is written: `csv_tables`.
4. *Parquet files* in SOURCE, its `data/` or SPLIT/, unless they lie beside class folders of images; or anywhere
   below, where README.md says where data lie or no image is there. Laid out in splits as `datasets` reads them; each
   split names its own classes. A shard that is missing by its name (`-of-00002`), a column that one file lacks,
   folders that stand for a column (`label=cat`), and several data sets (`en/train.parquet` beside `fr/train.parquet`,
   or `configs:` of README.md without a default) are refused. Images beside them are left out and counted by folder.
5. *Folders of images*. Their top folders are splits where all of them are named like splits (`split_names`), or
   SPLIT/ holds class folders; else they are the classes. A split may lie in one folder more of its name
   (`seg_train/seg_train`). It is a question, which `--layout` answers, where they could be either: `train` holds
   folders beside others that hold images, and none is named like another split; several of them hold the same folders
   (or one, where each holds several), or one of them others once more; where they are numbered pieces (`fold_0`,
   `part_1`); where one holds folders named like splits, unless each holds the same one alone; where one holds two
   folders of images and no image, and no other holds folders, or its name speaks of images or sets; where tables lie in
   them; where masks, boxes and their like lie in them or beside them (`companions` says how they are told); where all
   are called `images` and the like, or one and holds folders. A folder is a class; with `--label-from albums` the
   folder that directly holds a file is one; with `clusters` none is needed. Images at the top have no class and are
   refused; beside folders of splits they are left out and counted. Hidden files, system files, documents at the
   top (README, LICENSE, .csv, .txt ...), empty folders and, but for `--layout classes`, folders without a file that
   ends like an image, or has no suffix, beside such with one, are passed over and counted, with `--layout` also tables
   and archives at the top. What is one step away is named by `flat_folders`.
6. *A dataset of the Hugging Face Hub*, NAMESPACE/NAME, where no such path and no such folder for it exists.

A label is one of a ClassLabel, a text, a whole number (floats too), or a truth value. None may be missing or blank; -1
means that it is missing, unless 1 is the only other one. No two classes may differ in blanks around their names alone,
or in how letters are encoded. Where the options name no columns, the only column of images is taken, and the only one
whose name says that it holds labels (label, class, species ...). A release needs two classes.

A column that says that rows are of another split than the one they are read as is a question, which `--drop-column`
answers: `split_columns` says how one is told.
"""

import os
import re
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from rem_release.data.leaks.published_words import Kind, Word, list_words, name_classes, refuse_words
from rem_release.data.sources.flat_folders import explain_arrow
from rem_release.data.sources.folders import open_folder
from rem_release.data.sources.labels import (
    drop_columns,
    guess_columns,
    name_columns,
    read_classes,
    read_image_column,
    refuse_alike,
    refuse_one_hot,
    refuse_pixels,
    refuse_unwritable,
)
from rem_release.data.sources.metadata import ForeignTableError, find_metadata, open_metadata
from rem_release.data.sources.parquet_files import holds_parquet, is_parquet, open_parquet
from rem_release.data.sources.rows import Rows, SourceOptions
from rem_release.data.sources.saved import is_saved_dataset, open_hub, open_saved
from rem_release.data.sources.source import Source, require_two_classes
from rem_release.data.sources.split_columns import refuse_splits_in_column
from rem_release.data.sources.splits import join_splits, read_split_names, require_splits
from rem_release.errors import InputError
from rem_release.paths import check_path


def open_source(options: SourceOptions) -> Source:
    """Open a source and check everything that can be checked without decoding.

    Raises:
        InputError: no such path, split or column; no rows; labels that are not one class a row; fewer than two classes;
            a column that could carry clean pixels into the release.
    """
    names = read_split_names(options.split)
    for option, name in (("--image-column", options.image_column), ("--label-column", options.label_column)):
        if not name.isprintable() or not name:  # what is no Unicode is not printable
            raise InputError(f"{option} {name!r} is no name of a column; use letters")
    if options.image_column == options.label_column:
        raise InputError(f"--image-column and --label-column are both {options.image_column!r}")
    if not options.source:
        raise InputError("the source is empty; give a folder, a Parquet file, or a Hub id NAMESPACE/NAME")
    path = check_path(options.source, "the source")
    if path.exists():
        _require_text(path.resolve())
        options = replace(options, source=str(path.resolve()))
    elif not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", options.source) or path.parent.is_dir():
        raise InputError(f"{options.source} does not exist; give a folder, a Parquet file, or a Hub id NAMESPACE/NAME")
    elif alike := get_close_matches(
        path.parts[0], [place.name for place in Path().iterdir() if place.is_dir()], 1, 0.8
    ):
        raise InputError(f"{options.source} does not exist, and the folder {alike[0]} does; write its name as it is")
    options = replace(options, split="+".join(names))
    if len(names) > 1:
        require_splits(options)
    per_split = [_open_rows(replace(options, split=name)) for name in names]
    options = guess_columns(per_split[0].dataset.features, options)
    tables = drop_columns([each.dataset for each in per_split], options)
    per_split = [replace(each, dataset=table) for each, table in zip(per_split, tables, strict=True)]
    splits = {name: len(table) for name, table in zip(names, tables, strict=True)}
    for name, count in splits.items():
        if count == 0:
            raise InputError(f"{options.source} has no rows in split {name!r}")
    rows = join_splits(dict(zip(names, per_split, strict=True)), options) if len(names) > 1 else per_split[0]
    return _check(rows, splits, options)


def _require_text(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"the name of the source {os.fsencode(path)!r} is not UTF-8; rename it") from None


def _open_rows(options: SourceOptions) -> Rows:
    """One split."""
    path = Path(options.source)
    return _open_local(path, options) if path.exists() else open_hub(options)


def _open_local(path: Path, options: SourceOptions) -> Rows:
    if path.is_file():
        if path.suffix.lower() == ".arrow":
            raise InputError(*explain_arrow(path))
        if not is_parquet(path):
            raise InputError(f"{path} is one file and not Parquet; give the folder of images that it is in")
        return _open_table(open_parquet(path, options), options)
    if is_saved_dataset(path):
        return _open_table(open_saved(path, options), options)
    metadata = find_metadata(path, options)
    if metadata is not None:
        try:
            return _open_table(open_metadata(metadata, options), options)
        except ForeignTableError:
            if options.layout is None:
                raise
    if holds_parquet(path, options):
        return _open_table(open_parquet(path, options), options)
    return open_folder(path, options)


def _open_table(rows: Rows, options: SourceOptions) -> Rows:
    if options.label_from == "albums":
        raise InputError(
            f"{options.source} is read as a table, and --label-from albums takes a plain folder of folders"
        )
    return replace(rows, labels_from="clusters") if options.label_from == "clusters" else rows


def _check(rows: Rows, splits: dict[str, int], options: SourceOptions) -> Source:
    dataset = read_image_column(rows.dataset, options)
    needed = {options.image_column, options.label_column}
    refuse_words(list_words(dataset.features.to_dict(), splits), needed)
    refuse_splits_in_column(dataset, splits, options)
    refuse_pixels(dataset, needed)
    refuse_unwritable(dataset)
    if options.label_from == "clusters":
        if options.label_column in dataset.column_names:
            raise InputError(
                f"{options.source} has a column {options.label_column!r} already; "
                "give the clusters another name with --label-column, or use that column without --label-from"
            )
        refuse_words([Word(options.label_column, Kind.COLUMN)], needed)
        classes: list[str] = []
        class_ids = np.full(len(dataset), -1, np.int64)
    elif options.label_column not in dataset.column_names:
        refuse_one_hot(dataset, options)
        raise InputError(name_columns(dataset, options, options.label_column, "--label-column"))
    elif rows.class_ids is not None:
        classes, class_ids = list(dataset.features[options.label_column].names), rows.class_ids
    else:
        classes, class_ids = read_classes(dataset, options.label_column)
        refuse_words(name_classes(classes, options.label_column), needed)
    refuse_alike(classes, options.source)
    source = Source(
        options=options,
        dataset=dataset,
        image_column=options.image_column,
        label_column=options.label_column,
        layout=rows.layout,
        labels_from=rows.labels_from,
        classes=classes,
        class_ids=class_ids,
        splits=splits,
        left_out=rows.left_out,
        ignored=rows.ignored,
        unlisted=rows.unlisted,
        root=rows.root,
        origins=rows.origins,
        album_names=rows.album_names,
        cells=rows.cells,
        files=rows.files,
        also_read=rows.also_read,
        caches=rows.caches,
    )
    if options.label_from != "clusters":
        require_two_classes(source, class_ids)
    return source
