"""Folders of images, drawn at random for hypothesis: path -> bytes, and the options to read them with."""

import csv
import io
import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tests.drawn_files import chunk

Draw = st.DrawFn
Files = dict[str, bytes]


def encode_level(level: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes([0, level, 7]))) + chunk(b"IEND", b"")


@dataclass(frozen=True)
class Drawn:
    files: tuple[tuple[str, bytes], ...]
    split: str = "train"
    layout: str | None = None
    label_from: str | None = None

    def write(self, root: Path) -> None:
        for number, (name, data) in enumerate(self.files):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if data else encode_level(number % 256))


CLASSES = [
    "cat",
    "dog",
    "Cat",
    "ähre",
    "a\u0308hre",
    "寺",
    "a b",
    "[x]*",
    "10",
    "9",
    "001",
    "a-b",
    "a.b",
    "fold_0",
    "2019",
]
SPLITS = ["train", "test", "val", "Training", "Testing", "seg_train", "val2017", "TRAIN", "dev", "validation", "训练集"]
SPLITS += ["train_images", "TestSet", "imagesTest", "Train"]
DOUBTFUL = [
    "trainA",
    "train_cats",
    "trainer",
    "images",
    "masks",
    "Images",
    "labels",
    "samples",
    "unlabeled",
    "train_test",
]
HIDDEN = [".DS_Store", "Thumbs.db", "desktop.ini", "._1.png", "1.png~", "x.lnk", "Picasa.ini", ".git/x", "@eaDir/t.jpg"]
HIDDEN += ["__MACOSX/1.png", ".hidden/a/1.png", "Icon\r"]
LEAVES = [
    "1.png",
    "2.png",
    "10.png",
    "b.JPG",
    "a b.png",
    "[1]*.png",
    "ü ö.png",
    "no suffix",
    "deep/1.png",
    "deep-2.png",
]
LEAVES += ["deep/er/2.png", "deep/1.png", "#1?.png", "-1.png", "deep.png"]
MASKED = ["1.png", "1_mask.png", "1_mask_2.png", "mask_1.png", "1_image.png", "masks/1.png", "images/1.png", "mask.png"]
MASKED += [
    "image.png",
    "a_leftImg8bit.png",
    "a_gtFine_labelIds.png",
    "ground truth/1.png",
    "2.seg.png",
    "2_rgb.png",
    "1.txt",
]
MASK_FOLDERS = [
    "cat",
    "cat_masks",
    "cat images",
    "mask",
    "no_mask",
    "masks",
    "images",
    "left_images",
    "right_images",
    "gt",
]


def names(*pools: list[str], least: int, most: int) -> st.SearchStrategy[list[str]]:
    return st.one_of([st.lists(st.sampled_from(pool), min_size=least, max_size=most, unique=True) for pool in pools])


@st.composite
def class_folders(draw: Draw, top: str = "") -> Files:
    pools = (CLASSES, CLASSES, [*CLASSES, *DOUBTFUL], [*DOUBTFUL, *SPLITS], MASK_FOLDERS)
    inner = draw(names(*pools, least=1, most=4))
    found = {f"{top}{name}/{leaf}" for name in inner for leaf in draw(names(LEAVES, LEAVES, MASKED, least=1, most=3))}
    return dict.fromkeys(found, b"")


@st.composite
def folders(draw: Draw) -> Drawn:
    """Folders of classes, splits, both, or neither."""
    files: Files = {}
    kind = draw(st.sampled_from(["classes", "splits", "same", "mixed"]))
    if kind == "classes":
        files |= draw(class_folders())
    elif kind == "same":
        inner = draw(names(CLASSES, least=1, most=3))
        for top in draw(names(CLASSES, SPLITS, [*SPLITS, *DOUBTFUL, "cat"], least=1, most=3)):
            files |= dict.fromkeys((f"{top}/{name}/1.png" for name in inner), b"")
    else:
        pool = SPLITS if kind == "splits" else [*SPLITS, *DOUBTFUL, *CLASSES]
        for top in draw(names(pool, least=1, most=3)):
            files |= draw(class_folders(f"{top}/")) if draw(st.integers(0, 3)) else {f"{top}/1.png": b""}
    folders_of = sorted({str(Path(name).parent) for name in files} | {"."})
    for _ in range(draw(st.integers(0, 2))):
        files[f"{draw(st.sampled_from(folders_of))}/{draw(st.sampled_from(HIDDEN))}"] = b"hidden"
    if draw(st.integers(0, 5)) == 0:
        files[draw(st.sampled_from(["stray.png", "README.md"]))] = draw(st.sampled_from([b"", b"text"]))
    tops = sorted({name.split("/")[0] for name in files})
    split = draw(st.sampled_from(["train"] * 4 + ["test", "validation", "train+test", *tops]))
    layout = draw(st.sampled_from([None, None, None, "splits", "classes"]))
    return Drawn(tuple(files.items()), split, layout, draw(st.sampled_from([None, None, None, "albums"])))


# --- metadata

LABELS: dict[str, list[object]] = {
    "text": ["cat", "dog", "a b", "ä", 'q"q', "x,y", "x;y", " pad", "CAT", "寺"],
    "number": [0, 1, 2, 10, 9, -2],
    "float": [0.0, 1.0, 2.0, 10.0],
    "truth": [True, False],
    "code": ["001", "1", "1e0", "TRUE", "1.0", "#x"],
    "odd": ["cat", "dog", "", " ", "NA", "None", "nan", "null", "-1"],
    "hole": ["cat", "dog", None],
    "wrong": [0.5, 1.0, -1],
}


def write_csv(rows: list[dict[str, object]], mark: str, end: str, quoting: int) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=mark, lineterminator=end, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@st.composite
def tables(draw: Draw) -> Drawn:
    """Images with metadata, at the root, over folders of splits, or in the folder of a split."""
    place = draw(st.sampled_from(["", "", "", "train/", "Training/", "test/", "data/"]))
    tops = draw(names([""], CLASSES, SPLITS, [*SPLITS, *CLASSES, ""], least=1, most=3))
    leaves = draw(st.lists(st.sampled_from(LEAVES), min_size=2, max_size=4, unique=True))
    paths = [f"{top}/{leaf}".lstrip("/") for top in tops for leaf in leaves]
    files: Files = {place + path: b"" for path in paths}
    listed = draw(st.permutations(paths))[draw(st.sampled_from([0, 0, 0, 1])) :]
    extra = draw(st.sampled_from([None] * 8 + ["gone.png", listed[0], "./" + listed[0], "../x.png", "/x.png", ""]))
    listed = [*listed, extra] if extra is not None else listed
    labels = LABELS[draw(st.sampled_from(list(LABELS)))]
    column = draw(st.sampled_from(["label", "label", "label", "kind", "species"]))
    rows: list[dict[str, object]] = [{"file_name": path, column: draw(st.sampled_from(labels))} for path in listed]
    if draw(st.integers(0, 3)) == 0:
        rows = [row | {"age": number} for number, row in enumerate(rows)]
    for suffix in draw(st.sampled_from([["csv"]] * 3 + [["jsonl"]] * 2 + [["parquet"]] * 2 + [["csv", "jsonl"]])):
        if suffix == "parquet" and place == "data/":
            continue  # 14: Parquet files of images, or not
        if suffix == "csv":
            mark, end = draw(st.sampled_from(",,,;\t")), draw(st.sampled_from(["\n", "\n", "\r\n"]))
            text = write_csv(rows, mark, end, draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])))
            if draw(st.integers(0, 5)) == 0:
                text = text.replace("/", "\\")
            coding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
            data = text.encode(coding, "replace")
        elif suffix == "jsonl":
            data = "".join(json.dumps(row, ensure_ascii=draw(st.booleans())) + "\n" for row in rows).encode()
        else:
            sink = io.BytesIO()
            try:
                pq.write_table(pa.Table.from_pylist(rows), sink)
            except pa.ArrowInvalid:
                continue
            data = sink.getvalue()
        files[f"{place}metadata.{suffix}"] = data
    if draw(st.integers(0, 4)) == 0:
        files |= draw(class_folders(draw(st.sampled_from(["", "test/"]))))
    split = draw(st.sampled_from(["train"] * 5 + ["test", "train+test", *[top for top in tops if top]]))
    label_from = draw(st.sampled_from([None] * 9 + ["albums"]))
    layout = None if place else draw(st.sampled_from([None, None, None, "classes", "splits"]))
    return Drawn(tuple(files.items()), split, layout, label_from)
