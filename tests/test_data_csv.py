"""metadata.csv as spreadsheets, scripts and hands write it: read as it is meant, or refused with what is wrong."""

from pathlib import Path

import pytest

from rem_release.data.images.decoding import BadImage
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from tests.test_data_folders import draw, refuse

NAMES = ["1.png", "2.png", "3.png", "4.png"]


def write(folder: Path, text: str) -> Path:
    for level, name in enumerate(NAMES):
        draw(folder / name, level)
    (folder / "metadata.csv").write_text(text, encoding="utf-8")
    return folder


def read(folder: Path, text: str) -> Source:
    return open_source(SourceOptions(source=str(write(folder, text))))


ROWS = ["1.png,cat", "2.png,dog", "3.png,cat", "4.png,dog"]
TEXTS = {
    "a line of Excel": "\n".join(["sep=;", *(row.replace(",", ";") for row in ["file_name,label", *ROWS])]),
    "blanks behind separators": "\n".join(row.replace(",", ", ") for row in ["file_name,label", *ROWS]),
    "separators behind all rows": "\n".join(f"{row}," for row in ["file_name,label", *ROWS]),
    "separators behind all but the header": "\n".join(["file_name,label", *(f"{row}," for row in ROWS)]),
    "blank lines": "\n\n".join(["", "file_name,label", *ROWS, "", ""]),
    "old line ends": "\r".join(["file_name,label", *ROWS]),
    "quoted fields": "\n".join(["file_name,label", *('"' + row.replace(",", '","') + '"' for row in ROWS)]),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_ways_of_writing_one_table(tmp_path: Path, text: str) -> None:
    source = read(tmp_path, text)
    assert [source.origin(row) for row in range(len(source))] == NAMES
    assert (source.classes, source.class_ids.tolist()) == (["cat", "dog"], [0, 1, 0, 1])
    assert source.dataset.column_names == ["image", "label"]


@pytest.mark.parametrize("header", ["file_name,label,label", "file_name,label ,label", "file_name,file_name,label"])
def test_two_columns_of_one_name(tmp_path: Path, header: str) -> None:
    write(tmp_path, "\n".join([header, *(f"{row},x" for row in ROWS)]))
    name = "file_name" if "e,file" in header else "label"
    assert f"metadata.csv has 2 columns '{name}'; rename all but one" in refuse(tmp_path)


def test_rows_of_more_fields_than_columns(tmp_path: Path) -> None:
    write(tmp_path, "\n".join(["file_name,label", ROWS[0], "2.png,dog,brown", *ROWS[2:]]))
    assert "has 2 columns, and its row 3 3 fields (2.png,dog,brown)" in refuse(tmp_path)


def test_fields_without_end(tmp_path: Path) -> None:
    write(tmp_path, "\n".join(["file_name,label", *ROWS, "4.png," + "x" * 200_000]))
    assert "metadata.csv cannot be read: field larger than field limit" in refuse(tmp_path)


def test_addresses_are_not_files(tmp_path: Path) -> None:
    write(tmp_path, "\n".join(["file_name,label", *(f"https://example.org/{row}" for row in ROWS)]))
    assert "is an address (https://example.org/1.png), and only files on this machine are read" in refuse(tmp_path)


def test_whole_paths_below_the_folder_are_those_below_it(tmp_path: Path) -> None:
    source = read(tmp_path, "\n".join(["file_name,label", *(f"{tmp_path}/{row}" for row in ROWS)]))
    assert [source.origin(row) for row in range(len(source))] == NAMES
    write(tmp_path / "inner", "\n".join(["file_name,label", *(f"{tmp_path}/{row}" for row in ROWS)]))
    assert "leads out of the folder" in refuse(tmp_path / "inner")


def test_labels_that_differ_in_blanks_or_encoding_alone(tmp_path: Path) -> None:
    write(tmp_path, "\n".join(["file_name,label", "1.png,cat", '2.png,"cat "', "3.png,dog"]))
    assert "has the classes 'cat' and 'cat ', which differ in blanks" in refuse(tmp_path)
    write(tmp_path, "\n".join(["file_name,label", "1.png,caf\u00e9", "2.png,cafe\u0301", "3.png,dog"]))
    assert "has the classes 'cafe\\u0301' and 'caf\\xe9', which differ" in refuse(tmp_path)
    for name in ("cat", "cat ", "dog"):
        draw(tmp_path / "folders" / name / "1.png", 0)
    assert "has the classes 'cat' and 'cat '" in refuse(tmp_path / "folders")


def test_tables_in_the_folder_of_the_split_and_above(tmp_path: Path) -> None:
    write(tmp_path, "\n".join(["file_name,label", *ROWS]))
    write(tmp_path / "train", "\n".join(["file_name,label", *ROWS]))
    assert "holds train/metadata.csv and metadata.csv; keep the one that is right" in refuse(tmp_path)


def test_a_file_of_another_spelling_is_named(tmp_path: Path) -> None:
    text = "\n".join(["file_name,label", "1.PNG,cat", "2,dog", "5.png,cat"])
    source = read(tmp_path, text)
    reasons = []
    for row in range(3):
        with pytest.raises(BadImage) as caught:
            source.image_bytes(row)
        reasons.append(caught.value.reason)
    assert reasons == ["no such file; 1.png is there", "no such file; 2.png is there", "no such file"]


@pytest.mark.parametrize("column", ["code", "label_id", "species"])
def test_a_column_of_labels_is_read_as_it_is_written_whatever_its_name(tmp_path: Path, column: str) -> None:
    write(tmp_path, "\n".join([f"file_name,{column}", "1.png,01", "2.png,1", "3.png,001", "4.png,2"]))
    source = open_source(SourceOptions(source=str(tmp_path), label_column=column))
    assert source.classes == ["001", "01", "1", "2"]


def test_columns_that_say_more_of_labels_hold_none(tmp_path: Path) -> None:
    rows = [f"{number}.png,{'cat' if number % 2 else 'dog'},ann,0.{number}" for number in range(1, 5)]
    source = read(tmp_path, "\n".join(["file_name,species,labelled_by,label_confidence", *rows]))
    assert (source.label_column, source.classes) == ("species", ["cat", "dog"])


def test_a_column_of_names_of_splits_whatever_its_own(tmp_path: Path) -> None:
    write(
        tmp_path, "\n".join(["file_name,label,where", "1.png,a,train", "2.png,b,train", "3.png,a,test", "4.png,b,test"])
    )
    assert "column 'where' of" in refuse(tmp_path)
    assert "says that its rows are of several splits (test, train)" in refuse(tmp_path)


def test_blanks_around_names_of_columns_and_utf16_without_a_mark(tmp_path: Path) -> None:
    source = read(tmp_path, "\n".join(["file_name , label ", *ROWS]))
    assert (source.classes, source.dataset.column_names) == (["cat", "dog"], ["image", "label"])
    (tmp_path / "metadata.csv").write_bytes("\n".join(["file_name,label", *ROWS]).encode("utf-16-le"))
    assert "has bytes of zero, as UTF-16 without a mark: save it as UTF-8" in refuse(tmp_path)


def test_dates_and_numbers_with_leading_zeros_stay_as_they_are_written(tmp_path: Path) -> None:
    rows = [
        "1.png,2021-05-01,2021-05-01,007,1,-01",
        "2.png,2021-05-02,2021-05-02 10:00:00,7,2,10",
        "3.png,2021-05-01,,010,3,",
    ]
    source = read(tmp_path, "\n".join(["file_name,label,taken,code,number,offset", *rows]))
    assert source.classes == ["2021-05-01", "2021-05-02"]
    assert source.dataset["taken"][:] == ["2021-05-01", "2021-05-02 10:00:00", None]
    assert source.dataset["code"][:] == ["007", "7", "010"]
    assert source.dataset["offset"][:] == ["-01", "10", None]
    assert source.dataset["number"][:] == [1, 2, 3]
