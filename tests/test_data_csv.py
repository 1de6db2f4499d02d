"""metadata.csv as spreadsheets, scripts and hands write it: read as it is meant, or refused with what is wrong."""

from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
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
    write(tmp_path, "\n".join(["file_name,label", ROWS[0], '2.png,"dog', *(["3.png,cat"] * 20_000)]))
    assert refuse(tmp_path).endswith("(131072) in line 3; close the quote there, if one is open")


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,label\n", "has no rows; write one for each image, or remove it"),
        ("", "has no rows; write one for each image, or remove it"),
        ('file_name,label\n1.png,cat\n\n2.png,"dog\n3.png,cat\n', "has a quote in line 4 that is not closed; close it"),
        ('file_name,label,note\n1.png,cat,"say \\"hi\\""\n', "has something behind a closing quote in line 2; write"),
        ('sep=,\nfile_name,label,note\n1.png,cat,"say \\"hi, you\\""\n', "behind a closing quote in line 3; write"),
    ],
)
def test_tables_that_are_broken(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    assert message in (found := refuse(tmp_path))
    assert found.startswith(f"{tmp_path / 'metadata.csv'} has ")


def test_tables_of_other_kinds_without_rows(tmp_path: Path) -> None:
    draw(tmp_path / "1.png")
    for text in ("", "\n \n", "\ufeff"):
        (tmp_path / "metadata.jsonl").write_text(text, encoding="utf-8")
        assert refuse(tmp_path) == f"{tmp_path / 'metadata.jsonl'} has no rows; write one for each image, or remove it"
    (tmp_path / "metadata.jsonl").unlink()
    pq.write_table(pa.table({"file_name": pa.array([], pa.string())}), tmp_path / "metadata.parquet")
    assert "metadata.parquet has no rows; write one for each image" in refuse(tmp_path)


@pytest.mark.parametrize("end", ["\x1a", "\n\x1a", "\r\n\x1a\r\n"])
def test_the_end_mark_of_dos_is_no_row(tmp_path: Path, end: str) -> None:
    source = read(tmp_path, "\n".join(["file_name,label", *ROWS]) + end)
    assert (len(source), source.classes) == (4, ["cat", "dog"])


def test_the_separator_is_what_makes_a_column_of_names(tmp_path: Path) -> None:
    rows = [row.replace(",", "\t") + "\tx" for row in ROWS]
    source = read(tmp_path, "\n".join(["file_name\tlabel\tnotes, free, and long", *rows]))
    assert source.dataset.column_names == ["image", "label", "notes, free, and long"]
    assert source.classes == ["cat", "dog"]


def test_numbers_too_long_for_a_column_of_them_stay_as_they_are_written(tmp_path: Path) -> None:
    long = ["12345678901234567890123", "1234567890123456789", "1", "-99999999999999999999"]
    rows = [f"{row},{number},{position}" for position, (row, number) in enumerate(zip(ROWS, long, strict=True))]
    source = read(tmp_path, "\n".join(["file_name,label,code,number", *rows]))
    assert source.dataset["code"][:] == long
    assert source.dataset["number"][:] == [0, 1, 2, 3]


def test_a_column_for_each_class(tmp_path: Path) -> None:
    write(tmp_path, "\n".join(["file_name,MEL,NV,age", "1.png,1.0,0.0,40", "2.png,0.0,1.0,50", "3.png,1.0,0.0,60"]))
    message = refuse(tmp_path)
    assert f"{tmp_path} has no column 'label', and a column for each class (MEL, NV), with a 1 in that" in message
    table = pandas.read_csv(tmp_path / "metadata.csv")
    exec(message.partition("with pandas: ")[2])
    table.to_csv(tmp_path / "metadata.csv", index=False)
    source = open_source(SourceOptions(source=str(tmp_path)))
    assert [source.classes[each] for each in source.class_ids] == ["MEL", "NV", "MEL"]
    write(tmp_path, "\n".join(["file_name,smiles,young", "1.png,1,1", "2.png,0,1", "3.png,0,0"]))
    assert "its columns are image, smiles, young: choose with --label-column" in refuse(tmp_path)
