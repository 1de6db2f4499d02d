"""metadata.jsonl and dates: texts stay texts, whatever they look like."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import List, Value

from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.errors import InputError
from tests.test_data_folders import draw

DATES = ["2021-05-01", "2021-05-02 10:00:00", "2021-05-01T10:00:00Z", "2021-05-01"]


def write_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


WAYS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "lines": write_lines,
    "a mark before them": lambda rows: f"\ufeff{write_lines(rows)}",
    "blank lines": lambda rows: write_lines(rows).replace("\n", "\n\n"),
    "one list": lambda rows: json.dumps(rows, indent=1),
}


def read(folder: Path, write: Callable[[list[dict[str, Any]]], str] = write_lines, **columns: list[Any]) -> Source:
    rows: list[dict[str, Any]] = [{"file_name": f"{row}.png"} for row in range(4)]
    for row in range(4):
        draw(folder / f"{row}.png", row)
        rows[row] |= {name: values[row] for name, values in columns.items() if values[row] is not ...}
    (folder / "metadata.jsonl").write_text(write(rows), encoding="utf-8")
    return open_source(SourceOptions(source=str(folder)))


@pytest.mark.parametrize("write", WAYS.values(), ids=WAYS)
def test_dates_in_labels_are_classes(tmp_path: Path, write: Callable[[list[dict[str, Any]]], str]) -> None:
    source = read(tmp_path, write, label=DATES, number=[1, 2, 3, 4])
    assert (source.classes, source.class_ids.tolist()) == (sorted(set(DATES)), [0, 2, 1, 0])
    assert source.dataset["label"][:] == DATES
    assert source.dataset["number"][:] == [1, 2, 3, 4]
    assert source.dataset.column_names == ["image", "label", "number"]


def test_dates_in_other_columns_stay_texts(tmp_path: Path) -> None:
    day, later = "2021-05-01", "2021-05-02T10:00:00Z"
    columns: dict[str, list[Any]] = {
        "label": ["cat", "dog", "cat", "dog"],
        "taken": [day, None, ..., later],
        "box": [{"at": day, "x": 1}, {"at": later, "x": 2}, None, {"at": day, "x": 3}],
        "days": [[day], [], [later, day], None],
        "seen": [[{"at": day}], [], [{"at": later}], None],
    }
    source = read(tmp_path, **columns)
    assert source.dataset.features["taken"] == Value("string")
    assert source.dataset.features["days"] == List(Value("string"))
    assert source.dataset.features["box"] == {"at": Value("string"), "x": Value("int64")}
    assert source.dataset["taken"][:] == [day, None, None, later]
    for name in ("box", "days", "seen"):
        assert source.dataset.with_format("arrow")[:].column(name).to_pylist() == columns[name]


def test_texts_of_digits_stay_texts(tmp_path: Path) -> None:
    source = read(tmp_path, label=["001", "1", "01", "1"], code=["007", "7", "07", "1e0"])
    assert source.classes == ["001", "01", "1"]
    assert source.dataset["code"][:] == ["007", "7", "07", "1e0"]


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_label_is_none(tmp_path: Path, blank: str) -> None:
    with pytest.raises(InputError, match="'label' has no label in 1 rows, first in row 2"):
        read(tmp_path, label=["a", "b", blank, "a"])
