"""The scan of columns: what leads to an original is named and refused, and ordinary columns pass."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from datasets import ClassLabel, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rem_release.data.images.png_writing import encode_png
from rem_release.data.leaks.hidden_images import find_image
from rem_release.data.shards import ShardWriter
from rem_release.errors import InputError
from rem_release.gate import values
from rem_release.gate.columns import check_columns
from rem_release.gate.values import read_name, read_value
from rem_release.release.documents import describe_files, read_facts
from rem_release.release.facts import Facts
from rem_release.release.schema import write_features
from rem_release.verification.report import Check
from tests.command_line import draw_classes, run, succeed

ROWS = 12
NUMBERS = list(range(ROWS))
SIZES = {"max_row_group_bytes": 900, "max_shard_bytes": 900}
"""Several shards of a few rows each."""


@pytest.fixture(scope="module")
def sound_facts(finished_run: Path) -> Facts:
    """Facts to be changed."""
    return read_facts(finished_run / "release")


class Release:
    """A release of grey images with some more columns."""

    def __init__(self, folder: Path, facts: Facts) -> None:
        self.folder, self.facts = folder, facts

    def write(
        self,
        columns: dict[str, Sequence[Any]],
        classes: Sequence[str] = ("cat", "dog"),
        subfolder: str = "data",
        **types,
    ) -> "Release":
        """Write shards of these columns; types are guessed where they are not given."""
        features = {"image": datasets.Image(), "label": ClassLabel(names=list(classes))}
        table = pa.table({"label": [number % 2 for number in NUMBERS], **columns})
        guessed = datasets.Features.from_arrow_schema(table.schema)
        features |= {name: types.get(name, guessed[name]) for name in columns}
        all_features = datasets.Features(features)
        others = pa.schema([field for field in all_features.arrow_schema if field.name != "image"])
        png = encode_png(np.full((4, 4, 3), 128, np.uint8))
        with ShardWriter(self.folder, "train", all_features, **SIZES, subfolder=subfolder) as writer:
            writer.write([png] * ROWS, table.cast(others))
        data = {"columns": list(features), "features": write_features(all_features), "classes": list(classes)}
        update = {"data": self.facts.data.model_copy(update=data), "files": describe_files(self.folder)}
        self.facts = self.facts.model_copy(update=update)
        return self

    def check(self, *kept: str) -> dict[str, Check]:
        """The checks by name."""
        return {check.name: check for check in check_columns(self.folder, self.facts, kept)}


@pytest.fixture
def release(tmp_path: Path, sound_facts: Facts) -> Release:
    return Release(tmp_path / "release", sound_facts)


def encoded(form: str) -> str:
    """A small image in base64."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(buffer, form)
    return base64.b64encode(buffer.getvalue()).decode()


# --- what is planted is named


PLANTED = {
    "photo": (values.FILE_NAME, [f"IMG_{number:04}.jpg" for number in NUMBERS]),
    "scan": (values.FILE_NAME, [f"ward 3/scan {number}.nii.gz" for number in NUMBERS]),
    "note": (values.FILE_NAME, ["a dog"] * 11 + ["as in DSC00017.HEIC, but sharper"]),
    "where": (values.PATH, [f"/home/ann/photos/{number}" for number in NUMBERS]),
    "drive": (values.PATH, [f"C:\\photos\\{number}" for number in NUMBERS]),
    "home": (values.PATH, [None] * 11 + ["~/photos"]),
    "place": (values.RELATIVE_PATH, ["archive/left/ward"] * ROWS),
    "key": (values.NUMBERED_NAME, [f"cat/{number:04}" for number in NUMBERS]),
    "web": (values.ADDRESS, ["a dog"] * 11 + ["seen at https://example.org/dog"]),
    "bucket": (values.ADDRESS, [f"s3://photos/{number}" for number in NUMBERS]),
    "local": (values.ADDRESS, ["file:///photos/1"] * ROWS),
    "camera": (values.CAMERA, [{"Make": "Canon", "Model": "EOS 5D"}] * ROWS),
    "shot": (values.CAMERA, [json.dumps({"ImageWidth": 4, "DateTimeOriginal": "2020:01:01 10:00:00"})] * ROWS),
    "dump": (values.CAMERA, ["{'ExifVersion': b'0230', 'ISOSpeedRatings': 200}"] * ROWS),
    "tags": (values.CAMERA, ["{271: 'NIKON', 36867: '2020:01:01 10:00:00'}"] * ROWS),
    "vector": (values.NUMBERS, [[0.1] * 16] * ROWS),
    "nested": (values.NUMBERS, [[[0.1] * 4] * 4] * ROWS),
    "written": (values.NUMBERS, [json.dumps({"v": [0.1] * 20})] * ROWS),
    "spaced": (values.NUMBERS, [" ".join(["0.125"] * 20)] * ROWS),
    "printed": (values.NUMBERS, ["tensor([0.1, -2e-3,\n 0.3, 0.4, " + "0.5, " * 14 + "0.7])"] * ROWS),
    "digest": (values.CHECKSUM, [hashlib.md5(bytes([number])).hexdigest() for number in NUMBERS]),
    "print": (values.CHECKSUM, [hashlib.sha256(bytes([number])).hexdigest()[:16] for number in NUMBERS]),
    "stuff": (values.ENCODED, [base64.b64encode(bytes(range(256)) * 2).decode()] * ROWS),
    "file_name": (values.FILE_NAME, ["a"] * ROWS),
    "imageURL": (values.ADDRESS, ["a"] * ROWS),
    "gps_latitude": (values.CAMERA, [48.1] * ROWS),
    "phash": (values.CHECKSUM, NUMBERS),
    "DateTimeOriginal": (values.CAMERA, ["2020"] * ROWS),
    "a.b": (values.PATH, ["/home/ann/photo"] * ROWS),
    "meta": (values.FILE_NAME, [{"path": 3}] * ROWS),
    "shelf": (values.FILE_NAME, [f"My Pictures/img {number}.jpg" for number in NUMBERS]),
    "corner": (values.SPACED_NAME, [f"My Pictures/img {number}" for number in NUMBERS]),
    "windows": (values.SPACED_NAME, [f"Anna's phone\\2019\\beach {number}" for number in NUMBERS]),
    "data": (values.ENCODED, ["data:application/x-thing;base64,AAECAwQFBgcICQ=="] * ROWS),
    "bare": (values.ENCODED, [None] * 11 + ["base64,AAECAwQFBgcICQ=="]),
    "typed": (values.ENCODED, ["image/webp;base64, AAECAwQF"] * ROWS),
    "thumbnail": (values.THUMBNAIL, ["a"] * ROWS),
    "face_emb": (values.NUMBERS, [0.5] * ROWS),
    "src": (values.REFERENCE, [f"P{number:05}" for number in NUMBERS]),
    "sourceRow": (values.REFERENCE, NUMBERS),
    "original": (values.REFERENCE, [None, None, *(f"beach {number}" for number in range(10))]),
}
IMAGES = {
    "png": [None] * 11 + [encoded("PNG")],
    "jpeg": [encoded("JPEG")] * ROWS,
    "bmp": [encoded("BMP")] * ROWS,
    "inside": [json.dumps({"thumb": encoded("PNG")})] * ROWS,
    "prefixed": [f"image/png;base64,{encoded('PNG')}"] * ROWS,
    "octets": ["data:application/octet-stream;base64,AAECAwQFBgcICQ=="] * ROWS,
    "uri": [f"data:image/png;base64,{encoded('PNG')}"] * ROWS,
    "hexadecimal": [encode_png(np.zeros((4, 4, 3), np.uint8)).hex()] * ROWS,
    "pixels": [" ".join(["128"] * 300)] * ROWS,
    "rows": [[[128] * 30] * 30] * ROWS,
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_leads_to_an_original_is_refused_unless_the_owner_keeps_it(release: Release, name: str) -> None:
    kind, planted = PLANTED[name]
    release.write({"sex": ["M", "F"] * 6, name: planted})
    refused = release.check()["columns"]
    assert refused.passed is False
    assert f"column {name} holds {kind}" in refused.detail
    assert f"protect again with --drop-column {name}, or push with --keep-column {name}" in refused.detail
    assert "sex" not in refused.detail
    kept = release.check(name)["columns"]
    assert kept.passed is True
    assert f"kept by the owner's choice: column {name} ({kind})" in kept.detail


@pytest.mark.parametrize("name", IMAGES)
def test_images_are_refused_whatever_is_kept(release: Release, name: str) -> None:
    release.write({name: IMAGES[name]})
    check = release.check(name)["columns"]
    assert check.passed is False
    assert f"column {name} holds an image" in check.detail
    assert check.detail.endswith(f"protect again with --drop-column {name}")


def test_the_row_and_a_short_excerpt_are_named(release: Release) -> None:
    long = f"https://example.org/{'x' * 200}"
    detail = release.write({"seen": ["nothing"] * 7 + [long] * 5}).check()["columns"].detail
    assert "column seen holds an address in row 7: 'https://example.org/xxx" in detail
    assert "x" * 60 not in detail


def test_rows_count_over_all_files_of_the_release(release: Release) -> None:
    release.write({"seen": ["nothing"] * 11 + ["/a/b"]})
    assert len(release.facts.files) > 1
    assert "in row 11: '/a/b'" in release.check()["columns"].detail


def test_the_columns_of_a_clean_split_are_scanned_too(release: Release) -> None:
    release.write({"seen": ["/a/b"] + ["nothing"] * 11}, subfolder="clean")
    release.write({"seen": ["nothing"] * ROWS})
    assert re.search(r"in row 0 of clean/train-00000-of-\d+.parquet: '/a/b'", release.check()["columns"].detail)


@pytest.mark.parametrize(("count", "kept", "passed"), [(15, [], True), (16, [], False), (16, "all", True)])
def test_an_embedding_spread_over_columns_is_seen(release: Release, count: int, kept: list[str], passed: bool) -> None:
    names = [f"feature_{number}" for number in range(count)]
    release.write({name: [0.5] * ROWS for name in names})
    check = release.check(*(names if kept else []))["columns"]
    assert check.passed is passed
    assert passed or "16 columns of numbers, feature_0 to feature_15" in check.detail


def test_pixels_spread_over_columns_are_refused_in_any_case(release: Release) -> None:
    names = [f"pixel{number}" for number in range(257)]
    check = release.write(dict.fromkeys(names, NUMBERS)).check(*names)["columns"]
    assert check.passed is False
    assert "column pixel0 holds an image: 257 columns of numbers, pixel0 to pixel256" in check.detail


def test_columns_that_hold_bytes_are_refused(release: Release) -> None:
    check = release.write({"blob": [b"abc"] * ROWS}).check("blob")["columns"]
    assert check.passed is False
    assert "column blob holds an image, or could" in check.detail


# --- what is ordinary passes


ORDINARY = {
    "caption": ["A man and/or a woman at 10:30, ISO 9001, TCP/IP; ratio 3:4. He ate it.Raw fish, e.g. sushi."] * ROWS,
    "sex": ["M/F", "n/a", "M", "F"] * 3,
    "diagnosis": ["benign/malignant", "normal", "not known"] * 4,
    "sides": ["left/right", "right/left"] * 6,
    "date": [f"2020/01/{number + 1:02}" for number in NUMBERS],
    "day": [f"{number + 1}/Jan/2020" for number in NUMBERS],
    "pressure": [f"{110 + number}/{70 + number}" for number in NUMBERS],
    "patient": [f"P-{number:06}" for number in NUMBERS],
    "serial": [f"{10**15 + number}" for number in NUMBERS],
    "score": [0.5] * ROWS,
    "box": [[1, 2, 3, 4]] * ROWS,
    "car": [{"make": "Ford", "model": "T", "year": 1908}] * ROWS,
    "answers": [json.dumps({"q1": "yes", "q2": [1, 2, 3]})] * ROWS,
    "pathology": ["none"] * ROWS,
    "hashtags": [["#cat", "#dog"]] * ROWS,
    "nothing": [None] * ROWS,
    "year2019": NUMBERS,
    "long": ["word " * 400] * ROWS,
    "source": ["camera-a", "camera-b", "scanner of ward 3"] * 4,
    "original_title": [f"a man and his dog number {number}" for number in NUMBERS],
    "original": [number % 3 for number in NUMBERS],
    "source_weight": [number / 7 for number in NUMBERS],
    "dose": [f"{number} mg/ml" for number in NUMBERS],
    "with_unit": [f"{110 + number}/{70 + number} mmHg" for number in NUMBERS],
    "words": [f"A cat and/or dog, seen {number} times" for number in NUMBERS],
    "either": ["base64, or not", "database64:x"] * 6,
}


@pytest.mark.parametrize("half", [0, 1])
def test_ordinary_columns_pass(release: Release, half: int) -> None:
    """Half of them at a time: all 26 together would be more than a row may say."""
    columns = dict(list(ORDINARY.items())[half::2])
    checks = release.write(columns, **({"nothing": Value("string")} if "nothing" in columns else {})).check()
    assert [check.passed for check in checks.values()] == [True, True], checks
    assert f"{len(columns) + 1} columns beside the images" in checks["columns"].detail


def test_a_few_values_like_paths_or_checksums_prove_nothing(release: Release) -> None:
    release.write(
        {
            "path_like": ["red/green/blue"] * 5 + ["red"] * 7,
            "pairs": [f"a{number}/b" for number in range(5)] + ["none"] * 7,
            "codes": ["deadbeefdeadbeef"] * 5 + ["beef"] * 7,
        }
    )
    detail = release.check()["columns"].detail
    assert "by its name" in detail  # path_like
    assert "column pairs" not in detail
    assert "column codes" not in detail


def test_the_labels_themselves_are_never_scanned_as_a_column(release: Release) -> None:
    assert release.write({}).check()["columns"].passed is True


# --- names of classes


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("cat.jpg", "dog"), values.FILE_NAME),
        (("/photos/cat", "dog"), values.PATH),
        (("photos/of/cat", "photos/of/dog"), values.RELATIVE_PATH),
        (("https://a.org/cat", "dog"), values.ADDRESS),
    ],
)
def test_classes_named_like_files_are_refused(release: Release, names: tuple[str, str], kind: str) -> None:
    release.write({}, classes=names)
    check = release.check()["class names"]
    assert check.passed is False
    assert f"a class is named like {kind}: '{names[0]}'" in check.detail
    assert release.check("label")["class names"].passed is True


def test_ordinary_classes_pass(release: Release) -> None:
    names = [
        "benign/malignant",
        "n/a",
        *(f"left/right {number}" for number in range(3)),
        *(f"grade/{n}" for n in range(9)),
    ]
    assert release.write({}, classes=names).check()["class names"].passed is True


def test_the_classes_of_another_column_are_scanned(release: Release) -> None:
    release.write({"kind": [0, 1] * 6}, kind=ClassLabel(names=["IMG_1.jpg", "IMG_2.jpg"]))
    assert "column kind holds a file name among its classes: 'IMG_1.jpg'" in release.check()["columns"].detail
    assert release.check("kind")["columns"].passed is True


def test_a_class_without_images_counts(release: Release) -> None:
    """A ClassLabel publishes all of its names."""
    release.write({}, classes=("cat", "dog", "IMG_1.png"))
    release.facts = release.facts.model_copy(
        update={"data": release.facts.data.model_copy(update={"classes": ["cat", "dog"]})}
    )
    assert release.check()["class names"].passed is False


# --- bad input


def test_a_kept_column_must_exist(release: Release) -> None:
    release.write({"sex": ["M"] * ROWS})
    with pytest.raises(InputError, match=r"--keep-column path: no such column .*; there are: label, sex"):
        release.check("path")
    with pytest.raises(InputError, match="--keep-column image"):
        release.check("image")


def test_a_damaged_file_is_refused(release: Release) -> None:
    release.write({"note": ["a"] * ROWS})
    next((release.folder / "data").glob("*")).write_bytes(b"PAR1 nothing")
    assert release.check()["columns"].passed is False


# --- protect knows the same images


def test_protect_refuses_pixels_written_as_text(tmp_path: Path, recipe: Path) -> None:
    photos = draw_classes(tmp_path / "photos")
    source = datasets.Dataset.from_dict(
        {
            "image": [str(path) for path in sorted(photos.rglob("*.png"))],
            "label": [0] * 4 + [1] * 4,
            "pixels": [" ".join(["128"] * 300)] * 8,
        },
        features=datasets.Features({"image": datasets.Image(), "label": Value("int64"), "pixels": Value("string")}),
    )
    source.save_to_disk(tmp_path / "saved")
    refused = run("protect", tmp_path / "saved", "--out", tmp_path / "run", "--recipe", recipe)
    assert refused.code == 2
    assert "column 'pixels' (more than 256 numbers in row 0)" in refused.err
    succeed("protect", tmp_path / "saved", "--out", tmp_path / "run", "--recipe", recipe, "--drop-column", "pixels")


# --- properties


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(JSON)
def test_no_value_breaks_the_scan_and_excerpts_are_short(value: Any) -> None:
    assert all(len(seen) <= 60 + len("an encoded image: ") for seen in read_value(value).values())
    text = json.dumps(value)
    assert (find_image(text) is None) == (find_image(value) is None)


@settings(max_examples=60)
@given(st.lists(st.floats(-1e6, 1e6), min_size=16, max_size=40), st.sampled_from([" ", ",", ", ", ";", "\n", " | "]))
def test_numbers_are_counted_however_they_are_written(numbers: list[float], separator: str) -> None:
    for text in (separator.join(map(str, numbers)), f"[{separator.join(map(repr, numbers))}]", json.dumps(numbers)):
        assert values.NUMBERS in read_value(text)
    assert values.NUMBERS in read_value(numbers)


@pytest.mark.parametrize("text", ["a" * 300_000, "a." * 20_000, "{" * 100_000, "[1," * 50_000, "a/" * 100_000])
def test_long_texts_are_read_in_linear_time(text: str) -> None:
    """Any of these took minutes with an expression that tries every start; a test that hangs is seen."""
    read_value(text)


@pytest.mark.parametrize("name", ["profile", "latency", "pathology", "sex", "plate", "hashtags", "model", "age_2"])
def test_ordinary_names_announce_nothing(name: str) -> None:
    assert read_name(name) is None


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (values.THUMBNAIL, ["thumbnail", "thumb", "imageThumb", "thumbs_128"]),
        (values.NUMBERS, ["emb", "embedding", "clip_emb"]),
        (values.FILE_NAME, ["path", "file", "filename", "image_path"]),
        (values.ADDRESS, ["url"]),
        (values.CAMERA, ["exif"]),
    ],
)
def test_telling_names(kind: str, names: list[str]) -> None:
    assert [read_name(name) for name in names] == [kind] * len(names)


@pytest.mark.parametrize(("name", "expected"), [("src", True), ("origFile", True), ("resource", False), ("id", False)])
def test_names_that_may_refer_to_originals(name: str, expected: bool) -> None:
    assert values.may_refer(name) is expected


def test_lists_of_every_type_are_plain(release: Release) -> None:
    release.write({"tags": [["a", "b"]] * ROWS, "few": [[1.0, 2.0]] * ROWS}, tags=List(Value("string")))
    assert release.check()["columns"].passed is True
