import hashlib
import io
import json
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

import rem_release
from rem_release.data.images.decoding import BadImage
from rem_release.data.images.pixels import pixel_hash
from rem_release.data.images.png_writing import encode_png
from rem_release.data.shards import ShardWriter
from rem_release.errors import InputError
from rem_release.recipe import load_recipe, parse_recipe
from rem_release.release.assembling import describe_protection
from rem_release.release.canonical import canonical_bytes, read_sealed, seal, sha256_file
from rem_release.release.certificate import ANSWERS, RADIUS_FIGURE, read_certificate
from rem_release.release.documents import CERTIFICATE, describe_files, write_documents
from rem_release.release.facts import Facts, data_digest
from rem_release.release.figures import NOISE_FIGURE, PROTECTED_FIGURE, noise_grid, protected_grid
from rem_release.release.imperceptibility import ChangeMeter
from rem_release.release.schema import write_features
from rem_release.verdict.certify import certify as certify_again
from rem_release.verdict.evidence import write_evidence
from rem_release.verification.pairing import RecordedRow, SearchPairing
from rem_release.verification.verify import verify_release
from tests.evidence import answer, describe_release

LEVELS = 8
FEATURES = datasets.Features(
    {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dög"]), "note": datasets.Value("string")}
)
SIZES = [(16, 16)] * 6 + [(9, 20), (1, 1), (16, 16), (3, 2)]
UNPROTECTED = 4
TWIN = 8  # shows the same image as row 2
RECIPE = load_recipe("rem-cifar10").to_dict()
RECIPE["data"]["resolution"] = 16


@dataclass
class Clean:
    """Originals in memory; the images of `unreadable` cannot be read."""

    images: list[np.ndarray]
    labels: list[str | None]
    unreadable: tuple[int, ...] = ()
    notes: list[str] | None = None

    def __len__(self):
        return len(self.images)

    def pixels(self, index):
        if index in self.unreadable:
            raise BadImage("truncated")
        return self.images[index]

    def label(self, index):
        return self.labels[index]

    def split(self, index):
        return "train"

    def others(self, index):
        return {"note": self.notes[index] if self.notes else f"note {index}"}


@dataclass
class Made:
    folder: Path
    facts: Facts
    clean: Clean
    released: list[np.ndarray]

    @property
    def row_map(self):
        return [
            RecordedRow(row, row != UNPROTECTED, f"{row}.png", pixel_hash(image))
            for row, image in enumerate(self.clean.images)
        ]

    def verify(self, **options):
        return verify_release(self.folder, **options)

    def verify_clean(self):
        return self.verify(clean=self.clean, row_map=self.row_map)

    def reseal(self, **data):
        """Give the facts of the files as they are now, so that only what is in them can be wrong."""
        files = describe_files(self.folder)
        facts = self.facts.model_copy(update={"files": files, "digest": data_digest(files)})
        if data:
            facts = facts.model_copy(update={"data": facts.data.model_copy(update=data)})
        self.facts = write_documents(self.folder, facts)

    def edit_rows(self, edit):
        """Rewrite the first shard after `edit(list of rows)`, and make the facts fit."""
        path = next((self.folder / "data").glob("*-00000-*"))
        table = pq.read_table(path)
        rows = table.to_pylist()
        edit(rows)
        self.write_shard(path, pa.Table.from_pylist(rows, schema=table.schema))

    def write_shard(self, path, table, statistics=("label", "note"), notes=None):
        plain = [name for name in table.schema.names if name != "image"]
        with pq.ParquetWriter(path, table.schema, write_statistics=list(statistics), use_dictionary=plain) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(notes or {})
        self.reseal()

    def edit_pixels(self, row, edit):
        def change(rows):
            pixels = self.released[row].copy()
            edit(pixels)
            rows[row]["image"]["bytes"] = encode_png(pixels)

        self.edit_rows(change)


def draw(seed=0):
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    images[7][:] = 100
    images[TWIN] = images[2].copy()
    released = []
    for row, image in enumerate(images):
        signs = np.where(rng.random(image.shape) < 0.5, -LEVELS, LEVELS)
        noisy = np.clip(image.astype(int) + signs, 0, 255).astype(np.uint8)
        released.append(image.copy() if row == UNPROTECTED else noisy)
    released[TWIN] = released[2].copy()
    return images, released


def state_facts(images, released):
    meter = ChangeMeter()
    for row, (clean, image) in enumerate(zip(images, released, strict=True)):
        if row != UNPROTECTED:
            meter.add(clean, image, row)
    return Facts.model_validate(
        {
            "protection": describe_protection(parse_recipe(RECIPE, "test"), False).model_dump(),
            "recipe_name": "test",
            "recipe": RECIPE,
            "recipe_sha256": hashlib.sha256(json.dumps(RECIPE, sort_keys=True).encode()).hexdigest(),
            "versions": {"rem-release": rem_release.__version__, "torch": "2"},
            "cost": {"training_gradients": 561, "noise_gradients": 0},
            "data": {
                **{"split": "train", "image_column": "image", "label_column": "label", "labels_from": "folders"},
                **{"split_images": {"train": len(images)}},
                **{"columns": list(FEATURES), "features": write_features(FEATURES), "images": len(images)},
                **{"protected": len(images) - 1, "unprotected": 1, "held_back": 2, "skipped": 0, "duplicates": 1},
                **{"resized_noise": 3, "classes": ["cat", "dög"], "class_counts": [5, 5], "max_side": None},
                **{"smallest": (1, 1), "largest": (16, 16)},
            },
            "imperceptibility": meter.facts().model_dump(),
            "files": {},
            "digest": "",
            "readme_sha256": "",
        }
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A sound release of ten images in two shards, one unprotected, one shown twice, of several sizes."""
    folder = tmp_path_factory.mktemp("sound") / "release"
    images, released = draw()
    with ShardWriter(folder, "train", FEATURES, max_shard_bytes=5000, max_row_group_bytes=2000) as writer:
        notes = pa.table({"label": [row % 2 for row in range(10)], "note": [f"note {row}" for row in range(10)]})
        writer.write([encode_png(image) for image in released], notes)
    assert len(writer.files) == 2
    (folder / "figures").mkdir()
    (folder / PROTECTED_FIGURE).write_bytes(protected_grid(released))
    (folder / NOISE_FIGURE).write_bytes(noise_grid(np.full((2, 16, 16, 3), 5, np.int8), LEVELS))
    clean = Clean(images, ["cat", "dög"] * 5)
    made = Made(folder, state_facts(images, released), clean, released)
    made.reseal()
    return made


@pytest.fixture
def made(template, tmp_path):
    folder = tmp_path / "release"
    shutil.copytree(template.folder, folder)
    clean = Clean([image.copy() for image in template.clean.images], list(template.clean.labels))
    return Made(folder, template.facts, clean, template.released)


def failures(report):
    assert not report.passed
    return {check.name: check.detail for check in report.failures}


def check(report, name):
    return next(check for check in report.checks if check.name == name)


# What is sound passes


def test_a_sound_release_passes_with_its_originals(made):
    report = made.verify_clean()
    assert report.failures == []
    assert report.unchecked == []
    assert report.imperceptibility == made.facts.imperceptibility
    assert abs(report.worst.change) == LEVELS
    assert "by the record" in check(report, "originals").detail


def test_without_originals_the_release_passes_and_the_rest_is_listed(made):
    report = made.verify()
    assert report.passed
    names = {check.name for check in report.unchecked}
    assert names == {
        *("originals", "budget", "noise", "unprotected rows", "source labels", "other columns", "duplicates"),
        "imperceptibility",
    }
    assert all("--clean" in check.detail for check in report.unchecked)
    assert (report.imperceptibility, report.worst) == (None, None)


def test_without_a_record_rows_are_paired_by_position(made):
    report = made.verify(clean=made.clean)
    assert report.failures == []
    assert "by position" in check(report, "originals").detail


def test_among_more_originals_rows_are_paired_by_search(made):
    extra = [np.zeros((16, 16, 3), np.uint8), np.full((1, 1, 3), 250, np.uint8)]
    images = [extra[0], *made.clean.images[:5], extra[1], *made.clean.images[5:]]
    labels = ["cat", *made.clean.labels[:5], "cat", *made.clean.labels[5:]]
    notes = ["", *(f"note {row}" for row in range(5)), "", *(f"note {row}" for row in range(5, 10))]
    report = made.verify(clean=Clean(images, labels, (0,), notes))
    assert report.failures == []
    assert "by search" in check(report, "originals").detail


def test_originals_without_labels_leave_labels_unchecked(made):
    made.clean.labels = [None] * 10
    report = made.verify_clean()
    assert report.passed
    assert [check.name for check in report.unchecked] == ["source labels"]


def test_the_report_is_plain_json_and_progress_reaches_the_end(made):
    seen = []
    report = made.verify(clean=made.clean, row_map=made.row_map, progress=lambda *pair: seen.append(pair))
    document = json.loads(json.dumps(report.to_json()))
    assert document["passed"] is True
    assert set(document["worst_pixel"]) == {"row", "y", "x", "channel", "change"}
    assert seen[-1] == (10, 10)


def test_load_dataset_gives_the_images_and_labels(made, tmp_path):
    loaded = datasets.load_dataset(str(made.folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features == FEATURES
    assert loaded["label"] == [0, 1] * 5
    assert loaded["note"][3] == "note 3"
    for row, image in enumerate(loaded["image"]):
        np.testing.assert_array_equal(np.asarray(image), made.released[row])


def test_a_folder_that_is_none_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        verify_release(tmp_path / "missing")


# Any damaged byte


def test_any_flipped_bit_fails_and_names_its_file(made):
    dice = random.Random(0)
    files = sorted(path for path in made.folder.rglob("*") if path.is_file())
    assert len(files) == 6
    for path in files:
        name = path.relative_to(made.folder).as_posix()
        sound = path.read_bytes()
        positions = {0, len(sound) - 1, *(dice.randrange(len(sound)) for _ in range(12))}
        for position in positions:
            damaged = bytearray(sound)
            damaged[position] ^= 1 << dice.randrange(8)
            path.write_bytes(bytes(damaged))
            found = failures(made.verify())
            assert any(name in detail for detail in found.values()), (name, position)
        path.write_bytes(sound)
    assert made.verify().passed


def test_a_damaged_data_file_does_not_hide_the_rest(made):
    first, second = sorted((made.folder / "data").iterdir())
    made.edit_pixels(0, lambda pixels: pixels.__setitem__((0, 0, 0), 255 - pixels[0, 0, 0]))
    second.write_bytes(second.read_bytes()[:-10])
    report = made.verify_clean()
    found = failures(report)
    assert second.name in found["file hashes"]
    assert first.name not in found["file hashes"]
    assert "row 0, y 0, x 0, channel 0" in found["budget"]
    assert "schema" not in found  # it was not opened
    assert check(report, "rows").passed is None
    assert check(report, "imperceptibility").passed is None


def test_a_file_that_is_no_parquet_is_named_even_if_its_hash_fits(made):
    path = sorted((made.folder / "data").iterdir())[1]
    files = made.facts.files
    path.write_bytes(b"PAR1 nothing PAR1")
    name = f"data/{path.name}"
    stated = files[name].model_copy(
        update={"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    )
    files = {**files, name: stated}
    write_documents(made.folder, made.facts.model_copy(update={"files": files, "digest": data_digest(files)}))
    assert f"{name} is no Parquet file" in failures(made.verify())["schema"]


# Files


@pytest.mark.parametrize("name", ["extra.txt", "data/more.parquet", ".hidden", "figures/.DS_Store", "noise/delta.npy"])
def test_an_extra_file_is_named(made, name):
    path = made.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    assert f"{name} does not belong to the release" in failures(made.verify())["file list"]


def test_an_extra_folder_is_named(made):
    (made.folder / "private").mkdir()
    assert failures(made.verify())["file list"] == "private/ is a folder that does not belong to a release"


@pytest.mark.parametrize("name", ["README.md", "figures/noise.png", "data/train-00000-of-00002.parquet"])
def test_a_missing_file_is_named(made, name):
    (made.folder / name).unlink()
    assert f"{name} is missing" in failures(made.verify())["file list"]


def test_a_missing_protection_json_ends_the_checks(made):
    (made.folder / "protection.json").unlink()
    report = made.verify()
    assert failures(report) == {"facts": "protection.json is missing or is not a plain file"}
    assert len(report.checks) == 1


@pytest.mark.parametrize("name", ["README.md", "figures/noise.png", "data/train-00000-of-00002.parquet"])
def test_a_link_is_named(made, tmp_path, name):
    path = made.folder / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert f"{name} is a link" in failures(made.verify())["file list"]


def test_a_linked_folder_is_named(made, tmp_path):
    (made.folder / "figures").rename(tmp_path / "elsewhere")
    (made.folder / "figures").symlink_to(tmp_path / "elsewhere")
    assert "figures is a link" in failures(made.verify())["file list"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_without_waiting(made):
    (made.folder / NOISE_FIGURE).unlink()
    os.mkfifo(made.folder / NOISE_FIGURE)
    assert f"{NOISE_FIGURE} is missing or is not a plain file" in failures(made.verify())["file hashes"]


def test_an_edited_card_is_named(made):
    path = made.folder / "README.md"
    path.write_text(path.read_text().replace("8 of 255", "2 of 255"))
    assert "README.md was changed" in failures(made.verify())["card"]


def test_a_card_that_the_facts_do_not_give_is_named_even_if_its_hash_fits(made):
    path = made.folder / "README.md"
    path.write_text(path.read_text().replace("8 of 255", "2 of 255"))
    hashed = hashlib.sha256(path.read_bytes()).hexdigest()
    facts = made.facts.model_copy(update={"readme_sha256": hashed})
    (made.folder / "protection.json").write_bytes(seal(facts.model_dump(mode="json")))
    assert failures(made.verify()) == {"card": "README.md does not render again identically from protection.json"}


@pytest.mark.parametrize("package", ["rem-release", "datasets"])
def test_the_card_of_another_version_is_held_to_its_hash(made, package):
    made.facts = made.facts.model_copy(update={"versions": {**made.facts.versions, package: "0.0.1"}})
    made.reseal()
    found = check(made.verify(), "card")
    assert (found.passed, made.verify().passed) == (None, True)
    assert f"was made with {package} 0.0.1, not" in found.detail
    assert found.detail.endswith("not rendered again")
    (made.folder / "README.md").write_text("other")
    assert "README.md was changed" in failures(made.verify())["card"]


def test_a_figure_with_a_text_block_is_named(made):
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "made at home")
    Image.new("RGB", (4, 4)).save(made.folder / NOISE_FIGURE, pnginfo=info)
    made.reseal()
    assert failures(made.verify()) == {"figures": f"{NOISE_FIGURE} carries a tEXt block"}


def certify(made, accuracy=0.55, **changes):
    """Write a certificate with its answers, and the documents that show it."""
    given = describe_release(made.facts, **changes)
    evidence = answer(given, {"protected": accuracy})
    write_evidence(evidence, made.folder / ANSWERS)
    state(made, certify_again(given, evidence, sha256_file(made.folder / ANSWERS)).model_dump(mode="json"))
    return read_certificate(made.folder / CERTIFICATE).model_dump(mode="json")


def state(made, document):
    """Put a certificate beside a card that shows it and facts that fit both, as a careful forger would."""
    (made.folder / CERTIFICATE).write_bytes(seal(document))
    facts = made.facts.model_copy(update={"files": describe_files(made.folder)})
    made.facts = write_documents(made.folder, facts, read_certificate(made.folder / CERTIFICATE))


@pytest.mark.parametrize(("accuracy", "outcome"), [(0.55, "passed"), (0.9, "fell short")])
def test_a_certificate_of_these_data_is_sound_and_its_verdict_computed_again(made, accuracy, outcome):
    audit = certify(made, accuracy)
    assert audit["passed"] == (outcome == "passed")
    report = made.verify()
    assert report.passed
    words = "audit.json is whole and bound to the digest of these data; it has no signature"
    assert check(report, "certificate").detail == words
    words = f"computed again from answers.parquet (2 rows, 400 test images): {outcome}"
    assert check(report, "verdict").detail == words
    assert check(report, "verdict's words").passed is True
    assert check(report, "card").detail == "README.md renders again identically from protection.json and audit.json"


def flip_outcome(audit):
    audit["passed"] = True
    for tier in audit["tiers"]:
        tier["outcome"] = "passed" if tier["required"] else tier["outcome"]
    audit["summary"] = ["Passed: every tier that the owner's policy requires stayed under its limit."]


def lower_bounds(audit):
    for row in audit["rows"]:
        row["high"] = 0.1


def drop_a_row(audit):
    audit["rows"] = audit["rows"][:1]
    audit["tiers"][1].update(outcome="not tested", worst=None)


def raise_limits(audit):
    for tier in audit["tiers"]:
        tier["limit"] = 1.0


def invent_accuracy(audit):
    audit["rows"][0]["protected"]["judged"] = 0.51


def forget_an_architecture(audit):
    audit["recipe"]["tiers"]["standard"]["threats"] = []


def count_more_test_images(audit):
    audit["holdout"]["images"] = 4000


def claim_a_seed_more(audit):
    audit["rows"][0]["seeds"] = 4


def change_the_recipe(audit):
    audit["recipe"]["tiers"]["standard"]["limit"] = 1.0


def ask_for_no_tier_but_one(audit):
    audit["recipe"]["tiers"]["adversarial"]["required"] = False


@pytest.mark.parametrize(
    "forge",
    [
        *(flip_outcome, lower_bounds, drop_a_row, raise_limits, invent_accuracy, forget_an_architecture),
        *(count_more_test_images, claim_a_seed_more, change_the_recipe, ask_for_no_tier_but_one),
    ],
)
def test_a_verdict_that_the_answers_do_not_give_fails_though_all_hashes_fit(made, forge):
    audit = certify(made, accuracy=0.9)
    assert audit["passed"] is False
    forge(audit)
    state(made, audit)
    found = failures(made.verify())
    assert "verdict" in found
    assert found.keys() <= {"verdict", "verdict's words"}


@pytest.mark.parametrize("key", ["summary", "not_covered"])
def test_sentences_that_the_figures_do_not_give_fail_and_those_of_a_newer_version_are_not_compared(made, key):
    audit = certify(made, accuracy=0.9)
    words = ["A splendid protection."] if key == "not_covered" else [audit[key][0], "A splendid protection."]
    state(made, {**audit, key: words})
    (fault,) = failures(made.verify()).items()
    assert fault[0] == "verdict's words"
    assert fault[1].startswith(f"audit.json.{key}[")
    versions = {**audit["versions"], "rem-release": "99.1"}
    state(made, {**audit, key: words, "versions": versions})
    report = made.verify()
    assert report.passed
    assert check(report, "verdict").passed is True
    found = check(report, "verdict's words")
    assert found.passed is None
    assert "rem-release 99.1 wrote them" in found.detail


def test_other_answers_fail_even_if_their_hash_is_given(made):
    audit = certify(made)
    better = answer(describe_release(made.facts), {"protected": 0.5})
    write_evidence(better, made.folder / ANSWERS)
    state(made, audit)
    assert "answers.parquet is not the file that audit.json names" in failures(made.verify())["verdict"]
    state(made, {**audit, "answers_sha256": sha256_file(made.folder / ANSWERS)})
    found = failures(made.verify())
    assert "audit.json.rows[0].protected.judged says 0.55, and the answers give 0.5" in found["verdict"]


def test_answers_that_are_lost_incomplete_or_damaged_fail(made):
    audit = certify(made)
    path = made.folder / ANSWERS
    table = pq.read_table(path)

    def refused():
        if path.exists():
            audit["answers_sha256"] = sha256_file(path)
        state(made, audit)
        return failures(made.verify())["verdict"]

    pq.write_table(table.slice(0, len(table) - 1), path)
    assert "were taken after the steps" in refused()
    kept = [row for row, threat in enumerate(table["threat"].to_pylist()) if threat != "pgd(radius=4/255)"]
    pq.write_table(table.take(kept), path)
    assert "has not the victims that the recipe of the certificate asks for" in refused()
    pq.write_table(table.append_column("file", pa.array([""] * len(table))), path)
    assert "it has other columns" in refused()
    path.write_bytes(b"PAR1")
    assert "answers.parquet has too few bytes" in refused()
    path.unlink()
    assert "answers.parquet is missing" in refused()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "em"}, "method em, not rem"),
        ({"rho_u": "16/255"}, "rho_u 16/255, not 8/255"),
        ({"rho_a": "2/255"}, "rho_a 2/255, not 4/255"),
        ({"source": "small_vgg"}, "source network small_vgg, not resnet18"),
        ({"images": 11}, "11 training images of 10"),
    ],
)
def test_a_certificate_of_another_protection_fails(made, changes, words):
    """Its verdict follows from its answers; but it is not that of this release."""
    certify(made, **changes)
    assert failures(made.verify())["verdict"].endswith(f"audit.json contradicts protection.json: {words}")


def test_a_damaged_certificate_is_named(made):
    path = made.folder / CERTIFICATE
    audit = certify(made)
    path.write_bytes(canonical_bytes(audit))
    assert "audit.json" in failures(made.verify())["certificate"]
    path.write_bytes(seal({**audit, "verdict": "splendid"}))
    assert "audit.json does not follow its schema: verdict" in failures(made.verify())["certificate"]
    audit["tiers"][0]["worst"] = 99
    path.write_bytes(seal(audit))
    assert "the worst row of the tier standard is 99 of 2 rows" in failures(made.verify())["certificate"]
    path.write_bytes(seal({**audit, "tiers": audit["tiers"][1:]}))
    assert "tiers are not standard, adversarial, adaptive, transfer" in failures(made.verify())["certificate"]
    audit["tiers"][0]["worst"] = 0
    audit["rows"][1]["clean"]["per_class"].pop()
    path.write_bytes(seal(audit))
    assert "per_class of row 1 is not of 2 classes" in failures(made.verify())["certificate"]


def test_a_void_certificate_fails_and_its_card_too(made):
    audit = certify(made)
    (made.folder / CERTIFICATE).write_bytes(seal({**audit, "digest": "another"}))
    found = failures(made.verify())
    assert found["certificate"].startswith("audit.json is void: it is of data with the digest another")
    assert "audit these data again" in found["certificate"]
    assert "does not render again" in found["card"]
    write_documents(made.folder, made.facts)
    assert set(failures(made.verify())) == {"certificate"}
    assert "verdict" not in {each.name for each in made.verify().checks}, "nothing is said of a void one"


def test_figures_of_an_audit_belong_to_a_release_with_its_certificate(made):
    (made.folder / RADIUS_FIGURE).write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8)))
    made.reseal()
    assert failures(made.verify()) == {"file list": "audit.json is missing"}
    certify(made)
    assert made.verify().passed
    assert RADIUS_FIGURE in (made.folder / "README.md").read_text()
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "plotter")
    Image.new("RGB", (4, 4)).save(made.folder / RADIUS_FIGURE, pnginfo=info)
    made.reseal()
    certify(made)
    assert failures(made.verify()) == {"figures": f"{RADIUS_FIGURE} carries a tEXt block"}


def test_answers_without_their_certificate_are_a_fault_of_the_file_list(made):
    certify(made)
    (made.folder / CERTIFICATE).unlink()
    assert failures(made.verify())["file list"] == "audit.json is missing"


# Facts


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"images": 11}, "do not add up to images"),
        ({"class_counts": [4, 5]}, "class_counts do not add up"),
        ({"classes": ["cat"]}, "classes and class_counts differ"),
        ({"columns": ["image", "label"]}, "columns and features differ"),
        ({"features": "{}"}, "columns and features differ"),
        ({"features": "?"}, "does not describe columns"),
        ({"image_column": "label"}, "'label' is no column of images"),
        ({"label_column": "class"}, "'class' is no column"),
        ({"split": "test"}, "split_images names other splits than 'test'"),
        ({"split": "test", "split_images": {"test": 10}}, "other data files than shards of 'test'"),
        ({"split": "a/b", "split_images": {"a/b": 10}}, "other data files than shards of 'a/b'"),
        ({"split_images": {"train": 9}}, "rows of the data files are not those of split_images"),
        ({"split": "test+train", "split_images": {"test": 5, "train": 5}}, "are not those of split_images"),
        ({"duplicates": 10}, "duplicates is not below images"),
        ({"resized_noise": 10}, "resized_noise exceeds"),
    ],
)
def test_facts_that_contradict_each_other_are_named(made, data, words):
    facts = made.facts.model_copy(update={"data": made.facts.data.model_copy(update=data)})
    (made.folder / "protection.json").write_bytes(seal(facts.model_dump(mode="json")))
    report = made.verify_clean()
    assert words in failures(report)["facts"]
    assert check(report, "rows").passed is None


@pytest.mark.parametrize(
    ("protection", "words"),
    [
        ({"rho_u": "4/255"}, "radii are not those of the recipe"),
        ({"rho_u_levels": 9}, "rho_u_levels is not floor"),
        ({"rho_a": "2/255"}, "radii are not those of the recipe"),
        ({"rho_u": "much"}, "radii cannot be read"),
        ({"method": "em"}, "method is not that of the recipe"),
        ({"steps": 11}, "protection.steps is 11, and 10 by the recipe"),
        ({"step_size": "1/255"}, "protection.step_size is '1/255', and "),
        ({"source_model": "small_resnet"}, "protection.source_model is 'small_resnet', and 'resnet18'"),
        ({"generator_steps": 1}, "protection.generator_steps is 1, and "),
        ({"resolution": 32}, "protection.resolution is 32, and 16 by the recipe"),
    ],
)
def test_protection_that_contradicts_the_recipe_is_named(made, protection, words):
    facts = made.facts.model_copy(update={"protection": made.facts.protection.model_copy(update=protection)})
    (made.folder / "protection.json").write_bytes(seal(facts.model_dump(mode="json")))
    assert words in failures(made.verify())["facts"]


def test_a_recipe_of_the_facts_that_is_none_is_named(made):
    recipe = {"noise": RECIPE["noise"]}
    hashed = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    made.facts = made.facts.model_copy(update={"recipe": recipe, "recipe_sha256": hashed})
    made.reseal()
    assert "recipe of the facts is not valid: " in failures(made.verify())["facts"]
    made.facts = made.facts.model_copy(update={"versions": {**made.facts.versions, "rem-release": "0.0.1"}})
    made.reseal()
    assert made.verify().passed  # its recipes may have had other keys


def test_another_figure_is_named_even_if_the_facts_list_it(made):
    (made.folder / "figures" / "clean.png").write_bytes(encode_png(made.clean.images[0]))
    made.reseal()
    assert "files lists a name that a release cannot have" in failures(made.verify())["facts"]


def test_either_figure_may_be_absent(made):
    (made.folder / PROTECTED_FIGURE).unlink()
    made.reseal()
    assert "cannot be proven" in check(made.verify(), "figures").detail
    assert "figures" not in {item.name for item in made.verify().failures}
    (made.folder / NOISE_FIGURE).unlink()
    made.reseal()
    assert made.verify().failures == []
    assert check(made.verify(), "figures").detail.startswith("0 figures")


def test_another_recipe_digest_or_file_name_is_named(made):
    for update, words in (
        ({"recipe": {**RECIPE, "data": {}}}, "recipe does not fit recipe_sha256"),
        ({"digest": "0" * 64}, "digest is not that"),
        ({"files": {**made.facts.files, "../clean.png": made.facts.files[NOISE_FIGURE]}}, "cannot have"),
        ({"imperceptibility": None}, "imperceptibility must be there exactly"),
    ):
        facts = made.facts.model_copy(update=update)
        (made.folder / "protection.json").write_bytes(seal(facts.model_dump(mode="json")))
        assert words in failures(made.verify())["facts"]


def test_facts_outside_the_schema_are_named(made):
    path = made.folder / "protection.json"
    document = read_sealed(path)
    document["data"]["images"] = "ten"
    path.write_bytes(seal(document))
    assert "does not follow its schema: data.images" in failures(made.verify())["facts"]


# Rows, with the whole chain of hashes made to fit


def put(rows, row, data):
    rows[row]["image"]["bytes"] = data


def with_text(pixels):
    buffer, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_text("GPS", "48.1, 11.5")
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def as_jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("encode", "words"),
    [
        pytest.param(with_text, "row 1 carries a tEXt block", id="text"),
        pytest.param(lambda pixels: encode_png(pixels) + b"tail", "row 1 carries 4 bytes after its end", id="tail"),
        pytest.param(as_jpeg, "row 1 is not a PNG", id="jpeg"),
        pytest.param(lambda pixels: b"", "row 1 is not a PNG", id="empty"),
        pytest.param(lambda pixels: None, "row 1 has no image", id="null"),
    ],
)
def test_an_image_that_is_not_bare_is_named(made, encode, words):
    made.edit_rows(lambda rows: put(rows, 1, encode(made.released[1])))
    assert words in failures(made.verify())["images"]


def test_a_telling_path_is_named(made):
    made.edit_rows(lambda rows: rows[3]["image"].update(path="holiday/anna.jpg"))
    assert failures(made.verify())["rows"] == "row 3 has the path 'holiday/anna.jpg' instead of '000000003.png'"


def test_a_changed_label_is_named(made):
    made.edit_rows(lambda rows: rows[3].update(label=0))
    assert failures(made.verify())["rows"] == (
        "rows of a class are not those of the facts: cat 6 instead of 5, dög 4 instead of 5"
    )
    assert "row 3 is labelled cat and its original dög" in failures(made.verify_clean())["source labels"]


def test_a_changed_other_column_is_named_with_the_originals(made):
    made.edit_rows(lambda rows: rows[3].update(note="anna"))
    assert made.verify().passed
    found = failures(made.verify_clean())
    assert found == {"other columns": "row 3, column note is 'anna', and 'note 3' in the source"}


def test_exchanged_labels_are_named_only_with_the_originals(made):
    made.edit_rows(lambda rows: (rows[0].update(label=1), rows[1].update(label=0)))
    assert made.verify().passed
    assert set(failures(made.verify_clean())) == {"source labels"}


def test_a_missing_label_is_named(made):
    made.edit_rows(lambda rows: rows[3].update(label=None))
    assert "row 3 has the label None" in failures(made.verify())["rows"]


def test_a_missing_row_is_named(made):
    made.edit_rows(lambda rows: rows.pop())
    assert "do not add up to images" in failures(made.verify())["facts"]
    made.reseal(images=9, split_images={"train": 9}, protected=8, class_counts=[5, 4])
    assert "has the path" in failures(made.verify())["rows"]


def test_a_schema_with_another_type_is_named(made):
    path = sorted((made.folder / "data").iterdir())[0]
    table = pq.read_table(path)
    position = table.schema.get_field_index("note")
    large = table.set_column(position, "note", table["note"].cast(pa.large_string()))
    pq.write_table(large.replace_schema_metadata(table.schema.metadata), path)
    made.reseal()
    assert f"data/{path.name} column note is large_string instead of string" in failures(made.verify())["schema"]


def test_what_a_shard_carries_beside_its_rows_is_named(made):
    path = sorted((made.folder / "data").iterdir())[0]
    table = pq.read_table(path)
    made.write_shard(path, table)
    assert made.verify().passed
    made.write_shard(path, table, notes={"owner": "anna"})
    assert "carries the notes owner in its footer" in failures(made.verify())["file bytes"]
    made.write_shard(path, table, statistics=("label", "note", "image.bytes"))
    assert "image.bytes of row group 0, a smallest or largest value" in failures(made.verify())["file bytes"]
    position = table.schema.get_field_index("note")
    noted = table.schema.set(position, table.schema.field(position).with_metadata({"owner": "anna"}))
    made.write_shard(path, table.cast(noted))
    assert "carries the notes owner on the field note" in failures(made.verify())["file bytes"]
    image = table.schema.get_field_index("image")
    inner = [pa.field("bytes", pa.binary(), metadata={"owner": "anna"}), pa.field("path", pa.string())]
    noted = table.schema.set(image, pa.field("image", pa.struct(inner)))
    made.write_shard(path, pa.Table.from_pylist(table.to_pylist(), schema=noted))
    assert "carries the notes owner on the field bytes" in failures(made.verify())["file bytes"]


def test_wrong_sizes_in_the_facts_are_named(made):
    made.reseal(smallest=(3, 2), largest=(20, 19))
    assert failures(made.verify())["images"] == (
        "the smallest image is (1, 1), not (3, 2) (width, height) as the facts say; "
        "the largest image is (16, 16), not (20, 19) (width, height) as the facts say"
    )
    made.reseal(smallest=(1, 1), largest=(15, 17))
    assert "announces 16 x 16 pixels, more than the largest image" in failures(made.verify())["images"]


def test_images_above_max_side_are_named(made):
    made.reseal(max_side=16)
    assert failures(made.verify())["images"] == "row 6 is 20 x 9, above max_side 16"


# Rows against their originals


def test_a_pixel_over_the_budget_is_named(made):
    def change(pixels):
        value = int(made.clean.images[5][3, 2, 1])
        pixels[3, 2, 1] = value + LEVELS + 1 if value < 128 else value - LEVELS - 1

    made.edit_pixels(5, change)
    assert made.verify().passed
    report = made.verify_clean()
    assert "row 5, y 3, x 2, channel 1 differs by" in failures(report)["budget"]
    assert (report.worst.row, report.worst.y, report.worst.x, report.worst.channel) == (5, 3, 2, 1)
    assert abs(report.worst.change) == LEVELS + 1
    assert "imperceptibility" in failures(report)


def test_a_protected_row_that_did_not_change_is_named(made):
    made.edit_pixels(1, lambda pixels: pixels.__setitem__(..., made.clean.images[1]))
    found = failures(made.verify_clean())
    assert "row 1 should be protected and equals its original" in found["noise"]
    assert (
        "2 rows equal their originals, and the facts count 1"
        in failures(made.verify(clean=made.clean))["unprotected rows"]
    )


def test_a_protected_row_with_hardly_any_noise_is_named(made):
    def change(pixels):
        pixels[...] = made.clean.images[1]
        pixels[0, 0] = np.where(pixels[0, 0] > 100, pixels[0, 0] - 1, pixels[0, 0] + 1)

    made.edit_pixels(1, change)
    assert "row 1 differs by 0.004 levels on average, less than" in failures(made.verify_clean())["noise"]


def test_noise_is_measured_against_the_room_that_black_and_white_leave(made):
    made.clean.images[0][:] = 255
    pixels = np.full((16, 16, 3), 255, np.uint8)
    pixels[:, :2] -= np.uint8(LEVELS)  # 1 level on average: an eighth of the budget, a quarter of the room
    made.edit_pixels(0, lambda target: target.__setitem__(..., pixels))
    assert "noise" not in failures(made.verify_clean())
    pixels[:, 0] = 255  # half a level: exactly an eighth of the room
    made.edit_pixels(0, lambda target: target.__setitem__(..., pixels))
    assert "noise" not in failures(made.verify_clean())
    pixels[0, 1] = 255
    made.edit_pixels(0, lambda target: target.__setitem__(..., pixels))
    assert "row 0 differs by" in failures(made.verify_clean())["noise"]


def test_an_unprotected_row_that_changed_is_named(made):
    made.edit_pixels(UNPROTECTED, lambda pixels: pixels.__setitem__((0, 0, 0), pixels[0, 0, 0] ^ 1))
    assert f"row {UNPROTECTED} should equal its original" in failures(made.verify_clean())["unprotected rows"]


def test_two_noises_on_one_image_are_named(made):
    def change(pixels):
        pixels[0, 0, 0] = made.clean.images[2][0, 0, 0]

    made.edit_pixels(2, change)
    assert (
        f"row {TWIN} shows the original of an earlier row with other noise"
        in failures(made.verify_clean())["duplicates"]
    )


def test_miscounted_duplicates_and_resized_rows_are_named(made):
    made.reseal(duplicates=0, resized_noise=0)
    found = failures(made.verify_clean())
    assert found["duplicates"] == "1 rows repeat an earlier one, and the facts count 0"
    assert found["noise"] == "3 protected rows are not of the working resolution, not 0"


def test_wrong_figures_in_the_facts_are_named(made):
    seen = made.facts.imperceptibility
    made.facts = made.facts.model_copy(
        update={"imperceptibility": seen.model_copy(update={"psnr_mean": seen.psnr_mean + 1})}
    )
    made.reseal()
    assert set(failures(made.verify_clean())) == {"imperceptibility"}


def test_an_image_of_another_size_is_named(made):
    made.clean.images[0] = np.zeros((8, 8, 3), np.uint8)
    assert "row 0 has not the size of its original" in failures(made.verify_clean())["originals"]


def test_rows_without_originals_are_named(made):
    assert "row 9 has no original" in failures(made.verify(clean=made.clean, row_map=made.row_map[:9]))["originals"]
    for index in (None, 10):
        beyond = [*made.row_map[:9], RecordedRow(index, True, "9.png", "")]
        found = failures(made.verify(clean=made.clean, row_map=beyond))
        assert found == {"originals": "row 9 is not compared: original 9.png is missing since the run"}


def test_an_original_that_changed_since_the_run_is_named_and_not_compared(made):
    row_map = made.row_map
    made.clean.images[3][:] = 0
    made.clean.labels[3] = "cat"
    report = made.verify(clean=made.clean, row_map=row_map)
    assert failures(report) == {"originals": "row 3 is not compared: original 3.png changed since the run"}
    assert "1 rows could not be compared" in check(report, "budget").detail


def test_an_original_that_cannot_be_read_is_named(made):
    made.clean.unreadable = (3,)
    assert failures(made.verify_clean())["originals"] == "the original of row 3 cannot be read: truncated"


def test_search_finds_the_rest_after_a_row_without_original(made):
    fewer = Clean([image for row, image in enumerate(made.clean.images) if row not in (5, 6)], [None] * 8)
    report = made.verify(clean=fewer)
    assert failures(report)["originals"] == "row 5 has no original; row 6 has no original"
    assert check(report, "imperceptibility").passed is None


def test_search_gives_no_original_to_two_rows():
    original = np.full((4, 4, 3), 50, np.uint8)
    pairing = SearchPairing(Clean([original], [None]), LEVELS)
    assert pairing.find(0, original + np.uint8(LEVELS)).index == 0
    assert pairing.find(1, original + np.uint8(LEVELS)) is None


def test_many_faults_are_counted_and_the_first_are_shown(made):
    made.edit_rows(lambda rows: [row["image"].update(path="a.jpg") for row in rows])
    shards = sorted((made.folder / "data").iterdir())
    rows = pq.read_metadata(shards[0]).num_rows
    assert rows > 5
    assert failures(made.verify())["rows"].endswith(f"; and {rows - 5} more")
