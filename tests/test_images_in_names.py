"""The originals, carried out in names, types and the owner's words: protect refuses them, and the gate does."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, LargeList, List, Translation, TranslationVariableLanguages, Value

from rem_release.data.leaks.published_words import find_bad_words, find_too_many, is_time_zone, list_words
from rem_release.data.shards import released_features
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.rows import SourceOptions
from rem_release.data.sources.splits import read_split_names
from rem_release.errors import InputError
from rem_release.gate.words import check_words
from rem_release.release.facts import Facts, OwnerFacts
from rem_release.release.owner import apply_card_fields
from rem_release.release.schema import write_features
from rem_release.verification.report import Check
from tests.carriers import encode
from tests.certificates import make_certificate
from tests.command_line import run, succeed
from tests.test_gate_columns import Release, release, sound_facts  # noqa: F401 - fixtures

COUNT = 8
IMAGES = [np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8) for number in range(COUNT)]
URIS = [f"data:image/png;base64,{base64.b64encode(encode(pixels)).decode()}" for pixels in IMAGES]
DIGITS = base64.urlsafe_b64encode(b"".join(map(encode, IMAGES))).decode().rstrip("=")
ZONES = [DIGITS[first : first + 60] for first in range(0, 7200, 60)]
PARTS = [DIGITS[first : first + 30] for first in range(0, 1200, 30)]
"""Too short to be looked at one by one."""
BASE: dict[str, Any] = {"image": datasets.Image(), "label": ClassLabel(names=["cat", "dog"])}


CARRIERS: dict[str, tuple[dict[str, Any], str]] = {
    "languages of rows": ({"t": TranslationVariableLanguages(languages=URIS)}, "the language 'data:"),
    "languages": ({"t": Translation(languages=URIS)}, "the language 'data:"),
    "plain languages": ({"t": TranslationVariableLanguages(languages=ZONES)}, "is no short tag"),
    "classes": ({"k": ClassLabel(names=["a", URIS[0]])}, "the class name 'data:"),
    "listed classes": ({"k": List(List(ClassLabel(names=["a", URIS[0]])))}, "the class name 'data:"),
    "grouped classes": ({"k": {"b": LargeList({"c": ClassLabel(names=URIS)})}}, "the class name 'data:"),
    "split classes": ({"k": ClassLabel(names=PARTS)}, "the class names of column 'k' hold an"),
    "long classes": ({"k": ClassLabel(names=["a", "b " * 200])}, "400 characters, and 256 are allowed"),
    "column": ({URIS[0]: Value("int64")}, "the column name 'data:"),
    "split columns": ({part: Value("int64") for part in PARTS}, "the column names hold an encoded image"),
    "long column": ({"wide " * 100: Value("int64")}, "500 characters"),
    "field": ({"k": {"a": {URIS[0]: Value("int64")}}}, "the field name 'data:"),
    "listed field": ({"k": List({URIS[0]: Value("int64")})}, "the field name 'data:"),
    "split fields": ({"k": {part: Value("int64") for part in PARTS}}, "the field names of column 'k' hold"),
    "zone": ({"k": Value("timestamp[ms, tz=Europe/Wien]")}, "the time zone 'Europe/Wien' of column 'k' is neither"),
    "zones": ({f"q{n}": Value(f"timestamp[ms, tz={part}]") for n, part in enumerate(ZONES)}, "the time zone"),
    "listed zone": ({"k": List({"a": Value(f"timestamp[us, tz={ZONES[0]}]")})}, "the time zone"),
}
IDS: dict[str, dict[str, Any]] = {
    "label": {"label": ClassLabel(names=["cat", "dog"], id=URIS[0])},
    "class": {"k": ClassLabel(names=["a", "b"], id=URIS[0])},
    "listed": {"k": List(ClassLabel(names=["a", "b"], id="x"), id="y")},
    "value": {"k": LargeList({"a": Value("int64", id="x")}, id="y")},
    "languages": {"k": Translation(languages=["de"], id=URIS[0])},
    "languages of rows": {"k": TranslationVariableLanguages(languages=["de"], id=URIS[0])},
}


def write_source(file: Path, features: dict[str, Any], **columns: list[Any]) -> SourceOptions:
    """A Parquet file of these columns, which hold nothing but nulls."""
    schema = datasets.Features({**BASE, **features}).arrow_schema
    images = [{"bytes": encode(pixels), "path": None} for pixels in IMAGES]
    rows = {"image": images, "label": [0, 1] * (COUNT // 2), **columns}
    arrays = [pa.array(rows.get(field.name, [None] * COUNT), field.type) for field in schema]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), file)
    return SourceOptions(source=str(file))


def with_features(facts: Facts, features: dict[str, Any], **changes: object) -> Facts:
    data = {"columns": [*BASE, *features], "features": write_features(datasets.Features({**BASE, **features}))}
    return facts.model_copy(update={"data": facts.data.model_copy(update={"images": COUNT, **data, **changes})})


def check(facts: Facts, features: dict[str, Any], **changes: object) -> Check:
    return check_words(with_features(facts, features, classes=["cat", "dog"], **changes))


# --- what the types say


@pytest.mark.parametrize("name", CARRIERS)
def test_no_image_passes_in_names_and_types(tmp_path: Path, sound_facts: Facts, name: str) -> None:  # noqa: F811
    """Neither through protect, which needs no row to see it, nor through the gate."""
    features, words = CARRIERS[name]
    with pytest.raises(InputError) as refused:
        open_source(write_source(tmp_path / "x.parquet", features))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400
    found = check(sound_facts, features)
    assert found.passed is False
    assert words in found.detail


@pytest.mark.parametrize("name", IDS)
def test_ids_are_left_out_and_the_gate_refuses_them(tmp_path: Path, sound_facts: Facts, name: str) -> None:  # noqa: F811
    features = IDS[name]
    released = released_features(open_source(write_source(tmp_path / "x.parquet", features)))
    assert [word for word in list_words(released.to_dict()) if word.kind == "id"] == []
    assert list(released) == [*BASE, *(key for key in features if key not in BASE)]
    found = check(sound_facts, features)
    assert found.passed is False
    assert "has no use in a release" in found.detail


@pytest.mark.parametrize("column", ["image", "label"])
def test_the_columns_that_are_needed_have_plain_names_too(tmp_path: Path, sound_facts: Facts, column: str) -> None:  # noqa: F811
    names = {"image": "image", "label": "label"} | {column: URIS[0]}
    schema = {names[key]: feature for key, feature in BASE.items()}
    images = [{"bytes": encode(pixels), "path": None} for pixels in IMAGES]
    table = {names["image"]: images, names["label"]: [0, 1] * (COUNT // 2)}
    datasets.Dataset.from_dict(table, features=datasets.Features(schema)).to_parquet(tmp_path / "x.parquet")
    options = {f"{key}_column": name for key, name in names.items()}
    with pytest.raises(InputError, match="the column name 'data:") as refused:
        open_source(SourceOptions(source=str(tmp_path / "x.parquet"), **options))  # type: ignore[arg-type]
    assert "--drop-column" not in str(refused.value)
    text = write_features(datasets.Features(schema))
    assert "the column name 'data:" in check_words(with_data(sound_facts, features=text, **options)).detail


def test_a_column_that_clusters_get_has_a_plain_name(tmp_path: Path) -> None:
    options = write_source(tmp_path / "x.parquet", {})
    with pytest.raises(InputError, match="the column name 'data:"):
        open_source(SourceOptions(source=options.source, label_column=URIS[0], label_from="clusters"))


@pytest.mark.parametrize("label", [URIS[0], "wide " * 100])
def test_classes_that_are_values_are_looked_at(tmp_path: Path, sound_facts: Facts, label: str) -> None:  # noqa: F811
    options = write_source(tmp_path / "x.parquet", {"label": Value("string")}, label=["cat", label] * (COUNT // 2))
    with pytest.raises(InputError, match=r"the class name .* of column 'label' h(a|ol)"):
        open_source(options)
    facts = with_features(sound_facts, {"label": Value("string")}, classes=["cat", label])
    assert "the class name '" in check_words(facts).detail


def test_the_names_of_splits_are_short(sound_facts: Facts) -> None:  # noqa: F811
    assert read_split_names(f"{'a' * 64}+b.c") == ["a" * 64, "b.c"]
    with pytest.raises(InputError, match="with 65 characters; 64 are allowed"):
        read_split_names("a" * 65)
    digits = b"".join(map(encode, IMAGES)).hex()
    for size, words in ((200, "201 characters, and 64 are allowed"), (30, "the split names hold an encoded image")):
        splits = {f"s{digits[first : first + size]}": 1 for first in range(0, 8 * size, size)}
        assert words in check(sound_facts, {}, split_images=splits).detail


def test_all_words_together_are_bounded_and_no_owner_lets_more_pass(
    release: Release,  # noqa: F811
    tmp_path: Path,
    recipe: Path,
) -> None:
    """Random letters: 40 of 150 bytes and more in 8 or 12 rows, whatever they name."""
    noise = np.random.default_rng(0).integers(1, 256, (40, 150), np.uint8)
    names = [f"{n}{row.tobytes().decode('latin-1')}" for n, row in enumerate(noise)]
    for features in (
        {"k": ClassLabel(names=names)},
        {"k": List({"a": ClassLabel(names=names)})},
        {"k": {name: Value("int64") for name in names}},
        {name: Value("int64") for name in names},
    ):
        assert find_too_many(list_words(features_of(features)), COUNT) is not None
        assert find_too_many(list_words(features_of(features)), 100) is None
    release.write({"k": [0, 1] * 6}, k=ClassLabel(names=names))
    found = check_words(release.facts)
    assert "bytes in all, most of them in column 'k', and 2,048 are allowed with 8 rows" in found.detail
    options = write_source(tmp_path / "x.parquet", {"k": ClassLabel(names=names)})
    refused = run("protect", options.source, "--out", tmp_path / "run", "--recipe", recipe)
    assert refused.code == 2
    assert "and 2,048 are allowed with 8 rows" in refused.err
    assert not (tmp_path / "run").exists()


def test_names_of_splits_leave_rows_less_room(release: Release) -> None:  # noqa: F811
    noise = np.random.default_rng(0).integers(161, 256, (12, 120), np.uint8)
    release.write({"note": [row.tobytes().decode("latin-1") for row in noise]})
    assert release.check()["columns"].passed is True
    splits = {np.random.default_rng(number).bytes(31).hex(): 1 for number in range(50)}
    release.facts = with_data(release.facts, split_images=splits)
    assert "are allowed: column note (" in release.check()["columns"].detail


def features_of(features: dict[str, Any]) -> dict[str, Any]:
    return datasets.Features(features).to_dict()


def with_data(facts: Facts, **changes: object) -> Facts:
    return facts.model_copy(update={"data": facts.data.model_copy(update=changes)})


# --- what else the facts say


def test_the_features_say_nothing_but_their_columns(sound_facts: Facts) -> None:  # noqa: F811
    """What `datasets` reads past: keys that no type has, keys that stand twice, and room between the marks."""
    document = features_of(BASE)
    document["label"]["note"] = URIS[0]
    twice = json.dumps(features_of(BASE)).replace('"label": {', f'"label": "{URIS[0]}", "label": {{')
    for text in (json.dumps(document), twice, json.dumps(features_of(BASE), indent=1)):
        facts = with_data(with_features(sound_facts, {}, classes=["cat", "dog"]), features=text)
        assert "data.features of protection.json says more" in check_words(facts).detail


CHANGES: dict[str, Callable[[Facts], Facts]] = {
    "recipe_name": lambda facts: facts.model_copy(update={"recipe_name": URIS[0]}),
    "recipe": lambda facts: facts.model_copy(update={"recipe": {"noise": {"method": ["rem", URIS[0]]}}}),
    "key": lambda facts: facts.model_copy(update={"recipe": {"noise": {URIS[0]: 1}}}),
    "versions": lambda facts: facts.model_copy(update={"versions": {"rem-release": URIS[0]}}),
    "about": lambda facts: facts.model_copy(update={"owner": OwnerFacts(about=f"My dog: {URIS[0]}")}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_no_other_text_of_the_facts_holds_an_image(sound_facts: Facts, name: str) -> None:  # noqa: F811
    assert check_words(sound_facts).passed is True
    assert "holds a data URI" in check_words(CHANGES[name](sound_facts)).detail


def test_no_text_of_the_certificate_holds_an_image(sound_facts: Facts) -> None:  # noqa: F811
    sound = make_certificate(digest=sound_facts.digest)
    assert check_words(sound_facts, sound).passed is True
    found = check_words(sound_facts, sound.model_copy(update={"summary": ["It passed.", URIS[0]]}))
    assert "audit.json.summary[1] holds a data URI" in found.detail


@pytest.mark.parametrize("key", ["about", "pretty_name", "license_link", "contact", "gated_prompt"])
def test_no_field_of_the_card_holds_an_image(key: str) -> None:
    code = URIS[0].partition(",")[2]
    text = f"https://example.org/?d={code}" if key in ("license_link", "contact") else f"See {URIS[0]} here."
    with pytest.raises(InputError, match=f"card field {key}=.* it holds an? .*remove it"):
        apply_card_fields(OwnerFacts(license="other", license_name="mine"), {key: text})


# --- from end to end, and what is ordinary


def test_protect_and_card_refuse_and_exit_with_2(tmp_path: Path, recipe: Path, run_copy: Path) -> None:
    options = write_source(tmp_path / "x.parquet", CARRIERS["languages of rows"][0])
    refused = run("protect", options.source, "--out", tmp_path / "run", "--recipe", recipe)
    assert refused.code == 2
    assert "or leave it out with --drop-column t" in refused.err
    assert not (tmp_path / "run").exists()
    assert run("card", run_copy, "--card-field", f"about={URIS[0]}").code == 2


def test_a_release_without_its_ids_passes_everywhere(tmp_path: Path, recipe: Path) -> None:
    features = {**IDS["label"], **IDS["languages"], "seen": Value("timestamp[ms, tz=Europe/Vienna]")}
    options, out = write_source(tmp_path / "x.parquet", features), tmp_path / "run"
    succeed("protect", options.source, "--out", out, "--recipe", recipe)
    pushed = run("push", out, "owner/pets", "--dry-run", "--allow-uncertified")
    assert pushed.code == 0, pushed.err
    for file in (out / "release").rglob("*"):
        assert file.is_dir() or URIS[0][22:122].encode() not in file.read_bytes()


ORDINARY: list[dict[str, Any]] = [
    {"Grüße an alle, die dies lesen": Value("string"), "収縮期血圧 (mmHg)": Value("float32")},
    {"k": ClassLabel(names=[f"n{number:08}" for number in range(100)])},
    {
        "k": ClassLabel(
            names=["tench, Tinca tinca", "great white shark, white shark, man-eater, Carcharodon carcharias"]
        )
    },
    {"k": ClassLabel(names=[str(number) for number in range(400)])},
    {"k": {f"pixel{number}": Value("int64") for number in range(200)}},
    {"t": TranslationVariableLanguages(languages=["de", "en-GB", "zh-Hant-TW", "pt_BR"])},
    {"t": TranslationVariableLanguages(languages=None), "v": List(Value("float32"), length=16)},
    {"t": Value("timestamp[ns, tz=UTC]"), "u": Value("timestamp[us, tz=+05:30]"), "v": Value("decimal128(10, 2)")},
    {"_type": Value("string"), "names": {"_type": Value("int64"), "id": Value("int64"), "dtype": Value("string")}},
]


@pytest.mark.parametrize("features", ORDINARY)
def test_ordinary_names_pass(tmp_path: Path, sound_facts: Facts, features: dict[str, Any]) -> None:  # noqa: F811
    open_source(write_source(tmp_path / "x.parquet", features))
    assert list(find_bad_words(list_words(features_of(features), ["train", "validation.2"], "quickstart"))) == []
    found = check(sound_facts, features)
    assert found.passed is True, found.detail


def test_time_zones() -> None:
    for zone in ("UTC", "Europe/Vienna", "America/Argentina/Buenos_Aires", "Etc/GMT+1", "+00:00", "-0930", "+14:00"):
        assert is_time_zone(zone), zone
    for zone in ("", "Mars/Base", "+25:00", "+01:60", "utc ", "../etc/passwd", "+1", ZONES[0]):
        assert not is_time_zone(zone), zone
