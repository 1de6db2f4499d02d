"""The images of a reproduction: a draw of the source, as many of each class, in class folders."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rem_release.atomic_files import write_atomically
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.errors import InputError
from rem_release.release.canonical import canonical_bytes
from rem_release.reproduce.paper import Dataset

HUB = {
    "cifar10": SourceOptions(source="uoft-cs/cifar10", image_column="img"),
    "cifar100": SourceOptions(source="uoft-cs/cifar100", image_column="img", label_column="fine_label"),
}
"""where the paper's data sets lie"""
_RECORD = "images.json"
_SEED = 0
_TABLE = 3_688
"""sum of the luminance table at quality 50"""


@dataclass(frozen=True)
class Draw:
    """The rows of both splits that are taken."""

    source: str
    splits: dict[str, Source]
    rows: dict[str, list[int]]

    def copy(self, folder: Path) -> str:
        """Write the images into class folders of train/ and test/, files as they are, and the rows beside them.

        What was written before is left, and a copy that a kill cut short is completed.

        Returns:
            What is said of the images.

        Raises:
            InputError: the source changed since they were drawn, or cannot be read any more.
        """
        drawn: dict[str, Any] = {
            split: {"rows": self.rows[split], "stamp": source.stamp()} for split, source in self.splits.items()
        }
        record, path = canonical_bytes({"source": self.source, "seed": _SEED, **drawn}), folder.parent / _RECORD
        if path.is_file() and path.read_bytes() != record:
            raise InputError(f"{self.source} is not what {path} was drawn from any more; name a new folder with --out")
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, record)
        kinds = {
            kind for split, source in self.splits.items() for kind in _copy(source, self.rows[split], folder / split)
        }
        count = {split: f"{len(rows):,}" for split, rows in self.rows.items()}
        said = ", ".join(sorted(kinds))
        return f"{count['train']} training and {count['test']} test images of {self.source} ({said})"


def locate(dataset: Dataset, data: str | None) -> SourceOptions:
    """The source of a data set: what `--data` names, else the Hub's.

    Raises:
        InputError: there is none to be had without `--data`.
    """
    if data is not None:
        return SourceOptions(source=data)
    if dataset not in HUB:
        raise InputError(f"{dataset}: give a folder of its first 100 classes, with train/ and test/, as --data")
    return HUB[dataset]


def draw_images(options: SourceOptions, train: int | None, test: int | None) -> Draw:
    """Choose as many images of each class, with a fixed seed; nothing is written.

    Args:
        options: the source; its splits are train and test.
        train: how many training images; None: all.
        test: how many test images; None: all.

    Raises:
        InputError: the source cannot be read, or has too few images of a class.
    """
    splits = {split: open_source(replace(options, split=split)) for split in ("train", "test")}
    _check_classes(options.source, splits["train"].classes, splits["test"].classes)
    rows = {split: _draw(splits[split], count) for split, count in (("train", train), ("test", test))}
    return Draw(splits["train"].options.source, splits, rows)


def _check_classes(source: str, classes: list[str], others: list[str]) -> None:
    """Refuse what victims cannot be tested on, and names that no folder can have."""
    if set(classes) != set(others):
        odd = sorted(set(classes) ^ set(others))[0]
        raise InputError(f"{source}: class {odd!r} is in one of the splits train and test alone")
    for name in classes:
        if name != Path(name).name or name.startswith(".") or "\\" in name or "\0" in name:
            raise InputError(f"{source}: class {name!r} cannot be the name of a folder; rename it")


def _draw(source: Source, count: int | None) -> list[int]:
    """Numbers of rows, in their order."""
    if count is None:
        return list(range(len(source)))
    each, rest = divmod(count, len(source.classes))
    generator = np.random.default_rng(_SEED)
    chosen: list[int] = []
    for number in range(len(source.classes)):
        rows = np.flatnonzero(source.class_ids == number)
        wanted = each + (number < rest)
        if len(rows) < wanted:
            raise InputError(
                f"{source.options.source}: class {source.classes[number]!r} has {len(rows)} images in the split "
                f"{source.options.split}, and {wanted} are needed"
            )
        chosen += generator.permutation(rows)[:wanted].tolist()
    return sorted(chosen)


def _copy(source: Source, rows: list[int], folder: Path) -> set[str]:
    formats = set()
    for row in rows:
        data = source.image_bytes(row)
        image = Image.open(io.BytesIO(data))
        kind = str(image.format).lower()
        formats.add(
            f"JPEG of quality {_estimate_quality(image)}, not the original pixels" if kind == "jpeg" else kind.upper()
        )
        path = folder / source.classes[source.class_ids[row]] / f"{row:06d}.{kind}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
    return formats


def _estimate_quality(image: Image.Image) -> int:
    """The quality of libjpeg whose luminance table sums up to the file's (ITU-T T.81, Annex K); exact from 20 to 99."""
    scale = 100 * sum(image.quantization[0]) / _TABLE  # type: ignore[attr-defined]
    return round(100 - scale / 2 if scale <= 100 else 5000 / scale)
