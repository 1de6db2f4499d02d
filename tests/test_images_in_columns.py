"""The originals, carried out in another column: every way is refused by protect or gate, and ordinary text is not."""

import base64
import datetime
import json
import string
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from rem_release.data.leaks.hidden_images import find_image
from rem_release.data.leaks.row_capacity import MAX_BYTES, Excess, measure_rows
from rem_release.data.sources.labels import refuse_pixels
from rem_release.errors import InputError
from rem_release.gate import values
from rem_release.gate.values import read_value
from rem_release.release.documents import read_facts
from tests.carriers import FILES, PIXELS, Columns, encode
from tests.command_line import Result, draw, run, snapshot, succeed
from tests.test_gate_columns import ROWS, Release, release, sound_facts  # noqa: F401 - fixtures

COUNT = 8
CAPTION = "Two dogs run along the beach, one of them with a red ball, while a woman in a blue coat looks on."


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Images of 16 x 16 random colours: 768 bytes each, and no codec makes less of them."""
    folder = tmp_path_factory.mktemp("originals")
    return [draw(folder / f"{number}.png", number, (16, 16)) for number in range(ROWS)]


def refused_by_protect(columns: Columns) -> str | None:
    try:
        refuse_pixels(datasets.Dataset.from_dict(columns), set())
    except InputError as error:
        return str(error)
    return None


def write_source(folder: Path, originals: Sequence[np.ndarray], columns: Columns) -> Path:
    """A folder as `datasets` saves it, with columns beside the images."""
    images = [{"bytes": encode(pixels), "path": None} for pixels in originals[:COUNT]]
    labels = [0, 1] * (COUNT // 2)
    rest = {name: column[:COUNT] for name, column in columns.items()}
    source = datasets.Dataset.from_dict({"image": images, "label": labels, **rest})
    source.cast_column("image", datasets.Image()).save_to_disk(folder)
    return folder


# --- images


@pytest.mark.parametrize("name", FILES)
def test_an_image_in_a_column_never_passes(release: Release, originals: list[np.ndarray], name: str) -> None:  # noqa: F811
    """Neither through protect nor through the gate, whatever the owner keeps."""
    columns = FILES[name](originals)
    assert "could carry clean pixels into the release; leave it out with --drop-column" in str(
        refused_by_protect(columns)
    )
    check = release.write(columns).check(*columns)["columns"]
    assert check.passed is False
    assert "holds an image in row 0: " in check.detail


@pytest.mark.parametrize("name", ["prefix", "hex with colons", "repr", "svg in json", "lines", "zlib in base64"])
def test_one_image_among_ordinary_values_is_enough(release: Release, originals: list[np.ndarray], name: str) -> None:  # noqa: F811
    value = FILES[name](originals)["note"][0]
    column = [CAPTION] * 7 + [f"{CAPTION} {value}"] + [CAPTION] * 4
    assert "in row 7" in str(refused_by_protect({"note": column}))
    assert "column note holds an image in row 7" in release.write({"note": column}).check("note")["columns"].detail


def test_names_of_classes_carry_no_images(release: Release, originals: list[np.ndarray]) -> None:  # noqa: F811
    """More of names is in `test_images_in_names`."""
    uri = f"data:image/png;base64,{base64.b64encode(encode(originals[0])).decode()}"
    release.write({"kind": [0, 1] * 6}, classes=("cat", uri), kind=ClassLabel(names=["a", uri]))
    checks = release.check("kind", "label")
    assert "column kind holds an image among its classes" in checks["columns"].detail
    assert "a class is named like an image" in checks["class names"].detail


# --- what has no signature


@pytest.mark.parametrize("name", PIXELS)
def test_pixels_pass_in_columns_that_the_owner_keeps_and_in_no_others(
    release: Release,  # noqa: F811
    originals: list[np.ndarray],
    name: str,
) -> None:
    columns = PIXELS[name](originals)
    if refused_by_protect(columns):
        return
    release.write({"sex": ["M", "F"] * 6, **columns})
    check = release.check()["columns"]
    assert check.passed is False
    assert "push with --keep-column" in check.detail
    assert "column sex" not in check.detail
    assert release.check("sex")["columns"].passed is False
    assert release.check(*columns)["columns"].passed is True


def test_the_columns_that_say_most_are_named_and_the_others_are_not(release: Release) -> None:  # noqa: F811
    noise = np.random.default_rng(0).integers(0, 256, (ROWS, 600), np.uint8)
    letters = [row.tobytes().decode("latin-1") for row in noise]
    columns = {"age": list(range(ROWS)), "small": [text[:90] for text in letters], "large": letters}
    check = release.write(columns).check()["columns"]
    assert "column large (" in check.detail
    assert "push with --keep-column large" in check.detail
    assert "small" not in check.detail
    assert release.check("large")["columns"].passed is True
    assert release.check("small")["columns"].passed is False


def test_every_column_that_says_too_much_is_named_at_once(release: Release) -> None:  # noqa: F811
    noise = np.random.default_rng(0).integers(0, 256, (3, ROWS, 600), np.uint8)
    a, b, c = ([row.tobytes().decode("latin-1") for row in rows] for rows in noise)
    quiet = ["none"] * 5
    release.write({"a": a, "b": quiet + b[5:], "c": quiet * 2 + c[10:], "d": list(range(ROWS))})
    detail = release.check()["columns"].detail
    for row, name in (("row 0", "a"), ("row 5", "b"), ("row 10", "c")):
        assert f"{row} says " in detail
        assert f"push with --keep-column {name}" in detail
    assert release.check("a", "b", "c")["columns"].passed is True
    assert release.check("a", "b")["columns"].passed is False


def test_the_rows_of_a_clean_split_are_bounded_too(release: Release) -> None:  # noqa: F811
    noise = np.random.default_rng(0).integers(0, 256, (ROWS, 400), np.uint8)
    release.write({"note": [row.tobytes().decode("latin-1") for row in noise]}, subfolder="clean")
    release.write({"note": ["a"] * ROWS})
    assert "row 0 of clean/train-00000" in release.check()["columns"].detail


def test_names_of_classes_are_bounded_with_the_rows(release: Release) -> None:  # noqa: F811
    """Names that no row has are published all the same."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 150), np.uint8)
    names = [row.tobytes().decode("latin-1") for row in noise]
    release.write({"kind": [0, 1] * 6}, kind=ClassLabel(names=names))
    assert "column kind (" in release.check()["columns"].detail
    assert release.check("kind")["columns"].passed is True
    detail = release.write({}, classes=names).check()["columns"].detail
    assert "give the classes shorter names and protect again, or push with --keep-column label" in detail


# --- from end to end


def push(out: Path, *options: object) -> Result:
    return run("push", out, "owner/pets", "--dry-run", "--allow-uncertified", *options)


def test_protect_refuses_and_exits_with_2(tmp_path: Path, recipe: Path, originals: list[np.ndarray]) -> None:
    source = write_source(tmp_path / "source", originals, FILES["markdown"](originals))
    refused = run("protect", source, "--out", tmp_path / "run", "--recipe", recipe)
    assert refused.code == 2
    assert "column 'note' (a data URI in row 0) could carry clean pixels" in refused.err
    assert "--drop-column note" in refused.err
    assert not (tmp_path / "run").exists()


def test_from_protect_to_the_card(tmp_path: Path, recipe: Path, originals: list[np.ndarray]) -> None:
    """Protect warns, the gate refuses, and what the owner keeps by name stands in the card until the next push."""
    columns = {"age": list(range(ROWS)), "wide": PIXELS["pixels in wide letters"](originals)["note"]}
    source, out = write_source(tmp_path / "source", originals, columns), tmp_path / "run"
    warned = succeed("protect", source, "--out", out, "--recipe", recipe)
    assert "bytes beside its image, more than 255, for column wide: push will ask for --keep-column wide" in warned.err
    assert "for column age" not in warned.err
    refused = push(out)
    assert refused.code == 3
    assert "column wide (" in refused.err
    before = snapshot(out / "release")
    unknown = push(out, "--keep-column", "wild")
    assert unknown.code == 2
    assert "--keep-column wild: no such column beside the images; there are: label, age, wide" in unknown.err
    assert snapshot(out / "release") == before
    assert push(out, "--keep-column", "wide").code == 0


def test_kept_columns_are_facts_and_the_card_names_them(run_copy: Path) -> None:
    from rem_release.gate.amend import amend_release
    from rem_release.release.run_folder import RunFolder

    release_folder = run_copy / "release"

    def amend(*kept: str) -> str:
        amend_release(RunFolder(run_copy), release_folder, (), None, None, None, kept)
        return (release_folder / "README.md").read_text("utf-8")

    plain = amend()
    assert "keeps columns" not in plain
    assert "The owner keeps columns that may lead to the originals, or show something of them: label.\n" in amend(
        "label"
    )
    assert read_facts(release_folder).kept_columns == ["label"]
    succeed("card", run_copy, "--card-field", "license=mit")
    assert read_facts(release_folder).kept_columns == ["label"]
    assert "keeps columns" in (release_folder / "README.md").read_text("utf-8")
    succeed("verify", run_copy)
    with pytest.raises(InputError, match="--keep-column image: no such column beside the images"):
        amend("image")
    assert read_facts(release_folder).kept_columns == ["label"]
    assert "keeps columns" not in amend()


# --- what is ordinary

TEXTS = [
    CAPTION,
    "FINDINGS: The lungs are clear. No pleural effusion, no pneumothorax. Heart size 9/10 normal, T2/FLAIR unchanged.\n"
    "IMPRESSION: NO ACUTE CARDIOPULMONARY PROCESS. Compared with the study of 12/03/2019 (see there), Qk 0.5, BM 3.",
    '{"bbox": [12.5, 80.25, 110, 64], "category": "dog", "iscrowd": 0, "area": 7040.5, "attributes": {"hidden": true}}',
    "SKU 4471-BLK-XL; 100% cotton; wash at 30 °C; made in the EU; 12,90 € (was 19,90 €); size=L; colour=black&white",
    "Grüße aus München! Zwei Hunde laufen am Strand entlang, und niemand sieht hin: ganz schön früh für November.",
    "一只棕色的狗在沙滩上奔跑，旁边有一个穿蓝色外套的女人正在看着它，天空很蓝，海面平静，远处有几艘白色的小船。",
    "Собака бежит по пляжу с красным мячом, а женщина в синем пальто смотрит на неё; погода ясная, море спокойное.",
    "The data: image 4 of 9, base 64 times larger; data:image is how one begins, and <svg> how a drawing does.",
    "wooden chair, data:, <, 50%20 of them; data:image/png, <b>and</b> others, base64, as you like it",
    "Content: type image, encoding unknown. As GIF89a or PNG? RIFF files, II* and MM, PK and BM: all are short words.",
    "p < 0.05, q = 1e-3, 50%20 of 3=4A; C:\\n is no path; Fig. 3 \\x1 and \\u00e9; x=0x1F, y=0xFF; 5% of 10%; a&b",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 and 550e8400-e29b-41d4-a716-446655440000 name it",
    "https://example.org/9j/4AAQ/photos/2019/IMG_0001?size=large&token=eJwABC0123456789abcdefghijklmnopqrstuvwxyzABCDEF",
    "ACGTACGGTCAGGTTTACGACCAGTACGATTACGGGACATCAGGACTAGGACTTACGACATCAGACGGACTACGACTACGCGACTACGACTACGACGTACG",
    "M,F,left,right,2019-03-12T10:11:12Z,48.2082,16.3738,Siemens,1.5T,TR=4000ms,TE=100ms,flip=90,FOV=240x240,matrix=512",
    "wooden chair " * 30,
    "0 0.51 0.42 0.2 0.3\n1 0.11 0.9 0.05 0.07\n2 0.6 0.61 0.12 0.2",
]


@pytest.mark.parametrize("text", TEXTS)
def test_ordinary_text_holds_no_image(text: str) -> None:
    assert find_image(text) is None
    assert refused_by_protect({"note": [text], "list": [[text, text]], "json": [json.dumps({text: text})]}) is None
    assert values.IMAGE not in read_value(text)
    assert values.ENCODED not in read_value(text)


WORDS = st.lists(
    st.sampled_from([word for text in TEXTS[:10] for word in text.split()]) | st.text(string.printable, max_size=6),
    max_size=60,
)


@settings(max_examples=300)
@given(WORDS, st.sampled_from([" ", "\n", ", ", "/", "-", "_", ""]))
def test_words_in_any_order_hold_no_image(words: list[str], between: str) -> None:
    text = between.join(word for word in words if word not in ("<svg>",))
    assert find_image(text) is None


MAGIC = [
    b"BM",
    b"\xff\xd8\xff",
    b"PK\3\4",
    b"\x1f\x8b",
    b"II*",
    b"MM\0",
    b"RIFF",
    b"ftyp",
    b"GIF8",
    b"\x89PNG",
    b"\x78\x9c",
]


@settings(max_examples=200)
@given(st.permutations(MAGIC), st.lists(st.text("ghixyz ,.", min_size=8, max_size=8), min_size=11, max_size=11))
def test_short_magic_among_other_bytes_is_no_image(magic: list[bytes], between: list[str]) -> None:
    """`BM`, `/9j/`, `PK` and the like prove nothing by themselves."""
    data = b"".join(first + second.encode() for first, second in zip(magic, between, strict=True))
    for text in (base64.b64encode(data).decode(), data.hex(), str(list(data)), repr(data), data.decode("latin-1")):
        assert find_image(text) is None


@settings(max_examples=150)
@given(
    st.integers(0, 2**32), st.text(max_size=40), st.text(max_size=40), st.sampled_from(["PNG", "JPEG", "GIF", "BMP"])
)
def test_an_image_is_found_whatever_stands_around_it(seed: int, before: str, after: str, form: str) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    data = encode(pixels, form)
    for code in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode(), data.hex()):
        assert find_image(f"{before} {code} {after}") is not None


# --- the bound


def excess_of(columns: Columns, features: datasets.Features | None = None) -> list[Excess]:
    return list(measure_rows(datasets.Dataset.from_dict(columns, features=features), list(columns)))


def make_metadata(count: int) -> Columns:
    draws = np.random.default_rng(0)
    words = CAPTION.lower().split()
    return {
        "age": draws.integers(0, 100, count).tolist(),
        "sex": draws.choice(["M", "F"], count).tolist(),
        "site": draws.choice(["Wien", "Graz", "Linz"], count).tolist(),
        "day": [datetime.date(2019, 1, 1) + datetime.timedelta(int(days)) for days in draws.integers(0, 900, count)],
        "caption": [" ".join(draws.choice(words, 14)) for _ in range(count)],
        "box": draws.uniform(0, 500, (count, 4)).round(2).tolist(),
        "weight": draws.uniform(0, 1, count).tolist(),
        "is_left": (draws.uniform(size=count) < 0.5).tolist(),
        "attributes": [json.dumps({"view": "AP", "score": round(float(s), 3)}) for s in draws.uniform(size=count)],
        "patient": [f"P-{number:06}" for number in range(count)],
        "group": [{"ward": int(ward), "tags": ["a", "b"]} for ward in draws.integers(0, 9, count)],
    }


def test_ordinary_metadata_fits() -> None:
    assert excess_of(make_metadata(2000)) == []


@settings(max_examples=60)
@given(st.lists(st.text(max_size=60) | st.none() | st.integers(-(2**63), 2**63 - 1).map(str), min_size=1, max_size=30))
def test_short_rows_always_fit(column: list[str | None]) -> None:
    found = excess_of({"note": column}, datasets.Features({"note": Value("string")}))
    for excess in found:
        row = int(excess.where.split()[1])
        assert len(json.dumps(column[row], ensure_ascii=False).encode()) > MAX_BYTES - 20


@pytest.mark.parametrize(("size", "fits"), [(120, True), (300, False)])
@pytest.mark.parametrize("code", ["latin-1", "hex", "base85"])
def test_random_bytes_pass_below_the_bound_and_not_above(size: int, fits: bool, code: str) -> None:
    noise = [bytes(row) for row in np.random.default_rng(0).integers(0, 256, (20, size), np.uint8)]
    write = {"hex": bytes.hex, "latin-1": lambda data: data.decode("latin-1")}.get(
        code, lambda data: base64.b85encode(data).decode()
    )
    assert (excess_of({"note": [write(row) for row in noise]}) == []) is fits


def test_no_type_hides_what_it_carries() -> None:
    """Dates, spans, and numbers that are none count with all their bits, at any depth."""
    draws = np.random.default_rng(0)
    integers = draws.integers(0, 2**62, (4, 60))
    nans = [(integers[0] | 0x7FF8 << 48).astype(np.uint64).view(np.float64).tolist() for _ in range(2)]
    for dtype in ("timestamp[ns]", "time64[ns]", "duration[ns]", "int64", "uint64"):
        numbers = integers % 86_400_000_000_000 if dtype == "time64[ns]" else integers
        features = datasets.Features({"t": datasets.List(Value(dtype))})
        assert excess_of({"t": numbers.tolist()}, features), dtype
    assert excess_of({"t": nans[:1]})
    assert excess_of({"t": [float("nan")] * 60}) == []
    assert excess_of({"t": [[float("nan")] * 60]}) == []


def test_what_was_said_before_is_free_and_the_window_is_that_of_deflate() -> None:
    noise = "".join(np.random.default_rng(0).choice(list(string.ascii_letters + string.digits), 320))
    halves = [noise[:160], noise[160:]]
    assert excess_of({"note": [*halves, noise, noise]}) == []
    assert [excess.where for excess in excess_of({"note": [noise, *halves]})] == ["row 0"]
    far = ["".join(np.random.default_rng(number).choice(list("ab"), 1000)) for number in range(40)]
    assert excess_of({"note": [*halves, *far[:20], noise]}) == []
    assert [excess.where for excess in excess_of({"note": [*halves, *far, noise]})] == ["row 42"]
