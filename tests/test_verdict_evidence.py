"""answers.parquet: it comes back as it was written, and whatever is damaged, left out or invented is refused."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rem_release.errors import VerificationError
from rem_release.release.certificate import Circumstances, HoldoutSource
from rem_release.verdict import evidence as module
from rem_release.verdict.certify import certify, count_evaluations, list_tasks
from rem_release.verdict.evidence import Evidence, number_clusters, read_evidence, write_evidence
from tests.evidence import answer, describe, judge

CLASSES = ["cat", "dog", "fox"]
IMAGES = 30


@pytest.fixture(scope="module")
def given() -> Circumstances:
    return describe(CLASSES, recipe={"statistics": {"half_width": 0.4}})


@pytest.fixture(scope="module")
def evidence(given) -> Evidence:
    return answer(given, {"protected": 0.4}, IMAGES, clusters=np.arange(IMAGES, dtype=np.int32) // 2)


@pytest.fixture(scope="module")
def table(evidence) -> pa.Table:
    buffer = io.BytesIO()
    write_evidence(evidence, buffer)
    return pq.read_table(buffer)


def read(path: Path, given: Circumstances) -> Evidence:
    return read_evidence(path, len(given.classes), list_tasks(given), count_evaluations(given))


def refuse(path: Path, given: Circumstances, words: str) -> None:
    with pytest.raises(VerificationError, match=words) as caught:
        certify(given, read(path, given), "12" * 32)
    assert "answers" in str(caught.value)


def test_it_comes_back_as_it_was_written(given, evidence, tmp_path):
    path = tmp_path / "answers.parquet"
    write_evidence(evidence, path)
    again = read(path, given)
    np.testing.assert_array_equal(again.labels, evidence.labels)
    np.testing.assert_array_equal(again.clusters, evidence.clusters)
    assert list(again.victims) == list(evidence.victims) == [task.key for task in list_tasks(given)]
    for key, victim in evidence.victims.items():
        found = again.victims[key]
        for name in ("task", "finite", "train_accuracy", "fit", "attack_gain"):
            assert getattr(found, name) == getattr(victim, name)
        np.testing.assert_array_equal(found.steps, victim.steps)
        np.testing.assert_array_equal(found.named, victim.named)
    assert judge(given, again) == judge(given, evidence)


def test_victims_without_an_attack_and_broken_ones_come_back_too(given, tmp_path):
    evidence = answer(given, {"protected": 0.4}, IMAGES, attack_gain=None, finite=False, fit=0.0, train_accuracy=0.0)
    write_evidence(evidence, tmp_path / "answers.parquet")
    for victim in read(tmp_path / "answers.parquet", given).victims.values():
        assert (victim.attack_gain, victim.finite, victim.fit) == (None, False, 0.0)


def test_neither_image_nor_file_name_nor_time_is_in_it(table, evidence):
    assert set(table.column_names) == {
        *("trained_on", "architecture", "threat", "seed", "step", "finite", "train_accuracy", "fit", "attack_gain"),
        "answers",
    }
    buffers = [io.BytesIO(), io.BytesIO()]
    for buffer in buffers:
        write_evidence(evidence, buffer)
    assert buffers[0].getvalue() == buffers[1].getvalue()


# rows and columns


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    return table.to_pylist()


def last_victim(rows: list[dict[str, Any]]) -> list[int]:
    """Places of the rows of the last victim."""
    names = ("trained_on", "architecture", "threat", "seed")
    return [place for place, row in enumerate(rows) if all(row[name] == rows[-1][name] for name in names)]


def without(places: Callable[[list[dict[str, Any]]], list[int]]) -> Callable[..., None]:
    def change(rows: list[dict[str, Any]]) -> None:
        for place in sorted(places(rows), reverse=True):
            del rows[place]

    return change


def put(values: dict[str, Any], places: Callable[..., list[int]] = last_victim) -> Callable[..., None]:
    def change(rows: list[dict[str, Any]]) -> None:
        for place in places(rows):
            rows[place] = {**rows[place], **values}

    return change


def name_class(number: int, place: int = -1) -> Callable[..., None]:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[place]["answers"] = [*rows[place]["answers"][1:], number]

    return change


def at(*places: int) -> Callable[..., list[int]]:
    return lambda rows: [place % len(rows) for place in places]


def shuffle_steps(rows: list[dict[str, Any]]) -> None:
    rows[-1], rows[-2] = rows[-2], rows[-1]


def add_victim(rows: list[dict[str, Any]]) -> None:
    rows += [{**rows[place], "seed": 7} for place in last_victim(rows)]


def repeat_evaluation(rows: list[dict[str, Any]]) -> None:
    rows.append(rows[-1])


def swap_head(rows: list[dict[str, Any]]) -> None:
    rows[0], rows[1] = rows[1], rows[0]


def cut_all(length: int) -> Callable[..., None]:
    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["answers"] = row["answers"][:length]

    return change


STRANGE = "has not the victims that the recipe of the certificate asks for, each once: {} are missing or strange"
WRONG_ROWS = {
    "a victim left out": (without(last_victim), STRANGE.format(1)),
    "all victims but one": (without(lambda rows: list(range(6, len(rows)))), STRANGE.format("[0-9]+")),
    "a victim too many": (add_victim, STRANGE.format(1)),
    "a victim in the place of another": (put({"seed": 7}), STRANGE.format(2)),
    "another kind": (put({"trained_on": "clean part"}), STRANGE.format(2)),
    "another threat": (put({"threat": "mean"}), STRANGE.format(2)),
    "another network": (put({"architecture": "vgg16"}), STRANGE.format(2)),
    "an unknown kind": (put({"trained_on": "released"}), "names an unknown kind"),
    "labels twice": (put({"trained_on": "labels"}), "names an unknown kind"),
    "an evaluation left out": (without(at(-2)), "were taken after the steps .*, and its recipe says"),
    "the last evaluation left out": (without(at(-1)), "were taken after the steps .*, and its recipe says"),
    "an evaluation at another step": (put({"step": 79}, at(-1)), "were taken after the steps .*, and its recipe says"),
    "an evaluation twice": (repeat_evaluation, "contradicts itself on the victim"),
    "an evaluation in the place of another": (put({"step": 60}, at(-1)), "contradicts itself on the victim"),
    "evaluations in another order": (shuffle_steps, "contradicts itself on the victim"),
    "a negative step": (put({"step": -1}, at(-1)), "contradicts itself on the victim"),
    "two fits": (put({"fit": 0.5}, at(-1)), "contradicts itself on the victim"),
    "two gains": (put({"attack_gain": None}, at(-1)), "contradicts itself on the victim"),
    "once finite": (put({"finite": False}, at(-1)), "contradicts itself on the victim"),
    "fit above 1": (put({"fit": 1.01}), "an accuracy that is none"),
    "fit below 0": (put({"fit": -0.01}), "an accuracy that is none"),
    "fit that is no number": (put({"fit": float("nan")}), "contradicts itself|an accuracy that is none"),
    "accuracy above 1": (put({"train_accuracy": 1.01}), "an accuracy that is none"),
    "accuracy without end": (put({"train_accuracy": float("inf")}), "an accuracy that is none"),
    "a class that is none": (name_class(3), "names other classes than the 3"),
    "a class below none": (name_class(-1), "names other classes than the 3"),
    "a label that is none": (name_class(3, 0), "names other classes than the 3"),
    "a class without test images": (put({"answers": [0, 1] * (IMAGES // 2)}, at(0)), "names other classes than the 3"),
    "an answer too few": (put({"answers": [0] * (IMAGES - 1)}, at(-1)), "rows of 29, 30 answers, not of one number"),
    "an answer too many": (put({"answers": [0] * (IMAGES + 1)}, at(-1)), "rows of 30, 31 answers, not of one number"),
    "no answers of one": (put({"answers": []}, at(-1)), "rows of 0, 30 answers, not of one number"),
    "labels too few": (put({"answers": [0, 1, 2]}, at(0)), "rows of 3, 30 answers, not of one number"),
    "no answers at all": (cut_all(0), "rows of 0 answers, not of one number"),
    "other labels than classes": (cut_all(2), "names other classes than the 3"),
    "no labels": (without(at(0)), "does not begin with labels and clusters"),
    "no clusters": (without(at(1)), "does not begin with labels and clusters"),
    "clusters first": (swap_head, "does not begin with labels and clusters"),
    "clusters with numbers of their own": (
        put({"answers": [7 * number for number in range(IMAGES)]}, at(1)),
        "numbers its clusters otherwise than in their order, from 0 on",
    ),
    "clusters in another order": (
        put({"answers": list(range(IMAGES))[::-1]}, at(1)),
        "numbers its clusters otherwise than in their order, from 0 on",
    ),
    "no rows": (without(lambda rows: list(range(len(rows)))), "or 0 rows instead of 3 to"),
    "labels and clusters alone": (without(lambda rows: list(range(2, len(rows)))), "or 2 rows instead of 3 to"),
    "a name as long as a book": (put({"threat": "a" * 100_000}), "a text in the column threat is longer than"),
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_rows_that_are_not_those_of_the_audit_are_refused(name, given, table, tmp_path):
    change, words = WRONG_ROWS[name]
    rows = rows_of(table)
    change(rows)
    path = tmp_path / "answers.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    refuse(path, given, words)


def test_the_rows_as_they_were_are_read(given, table, tmp_path):
    """Or the refusals above would say nothing."""
    path = tmp_path / "answers.parquet"
    pq.write_table(pa.Table.from_pylist(rows_of(table), schema=table.schema), path)
    read(path, given)


def test_clusters_are_numbered_in_the_order_of_their_first_images():
    assert number_clusters(np.array([9, 4, 9, 7, 4])).tolist() == [0, 1, 0, 2, 1]
    assert number_clusters(np.arange(5)).tolist() == list(range(5))


def nullable(table: pa.Table, name: str) -> pa.Table:
    """A row without that value."""
    place = table.column_names.index(name)
    field = table.schema.field(name)
    values = [*table[name].to_pylist()[:-1], None]
    return table.set_column(place, field.with_nullable(True), pa.array(values, field.type))


WRONG_COLUMNS = {
    "a column less": lambda table: table.drop_columns("fit"),
    "a column more": lambda table: table.append_column("name", pa.array([""] * len(table))),
    "another order": lambda table: table.select(table.column_names[::-1]),
    "another name": lambda table: table.rename_columns([*table.column_names[:-1], "named"]),
    "wider seeds": lambda table: table.set_column(
        3, pa.field("seed", pa.uint64(), nullable=False), table["seed"].cast(pa.uint64())
    ),
    "wider answers": lambda table: table.set_column(
        9, "answers", table["answers"].cast(pa.list_(pa.field("element", pa.int64(), nullable=False)))
    ),
    "texts as bytes": lambda table: table.set_column(
        2, pa.field("threat", pa.binary(), nullable=False), table["threat"].cast(pa.binary())
    ),
    **{
        f"no {name}": lambda table, name=name: nullable(table, name)
        for name in ("trained_on", "architecture", "threat", "seed", "step", "finite", "train_accuracy", "fit")
    },
}


@pytest.mark.parametrize("name", WRONG_COLUMNS)
def test_other_columns_are_refused(name, given, table, tmp_path):
    pq.write_table(WRONG_COLUMNS[name](table), tmp_path / "answers.parquet")
    refuse(tmp_path / "answers.parquet", given, r"cannot be read: it has other columns, or [0-9]+ rows")


# the file


@pytest.mark.parametrize("kept", [0, 1, 4, 0.5, -1, -9])
def test_a_file_that_is_cut_off_is_refused(kept, given, evidence, tmp_path):
    path = tmp_path / "answers.parquet"
    write_evidence(evidence, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept) if isinstance(kept, float) else kept])
    refuse(path, given, r"answers\.parquet cannot be read: ")


def test_a_flipped_byte_is_refused_or_changes_what_is_read(given, evidence, tmp_path):
    """No other error than the one of verification, wherever it lies."""
    path = tmp_path / "answers.parquet"
    write_evidence(evidence, path)
    whole, refused, tasks = path.read_bytes(), 0, list_tasks(given)
    for place in range(0, len(whole), max(1, len(whole) // 250)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            read_evidence(path, len(CLASSES), tasks, 8)
        except VerificationError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" * 3, b"\0" * 4096, b"not parquet", b'{"answers": []}'])
def test_what_is_no_parquet_is_refused(content, given, tmp_path):
    (tmp_path / "answers.parquet").write_bytes(content)
    refuse(tmp_path / "answers.parquet", given, r"answers\.parquet cannot be read: ")


def test_what_is_no_plain_file_is_refused(given, evidence, tmp_path):
    write_evidence(evidence, tmp_path / "elsewhere")
    (tmp_path / "link.answers").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder.answers").mkdir()
    for name in ("link.answers", "folder.answers", "missing.answers"):
        refuse(tmp_path / name, given, f"{re.escape(name)} cannot be read: it is missing or is not a plain file")


# size


def test_more_answers_than_an_audit_has_are_refused_unread(given, evidence, tmp_path, monkeypatch):
    path = tmp_path / "answers.parquet"
    write_evidence(evidence, path)
    count = IMAGES * (2 + sum(len(victim.steps) for victim in evidence.victims.values()))
    monkeypatch.setattr(module, "MAX_ANSWERS", count)
    read(path, given)
    monkeypatch.setattr(module, "MAX_ANSWERS", count - 1)
    refuse(path, given, "answers in .* bytes, more than such evidence has")


def test_many_rows_are_refused_unread(given, table, tmp_path):
    path = tmp_path / "answers.parquet"
    pq.write_table(pa.concat_tables([table] * 50), path)
    refuse(path, given, "rows instead of 3 to")


def test_a_small_file_of_long_texts_takes_no_memory(given, table, tmp_path):
    """One text of 3 MB in each row: a few kilobytes compressed, and hundreds of megabytes as they stand."""
    rows = rows_of(table)
    for row in rows:
        row["threat"] = "a" * 3_000_000
    path = tmp_path / "answers.parquet"
    pq.write_table(
        pa.Table.from_pylist(rows, schema=table.schema), path, compression="zstd", dictionary_pagesize_limit=2**30
    )
    assert path.stat().st_size < 50_000
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    default = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        refuse(path, given, "a text in the column threat is longer than 1000 characters")
    finally:
        pa.set_memory_pool(default)
    assert 0 < pool.max_memory() < 2**26


# the audit it must be of


def test_answers_of_victims_of_other_seeds_are_not_those_of_this_release_or_these_test_images(
    given, evidence, tmp_path
):
    """Who knows what victims will answer before, and chooses release or test images by it, has answered for others."""
    path = tmp_path / "answers.parquet"
    write_evidence(evidence, path)
    tasks = {task.key for task in list_tasks(given)}
    release = given.model_copy(update={"digest": "00" * 32})
    holdout = given.model_copy(update={"holdout": HoldoutSource(origin="given", digest="00" * 32, dropped=0)})
    originals = given.model_copy(update={"clean_digest": "00" * 32})
    kept = {
        name: {key[2] for key in tasks & {task.key for task in list_tasks(other)}}
        for name, other in (("release", release), ("holdout", holdout), ("originals", originals))
    }
    assert kept == {"release": {"clean", "random", "yardstick"}, "holdout": set(), "originals": {"protected"}}
    for other in (release, holdout, originals):
        refuse(path, other, "are missing or strange")


def test_what_stands_in_no_recipe_has_no_answers(evidence):
    task = replace(list_tasks(describe(CLASSES))[0], seed=5)
    with pytest.raises(VerificationError, match=r"answers\.parquet has no answers of small_vgg under .*, seed 5"):
        evidence.of(task)
