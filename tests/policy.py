"""What a folder is taken for, coded a second time from the page of policy alone; nothing of rem_release is imported.

The page: the docstrings of `opening.py` and `decoding.py`, README's "Protect your own images", and `split_names.py`.
Left out: Parquet files of images, `save_to_disk`, the Hub, clusters. What the page does not say is marked SILENT.
"""

import csv
import io
import json
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tests.policy_pixels import MayRefuse, Refused, decode


@dataclass(frozen=True)
class Refusal:
    """The whole folder is refused, or its owner is asked."""

    words: str


class _Refuse(Exception):  # noqa: N818 - becomes a Refusal
    pass


class _Foreign(_Refuse):
    """A table of other images beside class folders, which `--layout` passes over."""


@dataclass(frozen=True)
class Row:
    origin: str
    label: str | None
    """None for a file that is in no class folder, which is refused"""
    path: Path

    def pixels(self) -> np.ndarray | Refusal | MayRefuse:
        """What the file shows."""
        if self.label is None:
            return Refusal("is in no class folder")
        if not self.path.is_file():
            return Refusal("no such file")
        try:
            return decode(self.path.read_bytes())
        except MayRefuse as rare:
            return rare
        except Refused as refused:
            return Refusal(str(refused))


@dataclass(frozen=True)
class Expected:
    rows: list[Row]
    splits: dict[str, int]
    left_out: set[str] = field(default_factory=set)
    classes: list[str] = field(default_factory=list)


def expected(
    folder: Path, split: str = "train", layout: str | None = None, label_from: str | None = None
) -> Expected | Refusal:
    """Say what this folder is by the page, or why it is none."""
    try:
        names = sorted(split.split("+"))
        if not all(re.fullmatch(r"\w+(\.\w+)*", name) for name in names):
            return Refusal("no name of a split")  # SILENT
        if len(names) > 1 and label_from == "albums":
            return Refusal("albums of several splits")  # SILENT
        parts = {name: _one_split(folder, name, layout, label_from) for name in names}
    except _Refuse as refused:
        return Refusal(str(refused))
    several = len(names) > 1
    if several and len({found.chosen for found in parts.values()}) < len(names):
        return Refusal("one folder is not two splits")
    if len({found.table for found in parts.values()}) > 1:
        return Refusal("splits of several kinds")  # SILENT
    if several and len({type(label) for found in parts.values() for _, label, _ in found.rows if label}) > 1:
        return Refusal("labels of several types")
    rows: list[tuple[str, object, Path]] = []
    for name, found in parts.items():
        prefix = f"{name}/" if several and not found.whole else ""
        rows += [(f"{prefix}{origin}", label, path) for origin, label, path in found.rows]
    labels = {label for _, label, _ in rows if label is not None}
    if len(labels) < 2:
        return Refusal("fewer than two classes")
    if len({unicodedata.normalize("NFC", str(label)).strip() for label in labels}) < len(labels):
        return Refusal("classes that differ in blanks or encoding alone")
    chosen = {found.chosen for found in parts.values()}
    return Expected(
        rows=[Row(origin, None if label is None else str(label), path) for origin, label, path in rows],
        splits={name: len(found.rows) for name, found in parts.items()},
        left_out={name for found in parts.values() for name in found.others} - chosen,
        classes=[str(label) for label in sorted(labels)],  # type: ignore[type-var]
    )


@dataclass(frozen=True)
class _Found:
    rows: list[tuple[str, object, Path]]
    chosen: str = ""
    """the folder of the split"""
    others: tuple[str, ...] = ()
    """folders that are splits, too, and stay out"""
    table: bool = False
    whole: bool = False
    """a table of all splits, whose names of files begin with their folders"""


def _one_split(folder: Path, split: str, layout: str | None, label_from: str | None) -> _Found:
    for place, table in _tables(folder, split, layout):
        if label_from == "albums":
            raise _Refuse("a table, and albums take folders")
        try:
            return _table(folder, place, table, split, layout)
        except _Foreign:
            if layout is None:
                raise
    return _albums(folder, split, layout) if label_from == "albums" else _folders(folder, split, layout)


# --- names

_SPLITS = {
    "train": "train training trn trainset 训练 训练集 学習 訓練 학습 훈련 обучение "
    "treino treinamento entrenamiento entrainement apprentissage",
    "validation": "val valid validation validate dev eval evaluation valset 验证 验证集 検証 검증 "
    "validacao validacion валидация",
    "test": "test testing tests tst testset holdout 测试 测试集 テスト 테스트 тест teste testes prueba pruebas",
}
_BESIDE = (
    *("seg", "set", "data", "dataset", "split", "image", "images", "img", "imgs", "photo", "photos", "picture"),
    *("pictures", "pics", "files", "folder"),
)
_MEANINGS = {word: split for split, words in _SPLITS.items() for word in words.split()}


def _words(name: str) -> list[str]:
    """Words of a name in lower case: runs of letters, which a capital letter before small ones begins anew."""
    plain = "".join(letter for letter in unicodedata.normalize("NFD", name) if not "\u0300" <= letter <= "\u036f")
    name = unicodedata.normalize("NFC", plain)
    words, before = [""], ""
    for at, letter in enumerate(name):
        kind = "a" if letter.isascii() and letter.islower() else "A" if letter.isascii() and letter.isupper() else ""
        kind = kind or ("w" if letter.isalpha() or unicodedata.category(letter)[0] == "N" else "")
        if letter.isdecimal():
            kind = "1"
        humps = kind == "A" and before == "A" and name[at + 1 : at + 2].isascii() and name[at + 1 : at + 2].islower()
        if humps or (kind != before and (before, kind) != ("A", "a")):
            words.append("")
        if kind and kind != "1":
            words[-1] += letter
        before = kind
    return [word.lower() for word in words if word]


def meaning(name: str) -> str | None:
    """The split that a folder is named after."""
    words = _words(name)
    said = {_MEANINGS[word] for word in words if word in _MEANINGS}
    return said.pop() if len(said) == 1 and all(word in _MEANINGS or word in _BESIDE for word in words) else None


def _hints(name: str) -> set[str]:
    return {_MEANINGS[word] for word in _words(name) if word in _MEANINGS}


# --- files

_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "icon\r", "@eadir", "__macosx"}
"""SILENT: README names three; the others are in the tests"""


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FILES or name.endswith(("~", ".lnk"))


def _files(folder: Path) -> list[tuple[str, ...]]:
    """Parts of every path below, in order, part by part (SILENT); folders without files do not exist (SILENT)."""
    found: list[tuple[str, ...]] = []
    for entry in folder.iterdir():
        if not _hidden(entry.name):
            below = _files(entry) if entry.is_dir() else [()]
            found += [(entry.name, *parts) for parts in below]
    return sorted(found)


def _pick(tops: list[str], split: str) -> str:
    """The folder of a split: of its exact name, else the one that is named after it."""
    fitting = [split] if split in tops else [top for top in tops if meaning(top) == split]
    if len(fitting) != 1:
        raise _Refuse(f"{len(fitting)} folders for the split {split!r}")
    return fitting[0]


# --- folders of images


_DOCUMENTS = (".md", ".txt", ".csv", ".json", ".jsonl", ".yaml", ".xml", ".html", ".pdf", ".py")
_IMAGES = {"image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "jpeg", "jpg", "png"}
_BESIDE_THEM = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "bboxes", "boxes", "keypoints", "segmentation"),
    *("segmentations", "groundtruth", "gt", "depth", "captions", "trimap", "trimaps", "segmim", "saliency", "thumbs"),
    *("thumbnails", "overlays", "heatmaps"),
}
_NEUTRAL = {"tr", "ts", "va", "left", "right", "bit", "fine", "coarse", "class", "object", "raw", "set", "sets", "all"}


def _folders(folder: Path, split: str, layout: str | None) -> _Found:
    files = _files(folder)
    inside = _inside(folder)
    if not files:
        raise _Refuse("holds no files")
    present = [entry.name for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry.name)]
    if layout == "splits" or (layout is None and present and all(map(meaning, present))):
        return _split_folder(folder, _pick(present, split), present, layout)
    if layout is None and inside.get(split):
        if split == "train" and not any(meaning(name) in ("validation", "test") for name in present):
            plain = [name for name in present if meaning(name) is None and not _part(name)]
            if any(
                entry.name.lower().endswith(_SUFFIXES)
                for name in plain
                for entry in (folder / name).iterdir()
                if not _hidden(entry.name)
            ):
                raise _Refuse("a split or a class")
        return _split_folder(folder, split, present, layout)
    if split != "train":
        raise _Refuse("no such split")
    if layout is None:
        _refuse_one(folder)
        _refuse_doubt(folder)
    return _Found(_class_folders(folder, layout))


def _inside(folder: Path) -> dict[str, set[str]]:
    """The folders in a folder that hold files, and those in each of them."""
    inside: dict[str, set[str]] = {}
    for parts in _files(folder):
        if len(parts) > 1:
            inside.setdefault(parts[0], set()).update(parts[1:2] if len(parts) > 2 else ())
    return inside


def _split_folder(folder: Path, top: str, tops: list[str], layout: str | None) -> _Found:
    """The folders of one split are classes; origins are told from it (SILENT, and another docstring says otherwise)."""
    root = folder / top
    entries = [entry for entry in root.iterdir() if not _hidden(entry.name)]
    if len(entries) == 1 and _holds_folders(entries[0]) and meaning(entries[0].name) in (meaning(top), top):
        root = entries[0]
    _refuse_one(root)
    _refuse_doubt(root)
    return _Found(_class_folders(root, layout), top, tuple(name for name in tops if name != top))


def _holds_folders(path: Path) -> bool:
    return path.is_dir() and any(entry.is_dir() and not _hidden(entry.name) for entry in path.iterdir())


def _refuse_one(folder: Path) -> None:
    entries = [entry for entry in folder.iterdir() if not _hidden(entry.name)]
    entries = [entry for entry in entries if entry.is_dir() or not entry.name.lower().endswith(_DOCUMENTS)]
    if len(entries) == 1 and _holds_folders(entries[0]):
        raise _Refuse("one folder around all")


def _class_folders(folder: Path, layout: str | None) -> list[tuple[str, object, Path]]:
    files = _files(folder)
    if layout != "classes":
        if any(len(parts) > 1 and parts[-1] in _TABLES for parts in files):
            raise _Refuse("a table in a class folder")
        _refuse_pairs([parts for parts in files if len(parts) > 1])
    kept = [p for p in files if len(p) > 1 or not p[0].lower().endswith(_DOCUMENTS)]
    deep = [p for p in kept if len(p) > 1]
    if layout != "classes" and any(p[-1].lower().endswith(_SUFFIXES) for p in deep):
        alive = {p[0] for p in deep if p[-1].lower().endswith(_SUFFIXES) or "." not in p[-1]}
        kept = [p for p in kept if len(p) == 1 or p[0] in alive]
    if not any(len(parts) > 1 for parts in kept):
        raise _Refuse("no class folders")
    return [("/".join(p), p[0] if len(p) > 1 else None, folder.joinpath(*p)) for p in kept]


def _part(name: str) -> str:
    """Whether a folder is named after images, or after what belongs to them."""
    words = set(_words(name)) - _NEUTRAL
    if {"ground", "truth"} <= words:
        words = words - {"ground", "truth"} | {"groundtruth"}
    known = {*_BESIDE, *_MEANINGS}
    if words & _BESIDE_THEM and words <= _BESIDE_THEM | _IMAGES | known:
        return "beside"
    return "images" if words & _IMAGES and words <= _IMAGES | known else ""


def _refuse_doubt(folder: Path) -> None:
    tops = [entry.name for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry.name)]
    parts = [_part(top) for top in tops]
    sides = {
        side
        for top in tops
        for side in [[word for word in _words(top) if word in ("left", "right")][:1]]
        for side in side or [""]
    }
    are_one = bool(parts) and all(parts) and "images" in parts and ("beside" in parts or len(sides) < 2)
    asked = [(top, part) for top, part in zip(tops, parts, strict=True) if part != "images"]
    if are_one or (any(parts) and any(_belongs(folder, top, part) for top, part in asked)):
        raise _Refuse("images and what belongs to them")
    if len(tops) < 2:
        return
    if len(set().union(*map(_hints, tops))) > 1 or any(meaning(top) and _holds_folders(folder / top) for top in tops):
        raise _Refuse("named like splits")
    inner = [_within(folder / top) for top in tops]
    shared = {name for names in inner for name in names if sum(name in other for other in inner) > 1}
    if len(shared) > 1 or (shared and all(len(names) > 1 for names in inner)):
        raise _Refuse("several hold the same folders")
    for top, names in zip(tops, inner, strict=True):
        if set(names) & (set(tops) - {top}) or (names and _part(top) == "images"):
            raise _Refuse("others once more, or images with folders")
    are_numbered = all(any(map(str.isdecimal, top)) for top in tops)
    _refuse_around(folder, tops)
    if len({tuple(_words(top)) for top in tops}) == 1 and are_numbered and set(_words(tops[0])) & _PIECES:
        raise _Refuse("pieces of one set")


def _refuse_around(folder: Path, tops: list[str]) -> None:
    """One folder of several may hold the splits, or the classes."""
    inner = {
        top: [entry for entry in (folder / top).iterdir() if entry.is_dir() and not _hidden(entry.name)] for top in tops
    }
    meant = [{meaning(entry.name) for entry in entries if meaning(entry.name)} for entries in inner.values()]
    if any(meant) and not (all(meant) and all(each == meant[0] and len(each) == 1 for each in meant)):
        raise _Refuse("splits in a class")
    if any(len({said for entry in entries for said in _hints(entry.name)}) > 1 for entries in inner.values()):
        raise _Refuse("splits in a class")
    around = []
    for top, entries in inner.items():
        images = [any(name[-1].lower().endswith(_SUFFIXES) for name in _files(entry)) for entry in entries]
        own = [parts for parts in _files(folder / top) if len(parts) == 1 and parts[0].lower().endswith(_SUFFIXES)]
        if sum(images) > 1 and not own:
            around.append(top)
    if any(set(_words(top)) & _AROUND for top in around):
        raise _Refuse("classes in a class")
    if len(around) == 1 and not any(entries for top, entries in inner.items() if top != around[0]):
        raise _Refuse("classes in a class")


_AROUND = {"image", "images", "img", "imgs", "photo", "photos", "data", "dataset", "datasets", "set", "sets"}
_PIECES = {"fold", "folds", "part", "parts", "batch", "shard", "chunk", "split", "subset", "section"}
_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2")


def _belongs(folder: Path, top: str, side: str) -> bool:
    """The files have the names of images in folders of another kind, at least half of them, or are no images."""
    images = [parts for parts in _files(folder) if len(parts) > 1 and parts[-1].lower().endswith(_SUFFIXES)]
    own = [parts[-1] for parts in images if parts[0] == top]
    if side == "beside":
        others = {_bare(parts[-1]) for parts in images if not set(_numbered_words(parts[0])) & _BESIDE_THEM}
    else:
        loose = {"photo", "photos", "picture", "pictures", "jpg", "jpeg", "png"}
        right = [parts for parts in images if len(parts) == 2 and _part(parts[0]) == "images"]
        others = {_bare(parts[-1]) for parts in right if not set(_numbered_words(parts[0])) <= loose}
    known = [_bare(name) in others or _bare(_cut(name, _marks(name))) in others for name in own]
    return 2 * sum(known) >= len(own) and bool(own or side)


def _marks(name: str) -> set[str]:
    return COMPANION_WORDS if set(_numbered_words(_stem(name))) & COMPANION_WORDS else _IMAGE_FILES


# --- masks

COMPANION_WORDS = _BESIDE_THEM | {
    *("seg", "anno", "annot", "lbl", "bbox", "overlay", "heatmap", "masked", "maskcrop", "depthcrop", "depthmap"),
    *("parts", "roi", "contour", "contours", "masque", "thumb", "thumbnail"),
}
_IMAGE_FILES = _IMAGES | {"rgb", "original"}


def _numbered_words(name: str) -> list[str]:
    """Words and numbers, in order; "ground" and "truth" are one word."""
    out: list[str] = []
    for piece in re.findall("[0-9]+|[^0-9]+", unicodedata.normalize("NFD", name)):
        out += [piece] if piece.isdecimal() else _words(piece)
    both = {"ground", "truth"} <= set(out)
    return [word for word in out if word not in ("ground", "truth")] + ["groundtruth"] if both else out


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0] if name.rfind(".") > 0 else name


def _bare(name: str) -> tuple[str, ...]:
    drop = COMPANION_WORDS | _IMAGE_FILES | _NEUTRAL
    return tuple(word for word in _numbered_words(_stem(name)) if word not in drop)


def _cut(name: str, marks: set[str]) -> str:
    """What stands before the first of these words; all of it where there is none, or nothing before it."""
    words = _numbered_words(_stem(name))
    at = next((at for at, word in enumerate(words) if word in marks), 0)
    return " ".join(words[:at]) + ".x" if at else name


def _refuse_pairs(files: list[tuple[str, ...]]) -> None:
    def speaks(parts: tuple[str, ...]) -> tuple[int, bool]:
        own = bool(set(_numbered_words(_stem(parts[-1]))) & COMPANION_WORDS)
        return own + sum(bool(set(_numbered_words(name)) & _BESIDE_THEM) for name in parts[:-1]), own

    def folders(parts: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        drop = _BESIDE_THEM | _IMAGES | _NEUTRAL
        bare = [tuple(word for word in _numbered_words(name) if word not in drop) for name in parts[:-1]]
        return tuple(name for name in bare if name)

    said: dict[object, list[int]] = {}
    for parts in files:
        count, own = speaks(parts)
        marks = COMPANION_WORDS if own else _IMAGE_FILES
        bare = _bare(parts[-1])
        keys: list[object] = [(folders(parts), name) for name in (bare, _bare(_cut(parts[-1], marks)))]
        if not own:
            keys.append(("anywhere", bare))
            keys += [(folders(parts), bare[:-1])] if len(bare) > 1 and not bare[-1].isdigit() else []
        for key in keys:
            said.setdefault(key, []).append(count)
    for parts in files:
        count, own = speaks(parts)
        marks = COMPANION_WORDS if own else _IMAGE_FILES
        names = (_bare(parts[-1]), _bare(_cut(parts[-1], marks)))
        keys = [(folders(parts), name) for name in names] + [("anywhere", name) for name in names if own]
        if any(min(said.get(key, [count])) < count for key in keys):
            raise _Refuse("masks beside their images")
    images = [parts for parts in files if parts[-1].lower().endswith(_SUFFIXES)]
    names_only = [(*parts[:-1], _stem(parts[-1])) for parts in images]
    if 4 * (len(images) - len(set(names_only))) >= len(images) > 2:
        raise _Refuse("two formats of the same images")


def _within(folder: Path) -> list[str]:
    names = [entry.name for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry.name)]
    return _within(folder / names[0]) if len(names) == 1 and _part(names[0]) == "images" else names


def _albums(folder: Path, split: str, layout: str | None) -> _Found:
    """SILENT: `train` is a split of albums only where all folders are named like one and nothing lies beside them."""
    files = _files(folder)
    tops = sorted({parts[0] for parts in files if len(parts) > 1})
    chosen, others = "", ()
    if layout == "splits" or (layout is None and all(meaning(top) for top in tops) and all(len(p) > 1 for p in files)):
        chosen = _pick(tops, split)
        others, files = tuple(top for top in tops if top != chosen), _files(folder / chosen)
    elif layout is None and split != "train" and any(parts[0] == split and len(parts) > 2 for parts in files):
        chosen, others, files = split, tuple(top for top in tops if top != split), _files(folder / split)
    elif split != "train":
        raise _Refuse("no such split")
    if layout != "classes":
        _refuse_pairs(files)
    names = {album: f"album-{number:03d}" for number, album in enumerate(sorted({parts[:-1] for parts in files}))}
    return _Found(
        [("/".join(parts), names[parts[:-1]], (folder / chosen).joinpath(*parts)) for parts in files], chosen, others
    )


# --- metadata

_TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_MISSING = {
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
}
"""what pandas reads as nothing; README names `NA` alone"""


def _tables(folder: Path, split: str, layout: str | None) -> list[tuple[str, Path]]:
    tops = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry.name))
    spelled = [top for top in tops if meaning(top) == split] if all(map(meaning, tops)) else []  # SILENT
    own = [split] if split in tops and layout != "classes" else spelled if layout != "classes" else []
    places = [*(own if len(own) == 1 else []), ""]
    found = [(at, folder / at / name) for at in places for name in _TABLES if (folder / at / name).is_file()]
    if len(found) > 1:
        raise _Refuse("two tables")
    return found


def _read(path: Path) -> tuple[list[str], list[dict[str, object]]]:
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return table.column_names, table.to_pylist()
    data = path.read_bytes()
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")  # SILENT, like semicolons
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise _Refuse("no UTF-8") from None
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        return list(dict.fromkeys(name for row in rows for name in row)), rows
    if said := re.match(r"sep=(.)\r?\n", text):
        text = text[said.end() :]
    first = text.split("\n", 1)[0]
    naming = [mark for mark in ",;\t|" if "file_name" in [name.strip(' "') for name in first.split(mark)]]
    mark = said[1] if said else max(naming or ",;\t|", key=first.count)
    read = csv.reader(io.StringIO(text.rstrip("\x1a"), newline=""), delimiter=mark, skipinitialspace=True, strict=True)
    try:
        names, *lines = [line for line in read if line] or [[]]
    except csv.Error:
        raise _Refuse("a quote where none may be") from None
    if not lines:
        raise _Refuse("no rows")
    while names and not names[-1]:
        names.pop()
    if len({name.strip() for name in names}) < len(names) or any(any(line[len(names) :]) for line in lines):
        raise _Refuse("two columns of one name, or a row of more fields")
    filled = ([*line, *[""] * len(names)] for line in lines)
    rows = [dict(zip(names, line, strict=False)) for line in filled]
    return names, [{n: None if not str(v).strip() or v in _MISSING else v for n, v in row.items()} for row in rows]


def _label(value: object) -> object:
    """One of a text, a whole number, or a truth value."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise _Refuse("no label")
    if isinstance(value, float):
        if not value.is_integer():
            raise _Refuse("no class")
        return int(value)
    if not isinstance(value, str | int):
        raise _Refuse("no label at all")
    return value


def _table(folder: Path, place: str, table: Path, split: str, layout: str | None) -> _Found:
    names, records = _read(table)
    others = [name for name in names if name != "file_name"]
    spoken = [name for name in others if "label" in name.lower() or name == "species"]  # SILENT on the names
    column = "label" if "label" in others else spoken[0] if len(spoken) == 1 else ""
    beside = _class_folders_beside(folder / place)
    if "file_name" not in names:
        raise (_Foreign if beside else _Refuse)("no such column")
    listed: list[tuple[str, object]] = []
    for record in records:
        name = record.get("file_name")
        if not isinstance(name, str) or not name:
            raise _Refuse("no name of a file")
        name = name.replace("\\", "/") if table.suffix == ".csv" else name  # SILENT on paths of Windows
        if name.startswith("/") or ".." in name.split("/"):
            raise _Refuse("leads out of the folder")
        listed.append((name, record.get(column)))
    if beside and listed and not any((folder / place / name).exists() for name, _ in listed):
        raise _Foreign("a table of other images")
    if not column:
        raise _Refuse("no such column")
    for name, value in listed:  # SILENT: in the other splits of the table, too
        if any(_parts(other) == _parts(name) and label != value for other, label in listed):
            raise _Refuse("a file with two labels")
    chosen, left = place, ()
    tops = [_parts(name)[0] if len(_parts(name)) > 1 else "" for name, _ in listed]
    if not place and layout != "classes" and tops and all(meaning(top) for top in tops):
        chosen = _pick(sorted(set(tops)), split)
        left = tuple(sorted(set(tops) - {chosen}))
        listed = [row for row, top in zip(listed, tops, strict=True) if top == chosen]
    elif layout is None and len({meaning(part) for name, _ in listed for part in _parts(name)[:-1]} - {None}) > 1:
        raise _Refuse("folders of several splits beside others")  # SILENT
    elif not place and split != "train":
        raise _Refuse("a table is of the split train")
    elif place:
        left = tuple(sorted({parts[0] for parts in _files(folder) if len(parts) > 1} - {place}))
    texts = [value for _, value in listed]
    if table.suffix == ".csv" and all(
        isinstance(text, str) and re.fullmatch("-?[1-9][0-9]*|0", text) for text in texts
    ):
        texts = [int(text) for text in texts]  # SILENT: without a 0 before them they are numbers, and -1 is none
    labels = [_label(value) for value in texts]
    if -1 in labels and set(labels) != {-1, 1}:
        raise _Refuse("no label")
    if len({type(label) for label in labels}) > 1:
        raise _Refuse("labels of several types")
    rows = [(name, label, folder / place / name) for (name, _), label in zip(listed, labels, strict=True)]
    return _Found(rows, chosen, left, table=True, whole=not place)


def _class_folders_beside(folder: Path) -> bool:
    """Several folders of images, here or in a folder that is named like a split."""
    tops = [entry for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry.name)]
    places = [folder, *(top for top in tops if meaning(top.name))]
    return any(len({p[0] for p in _files(at) if len(p) > 1 and p[-1].lower().endswith(_SUFFIXES)}) > 1 for at in places)


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.split("/") if part not in ("", "."))
