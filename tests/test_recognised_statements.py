"""What a source was recognised as: `--plan`, its JSON, the summary, its JSON and the card state it alike."""

import io
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rem_release.data.images.decoding import BadImage, decode
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import SourceOptions
from rem_release.release.card import render_card
from rem_release.release.documents import read_facts
from tests.command_line import draw, draw_classes, run, succeed
from tests.test_data_file_kinds import write_pages
from tests.test_release_card import section, state_facts

CLASSES = [f"kind-{letter}" for letter in "abcdefghijkl"]
TEN = "12: kind-a, kind-b, kind-c, kind-d, kind-e, kind-f, kind-g, kind-h, kind-i, kind-j and 2 more"
BESIDE = "hidden files, system files, documents, empty folders and files beside the class folders"
OTHERS = "other splits, and tables and folders beside them"
LEFT_OUT = {
    "damaged, or of a kind that is not read": 1,
    BESIDE: 5,
    "in no class folder": 1,
    "kept back for audits": 3,
    "nearly all of one level": 1,
    "no image, but text, a film, an archive or a table": 1,
    "not protected": 3,
    OTHERS: 2,
    "several frames or pages": 1,
}
CHOICES = {
    "numbers of more than 8 bits brought to 8": 1,
    "one image chosen of several in the file": 1,
    "transparency laid on white": 2,
    "turned as EXIF says": 1,
}
OPTIONS = ("--skip-bad", "--reserve", "0.2", "--fraction", "0.9")


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def draw_source(folder: Path) -> Path:
    """Twelve classes in the split train, and everything that is left out of them or decoded by a choice."""
    for number, name in enumerate(CLASSES):
        for index in range(10 if number == 0 else 2):
            draw(folder / "train" / name / f"{name}-{index}-private.png", 100 * number + index)
    a, b, c = (folder / "train" / name for name in CLASSES[:3])
    for number in range(2):
        Image.fromarray(noise(2000 + number, 8, 8, 4)).save(a / f"clear-private-{number}.png")
    Image.fromarray(noise(2010, 8, 8).astype(np.uint16) * 257 + 60).save(b / "deep-private.png")
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(noise(2020, 9, 8, 3)).save(b / "turned-private.jpg", exif=exif)
    (b / "page-private.tif").write_bytes(write_pages((noise(2030, 8, 8, 3), 0), (noise(2031, 4, 4, 3), 1)))
    (c / "pages-private.tif").write_bytes(write_pages((noise(2040, 8, 8, 3), 0), (noise(2041, 8, 8, 3), 0)))
    (c / "cut-private.png").write_bytes((c / "kind-c-0-private.png").read_bytes()[:60])
    (c / "notes-private.txt").write_text("no image")
    Image.new("RGB", (8, 8), (90, 91, 92)).save(c / "blank-private.png")
    draw(folder / "train" / "stray-private.png", 2050)
    shutil.copy(b / "kind-b-0-private.png", b / "same-private.png")
    near = np.asarray(Image.open(c / "kind-c-1-private.png")).astype(int)
    Image.fromarray(np.clip(near + 1, 0, 255).astype(np.uint8)).save(c / "near-private.png")
    (folder / "train" / "README.md").write_text("private")
    (folder / "train" / "empty-private").mkdir()
    (a / ".hidden-private").write_text("private")
    (a / "Thumbs.db").write_text("private")
    (folder / "loose-private.zip").write_text("private")
    draw_classes(folder / "test", CLASSES[:2], 1, seed=9000)
    draw_classes(folder / "album-private", CLASSES[:2], 1, seed=9100)
    return folder


@dataclass(frozen=True)
class Told:
    """What one run said, in all places, and its folder."""

    run: Path
    plan: str
    plan_json: dict[str, Any]
    summary: str
    summary_json: dict[str, Any]

    @property
    def card(self) -> str:
        return (self.run / "release/README.md").read_text(encoding="utf-8")


def tell(source: Path, out: Path, recipe: Path, *options: str) -> Told:
    command = ("protect", source, "--out", out, "--recipe", recipe, *options)
    plan, planned = succeed(*command, "--plan").out, succeed(*command, "--plan", "--json").json
    summary = succeed(*command).out
    return Told(out, plan, planned, summary, succeed(*command, "--resume", "--json").json)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Told:
    folder = tmp_path_factory.mktemp("told")
    return tell(draw_source(folder / "in"), folder / "run", recipe, *OPTIONS)


def write(counts: dict[str, int]) -> str:
    return "; ".join(f"{reason} ({count})" for reason, count in counts.items())


def contents(card: str) -> dict[str, str]:
    """The rows of the table `What is in it`."""
    rows = [line.strip("| ").split(" | ") for line in section(card, "What is in it").splitlines() if "| " in line]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def test_the_numbers_of_this_file_are_those_of_the_run(told: Told) -> None:
    """Of 44 rows 5 are bad, and 39 show 38 images. Of kind-a with 12 and kind-b with 5 a fifth is kept back, 2 and 1;
    of the other 35 images 0.9 are protected, 32 of them, in 33 rows."""
    roles = Counter(pq.read_table(told.run / "private/rows.parquet")["role"].to_pylist())
    assert roles == {"protected": 33, "reserved": 3, "unprotected": 3}
    skipped = (told.run / "private/skipped.csv").read_text().splitlines()
    assert [line.split(",")[0].rsplit("/")[-1] for line in skipped] == [
        *("file", "blank-private.png", "cut-private.png", "notes-private.txt", "pages-private.tif"),
        "stray-private.png",
    ]


def test_the_layout_and_the_splits(told: Told) -> None:
    others = "album-private, test"
    assert f"Source:  class folders of splits, train (44 rows); left out: {others}\n" in told.plan
    stated = told.plan_json["source"]
    assert (stated["layout"], stated["splits"]) == ("class folders of splits", {"train": 44})
    assert stated["left_out_splits"] == others.split(", ")
    assert "Read as class folders of splits: train (33 rows); classes: " in told.summary
    stated = told.summary_json["source"]
    assert (stated["layout"], stated["splits"]) == ("class folders of splits", {"train": 33})
    assert contents(told.card)["Source"] == "class folders of splits"
    assert contents(told.card)["Images"] == "33 in the split `train`, 8-bit RGB PNG without metadata"


def test_the_first_ten_classes_and_their_count(told: Told) -> None:
    assert f"\nClasses: {TEN}\n" in told.plan
    assert f"; classes: {TEN}.\n" in told.summary
    for document in (told.plan_json, told.summary_json):
        assert document["source"]["classes"] == TEN
        assert document["classes"] == 12
    assert contents(told.card)["Classes"] == "12, in the column label"
    assert all(f"\n| {name} | " in told.card for name in CLASSES)


def test_what_is_left_out_by_reason(told: Told) -> None:
    assert f"\nLeft out: {write(LEFT_OUT)}\n" in told.plan
    assert f"\nLeft out: {write(LEFT_OUT)}.\n" in told.summary
    for document in (told.plan_json, told.summary_json):
        assert document["source"]["left_out"] == LEFT_OUT
        assert document["skipped"] == 5
    assert contents(told.card)["Not released"] == "6 images of the source held back, 5 files skipped with --skip-bad"
    assert contents(told.card)["Why not"] == write(LEFT_OUT)
    assert "33 to release, 33 of them protected; 3 reserved, 5 skipped" in told.plan


def test_the_plan_tells_its_owner_more_of_what_is_left_out(told: Told) -> None:
    stated = told.plan_json["source"]
    assert sum(stated["skipped"].values()) == 5
    assert {
        "animated or multi-page (2 frames)": 1,
        "is in no class folder": 1,
        "text, not an image: remove it, or name the labels' file metadata.csv": 1,
        "nearly all of it is within 24 of 255 levels, around 91": 1,
    }.items() <= stated["skipped"].items()
    assert (stated["ignored"], stated["unlisted"], stated["doubtful"]) == (5, {}, 0)


def test_images_whose_decoding_was_a_choice(told: Told) -> None:
    words = "; ".join(f"{what} ({count})" for what, count in CHOICES.items())
    assert f"\nDecoded: {words}\n" in told.plan
    assert f"\nDecoded: {words}.\n" in told.summary
    for document in (told.plan_json, told.summary_json):
        assert document["source"]["choices"] == CHOICES
    assert contents(told.card)["Decoded"] == words


def test_equal_images_and_near_copies(told: Told) -> None:
    assert "\nCopies:  1 rows repeat an earlier image, 1 are near copies of one\n" in told.plan
    assert (told.plan_json["repeated"], told.plan_json["near_copies"]) == (1, 1)
    assert "\nCopies: 1 rows repeat an earlier image, 1 are near copies of one.\n" in told.summary
    assert (told.summary_json["duplicates"], told.summary_json["near_copies"]) == (1, 1)
    assert contents(told.card)["Same image as an earlier row"] == "1"
    assert contents(told.card)["Near copy of an earlier row's image"] == "1"


def test_nothing_private_is_published(told: Told) -> None:
    for path in (told.run / "release").rglob("*"):
        if path.is_file():
            assert b"private" not in path.read_bytes(), path
    for word in ("album", "stray", "Thumbs", "is in no class folder", "around 91"):
        assert word not in told.card
        assert word not in (told.run / "release/protection.json").read_text(encoding="utf-8")
    for command in (("verify", told.run), ("verify", told.run, "--clean", told.run.parent / "in")):
        assert run(*command).code == 0


def test_a_table_and_what_it_does_not_list(tmp_path: Path, recipe: Path) -> None:
    source = tmp_path / "in"
    rows = ["file_name,label"]
    for number in range(6):
        draw(source / f"{number}.png", number)
        rows.append(f"{number}.png,{'ab'[number % 2]}")
    for name in ("private/1.png", "private/2.png", "unlisted.png"):
        draw(source / name, len(name))
    (source / "metadata.csv").write_text("\n".join([*rows, "gone-private.png,a"]))
    told = tell(source, tmp_path / "run", recipe, "--skip-bad")
    expected = {
        "images that no metadata lists and no folder of the split holds": 3,
        "missing, or unreadable on the disk": 1,
    }
    assert told.plan_json["source"]["left_out"] == told.summary_json["source"]["left_out"] == expected
    assert told.plan_json["source"]["unlisted"] == {".": 1, "private": 2}
    assert told.plan_json["source"]["skipped"] == {"no such file": 1}
    for text, end in ((told.plan, ""), (told.summary, ".")):
        assert f"\nLeft out: {write(expected)}{end}\n" in text
        assert "\nDecoded: no image by a choice" in text
    assert "Source:  images with metadata, train (7 rows)\n" in told.plan
    assert "Read as images with metadata: train (6 rows); classes: 2: a, b.\n" in told.summary
    assert contents(told.card)["Why not"] == write(expected)
    assert contents(told.card)["Source"] == "images with metadata"
    assert "Decoded" not in contents(told.card)
    assert "private" not in told.card
    assert "private" not in (told.run / "release/protection.json").read_text(encoding="utf-8")


def test_a_source_of_which_nothing_is_left_out(tmp_path: Path, recipe: Path) -> None:
    told = tell(draw_classes(tmp_path / "in"), tmp_path / "run", recipe)
    assert "\nLeft out: nothing\n" in told.plan
    assert "\nLeft out: nothing.\n" in told.summary
    assert told.plan_json["source"]["left_out"] == told.summary_json["source"]["left_out"] == {}
    assert "Why not" not in contents(told.card)
    assert read_facts(told.run / "release").data.left_out == {}


def test_facts_that_state_no_reasons_are_told_as_before() -> None:
    assert contents(render_card(state_facts()))["Not released"] == (
        "12 images of the source held back, 3 files left out as unreadable"
    )


def encode(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


FRAMES = [Image.fromarray(noise(number, 8, 8, 3)) for number in range(2)]
FAULTS = {
    "1.gif": (encode(noise(1, 8, 8), "GIF", save_all=True, append_images=FRAMES), "several frames or pages"),
    "2.tif": (write_pages((noise(1, 8, 8, 3), 0), (noise(2, 8, 8, 3), 0)), "several frames or pages"),
    "3.png": (b"", "damaged, or of a kind that is not read"),
    "4.zip": (b"PK\3\4", "no image, but text, a film, an archive or a table"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_reason_of_a_file_that_is_no_image(name: str) -> None:
    data, fault = FAULTS[name]
    with pytest.raises(BadImage) as caught:
        decode(data)
    assert caught.value.fault == fault


def test_the_reasons_of_rows_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        draw(tmp_path / f"{number}.png", number)
    (tmp_path / "folder.png").mkdir()
    names = ["0.png", "gone.png", "folder.png", "2.png"]
    rows = [f"{name},{'ab'[number % 2]}" for number, name in enumerate(names)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *rows]))
    source = open_source(SourceOptions(source=str(tmp_path)))
    faults = []
    for row in (1, 2):
        with pytest.raises(BadImage) as caught:
            source.image_bytes(row)
        faults.append(caught.value.fault)
    assert faults == ["missing, or unreadable on the disk"] * 2
    monkeypatch.setattr("rem_release.data.sources.source._MAX_FILE_BYTES", 10)
    with pytest.raises(BadImage) as caught:
        source.image_bytes(0)
    assert caught.value.fault == "too large"
    monkeypatch.setattr("rem_release.data.images.decoding.MAX_PIXELS", 10)
    with pytest.raises(BadImage) as caught:
        decode((tmp_path / "0.png").read_bytes())
    assert caught.value.fault == "too large"


def fault_of(folder: Path, row: int) -> str:
    with pytest.raises(BadImage) as caught:
        open_source(SourceOptions(source=str(folder))).image_bytes(row)
    return caught.value.fault


def test_the_reasons_of_rows_of_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = draw_classes(tmp_path / "in", count=1).joinpath("cat/0.png").read_bytes()
    images = [
        *(None, {"bytes": None, "path": "https://example.org/1.png"}),
        *({"bytes": None, "path": "gone.png"}, {"bytes": None, "path": "large.png"}, {"bytes": data, "path": None}),
    ]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    table = pa.table({"image": images, "label": list("ababa")}, schema=features.arrow_schema)
    (tmp_path / "table").mkdir()
    pq.write_table(table, tmp_path / "table/rows.parquet")
    (tmp_path / "table/large.png").write_bytes(data)
    monkeypatch.setattr("rem_release.data.sources.source._MAX_FILE_BYTES", 10)
    missing = "missing, or unreadable on the disk"
    expected = ["no image in the row", missing, missing, "too large"]
    assert [fault_of(tmp_path / "table/rows.parquet", row) for row in range(4)] == expected


def test_the_reason_of_a_file_that_the_disk_does_not_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> bytes:
        raise OSError(5, "Input/output error")

    draw_classes(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", fail)
    assert fault_of(tmp_path, 0) == "missing, or unreadable on the disk"


def test_the_reason_of_a_file_of_more_pages_than_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rem_release.data.images.tiff_pages.MAX_PAGES", 1)
    with pytest.raises(BadImage, match=r"^multi-page") as caught:
        decode(write_pages((noise(1, 8, 8, 3), 0), (noise(2, 4, 4, 3), 1)))
    assert caught.value.fault == "several frames or pages"
