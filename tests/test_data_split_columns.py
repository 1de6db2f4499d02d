"""Tables whose rows say of which split they are: a question, and `--drop-column` answers it."""

from pathlib import Path
from typing import Any

import datasets
import pytest

from rem_release.data.sources.source import Source
from rem_release.errors import InputError
from tests.test_data_tables import NAMES, make, open_rows, refuse, write_parquet

TEXT, FLAG, WHOLE = datasets.Value("string"), datasets.Value("bool"), datasets.Value("int64")
SPLITS = datasets.ClassLabel(names=["train", "test"])
ASKED: list[tuple[str, list[Any], Any]] = [
    ("Usage", ["Training", "PublicTest", "PrivateTest", "Training"], TEXT),
    ("Split", ["train", "public_test", "train", "train"], TEXT),
    ("split", ["train", "", "train", None], TEXT),
    ("split", ["train", "extra", "train", "train"], TEXT),
    ("split", [0, 1, 0, 0], SPLITS),
    ("where", [0, 1, 0, 0], SPLITS),
    ("image_set", ["train_a", "train_b", "test_a", "train_a"], TEXT),
    ("train_or_test", ["train", "the other", "train", "train"], TEXT),
    ("train", [True, False, True, True], FLAG),
    ("test", [0, 0, 1, 0], WHOLE),
    ("Test", ["no", "yes", "no", "no"], TEXT),
    ("isTrain", [1, 0, 1, 1], WHOLE),
    ("is_test", [0.0, 1.0, 0.0, 0.0], datasets.Value("float64")),
    ("partition", [0, 1, 2, 0], WHOLE),
    ("partition", ["0", "1", "2", "0"], TEXT),
]


def write(folder: Path, name: str, values: list[Any], feature: Any) -> Path:
    return write_parquet(folder / "data.parquet", make([0, 1, 0, 1], NAMES, **{name: (values, feature)}))


@pytest.mark.parametrize(("name", "values", "feature"), ASKED)
def test_rows_of_several_splits(tmp_path: Path, name: str, values: list[Any], feature: Any) -> None:
    path = write(tmp_path, name, values, feature)
    message = refuse(path)
    assert f"column '{name}' of {path} says that its rows are of several splits (" in message
    assert message.endswith(f"or add --drop-column {name} to release them all as train")
    assert open_rows(path, drop_columns=(name,)).dataset.column_names == ["image", "label"]


ALONE: list[tuple[str, list[Any], Any, str]] = [
    ("split", ["val"] * 4, TEXT, "validation"),
    ("Usage", ["PublicTest"] * 4, TEXT, "test"),
    ("split", [1] * 4, SPLITS, "test"),
    ("is_train", [False] * 4, FLAG, "test"),
    ("test", [1] * 4, WHOLE, "test"),
]


@pytest.mark.parametrize(("name", "values", "feature", "split"), ALONE)
def test_rows_of_one_other_split(tmp_path: Path, name: str, values: list[Any], feature: Any, split: str) -> None:
    path = write(tmp_path, name, values, feature)
    assert "in all rows: give their file or folder the name of their split, and ask for it" in refuse(path)
    assert open_rows(path, split=split).other_columns() == [name]


PASSED: list[tuple[str, list[Any], Any]] = [
    ("split", ["train"] * 4, TEXT),
    ("split", ["train_a", "train_b", "train_a", "train_b"], TEXT),
    ("split", [None] * 4, TEXT),
    ("phase", ["arterial", "venous", "arterial", None], TEXT),
    ("is_train", [True] * 4, FLAG),
    ("test", [0] * 4, WHOLE),
    ("is_valid", [True] * 4, FLAG),
    ("invalid", [True, False, True, True], FLAG),
    ("test", ["blood", "urine", "blood", "none"], TEXT),
    ("note", ["train", "a test", "car", "train"], TEXT),
    ("partition", [3] * 4, WHOLE),
    ("count", [0, 1, 2, 0], WHOLE),
]


@pytest.mark.parametrize(("name", "values", "feature"), PASSED)
def test_columns_that_say_nothing_of_other_splits(tmp_path: Path, name: str, values: list[Any], feature: Any) -> None:
    assert open_rows(write(tmp_path, name, values, feature)).other_columns() == [name]


def test_each_of_several_splits_is_held_against_its_own_name(tmp_path: Path) -> None:
    def read(train: str, test: str) -> Source:
        for split, value in (("train", train), ("test", test)):
            table = make([0, 1], NAMES, split=([value] * 2, TEXT))
            write_parquet(tmp_path / f"{split}.parquet", table)
        return open_rows(tmp_path, split="train+test")

    assert read("train", "test").splits == {"test": 2, "train": 2}
    with pytest.raises(InputError) as caught:
        read("train", "val")
    assert f"column 'split' of {tmp_path} says val in all rows: " in str(caught.value)
    assert str(caught.value).endswith("to release them all as test")


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "note", ["plain", "text", "and", "QQQQ"], TEXT)
    path.write_bytes(path.read_bytes().replace(b"QQQQ", b"Q\xa8QQ"))
    assert "column 'note' holds text that is not UTF-8" in refuse(path)
    open_rows(path, drop_columns=("note",))
