"""The images of a reproduction: a draw of the source, as many of each class, in class folders."""

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR10

from rem_release.atomic_files import write_atomically
from rem_release.data.images.decoding import BadImage
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.reading import IMAGE_SUFFIXES
from rem_release.data.sources.saved import is_one_split
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.data.sources.walking import enumerate_names
from rem_release.errors import InputError
from rem_release.paths import check_path
from rem_release.release.canonical import canonical_bytes
from rem_release.reproduce.paper import Dataset
from rem_release.reproduce.torchvision_copies import KINDS, TorchvisionImages, find_copy, read_copy

HUB = {
    "cifar10": SourceOptions(source="uoft-cs/cifar10", image_column="img"),
    "cifar100": SourceOptions(source="uoft-cs/cifar100", image_column="img", label_column="fine_label"),
}
"""where the paper's data sets lie"""
_MOST_CLASSES = {"imagenet100": 100}
_TESTED = ("test", "val", "validation")
"""names of the split that victims are tested on, the first that is there"""
_UNFIT = ("has no split ", "has no label in ")
"""why a split is passed over; ImageNet's test images have no labels"""
_RECORD = "images.json"
_SEED = 0
_TABLE = 3_688
"""sum of the luminance table at quality 50"""


@dataclass(frozen=True)
class Draw:
    """The rows of both splits that are taken."""

    source: str
    splits: Mapping[str, Source | TorchvisionImages]
    """train and test"""
    rows: dict[str, list[int]]
    classes: list[str]
    """of which rows are taken"""
    tested: str = "test"
    """what the source calls the split that is tested on"""
    notes: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """What is taken."""
        count = {split: f"{len(rows):,}" for split, rows in self.rows.items()}
        taken = f"{count['train']} training and {count['test']} test images of {self.source}"
        return "; ".join([f"{taken}, {len(self.classes)} classes", *self.notes])

    def copy(self, folder: Path) -> str:
        """Write the images into class folders of train/ and test/, files as they are, and the rows beside them.

        What is there is left, a copy that a kill cut short is completed, and a file that was changed is mended.

        Returns:
            What is said of the images.

        Raises:
            InputError: the source changed since they were drawn, an image cannot be read, or not again from the copy.
        """
        names = {"train": "train", "test": self.tested}
        drawn: dict[str, Any] = {
            names[split]: {"rows": self.rows[split], "stamp": images.stamp()} for split, images in self.splits.items()
        }
        record, path = canonical_bytes({"source": self.source, "seed": _SEED, **drawn}), folder.parent / _RECORD
        if path.is_file() and path.read_bytes() != record:
            raise InputError(f"{self.source} is not what {path} was drawn from any more; name a new folder with --out")
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, record)
        kinds = {
            kind for split, images in self.splits.items() for kind in _copy(images, self.rows[split], folder / split)
        }
        self._check_copy(folder)
        return f"{self.words} ({', '.join(sorted(kinds))})"

    def _check_copy(self, folder: Path) -> None:
        """What arms and victims will read there is what was drawn."""
        for split, images in self.splits.items():
            there = open_source(SourceOptions(source=str(folder), split=split))
            for name in self.classes:
                wanted = sum(images.classes[images.class_ids[row]] == name for row in self.rows[split])
                found = int((there.class_ids == there.classes.index(name)).sum()) if name in there.classes else 0
                if found < wanted:
                    raise InputError(
                        f"{self.source}: images of class {name!r} cannot be read again from class folders, for their "
                        "name or their format; rename or convert them, and name a new folder with --out"
                    )
                if found > wanted:
                    raise InputError(f"{folder / split / name} has images that were not drawn; remove them")


def locate(dataset: Dataset, data: str | None) -> SourceOptions:
    """The source of a data set: what `--data` names, else the Hub's.

    Raises:
        InputError: there is none to be had without `--data`.
    """
    if data is not None:
        known = HUB.get(dataset, SourceOptions(source=data))
        return SourceOptions(source=data, label_column=known.label_column)
    if dataset not in HUB:
        raise InputError(f"{dataset}: give ImageNet, or its first 100 classes, in train/ and val/ or test/, as --data")
    return HUB[dataset]


def draw_images(
    options: SourceOptions,
    dataset: Dataset,
    train: int | None,
    test: int | None,
    torchvision_kinds: Mapping[Dataset, type[CIFAR10]] = KINDS,
) -> Draw:
    """Choose as many images of each class, and all of a class that has fewer, with a fixed seed; nothing is written.

    Args:
        options: the source; its splits are train, and test, val or validation.
        dataset: whose place it takes; of `imagenet100` the first 100 classes are taken, in the order of the labels,
            which is that of their names in class folders.
        train: how many training images, at least one of each class; None: all.
        test: how many test images, at least one of each class; None: all.
        torchvision_kinds: how torchvision reads its own copies.

    Raises:
        InputError: the source cannot be read, or a class has no image in one of the splits.
    """
    splits: dict[str, Any]
    own_first = [torchvision_kinds[name] for name in sorted(torchvision_kinds, key=lambda name: name != dataset)]
    if found := find_copy(check_path(options.source, "the source").resolve(), own_first):
        root, kind = found
        source, tested, splits = str(root / kind.base_folder), "test", read_copy(root, kind)
    else:
        splits = _open_splits(options)
        source, tested = splits["train"].options.source, splits["test"].options.split
    classes, notes = _choose_classes(source, splits, tested, _MOST_CLASSES.get(dataset))
    if tested != "test":
        notes.append(f"its split {tested} is tested on")
    rows = {}
    for split, kind_of_image, count in (("train", "training", train), ("test", "test", test)):
        rows[split], short = _draw(splits[split], classes, count)
        if short:
            notes.append(f"fewer {kind_of_image} images than wanted of {enumerate_names(short)}")
    return Draw(source, splits, rows, classes, tested, notes)


def _open_splits(options: SourceOptions) -> dict[str, Source]:
    if is_one_split(Path(options.source).expanduser()):
        raise InputError(f"{options.source} is one split; give a folder that holds one to train and one to test on")
    train, faults = _open(options, "train"), []
    for split in _TESTED:
        try:
            return {"train": train, "test": _open(options, split)}
        except InputError as error:
            if not any(words in str(error) for words in _UNFIT):
                raise
            faults.append(error)
    raise InputError(f"none of the splits {', '.join(_TESTED)} can be tested on: {faults[0]}")


def _open(options: SourceOptions, split: str) -> Source:
    """One split, with the data set's own column of labels where it has that; other columns are not needed."""
    options = replace(options, split=split)
    plain = replace(options, label_column=SourceOptions.label_column)
    for each in dict.fromkeys((options, plain)):
        with suppress(InputError):
            source = open_source(replace(each, keep_columns=()))
            return replace(source, options=replace(source.options, keep_columns=None))  # as earlier draws are stamped
    try:
        return open_source(plain)  # its refusal names all columns
    except InputError as error:
        if " --" not in str(error):
            raise
        raise InputError.again(f"{error} (those are options of protect; for reproduce, change the folder)") from None


def _choose_classes(
    source: str, splits: Mapping[str, Source | TorchvisionImages], tested: str, most: int | None
) -> tuple[list[str], list[str]]:
    """The classes with images, the first `most` of them, and what is said of those that are left out.

    Raises:
        InputError: one has no images in the other split, or a name that no folder can have.
    """
    found = {split: [images.classes[number] for number in _numbers(images)] for split, images in splits.items()}
    classes = found["train"][:most]
    is_cut = len(classes) < len(found["train"])
    missing = set(classes) - set(found["test"])
    if odd := sorted(missing if is_cut else missing | set(found["test"]) - set(classes)):
        raise InputError(f"{source}: class {odd[0]!r} is in one of the splits train and {tested} alone")
    for name in classes:
        if name != Path(name).name or name.startswith(".") or "\\" in name or "\0" in name:
            raise InputError(f"{source}: class {name!r} cannot be the name of a folder; rename it")
    return classes, [f"the first of its {len(found['train']):,} classes"] if is_cut else []


def _numbers(images: Source | TorchvisionImages) -> list[int]:
    """Of the classes that have images, in order."""
    return np.unique(images.class_ids[images.class_ids >= 0]).tolist()


def _draw(images: Source | TorchvisionImages, classes: list[str], count: int | None) -> tuple[list[int], list[str]]:
    """Numbers of rows, in their order, and the classes that have fewer than are wanted, with how many of how many."""
    each, rest = divmod(count or 0, len(classes))
    generator = np.random.default_rng(_SEED)
    chosen: list[int] = []
    short = []
    for number, name in enumerate(classes):
        rows = np.flatnonzero(images.class_ids == images.classes.index(name))
        wanted = len(rows) if count is None else max(1, each + (number < rest))
        if len(rows) < wanted:
            short.append(f"{name} ({len(rows)} of {wanted})")
        chosen += generator.permutation(rows)[:wanted].tolist()
    return sorted(chosen), short


def _copy(images: Source | TorchvisionImages, rows: list[int], folder: Path) -> set[str]:
    formats = set()
    for row in rows:
        try:
            data = images.image_bytes(row)
            image = Image.open(io.BytesIO(data))
        except (BadImage, OSError) as error:
            reason = error.reason if isinstance(error, BadImage) else "no image that can be read"
            raise InputError(f"{images.origin(row)} of the split {folder.name}: {reason}; mend or remove it") from None
        kind = str(image.format).lower()
        formats.add(
            f"JPEG of quality {_estimate_quality(image)}, not the original pixels" if kind == "jpeg" else kind.upper()
        )
        path = folder / images.classes[images.class_ids[row]] / f"{row:06d}{_suffix(kind)}"
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
    return formats


def _suffix(kind: str) -> str:
    """One that class folders of that format are recognised by."""
    usual = (suffix for suffix, name in Image.registered_extensions().items() if name.lower() == kind)
    return next((suffix for suffix in (f".{kind}", *usual) if suffix in IMAGE_SUFFIXES), f".{kind}")


def _estimate_quality(image: Image.Image) -> int:
    """The quality of libjpeg whose luminance table sums up to the file's (ITU-T T.81, Annex K); exact from 20 to 99."""
    scale = 100 * sum(image.quantization[0]) / _TABLE  # type: ignore[attr-defined]
    return round(100 - scale / 2 if scale <= 100 else 5000 / scale)
