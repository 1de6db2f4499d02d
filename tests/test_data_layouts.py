"""What the folders at the top of a source are: splits, classes, or a question."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import datasets
import pytest

from rem_release.data.sources.companions import find_pair
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.data.sources.split_names import split_named
from rem_release.errors import InputError
from tests.policy import COMPANION_WORDS
from tests.test_data_folders import draw, levels, refuse


def draw_folders(root: Path, tops: list[str], inner: tuple[str, ...] = ("a", "b")) -> Path:
    """Two images in each inner folder, whose level tells the top folder."""
    for level, top in enumerate(tops):
        for name in inner:
            for number in range(2):
                draw(root / top / name / f"{number}.png", level)
    return root


def read(path: Path, **options: object) -> Source:
    return open_source(SourceOptions(source=str(path), **options))


SPELLINGS = [
    ("Training", "Testing"),
    ("Train", "Valid"),
    ("training", "validation"),
    ("seg_train", "seg_test"),
    ("TRAIN", "TEST"),
    ("train2017", "val2017"),
    ("train_images", "test_images"),
    ("TrainSet", "TestSet"),
    ("trn", "tst"),
]


@pytest.mark.parametrize("tops", SPELLINGS)
def test_folders_named_like_splits_are_splits_whatever_their_spelling(tmp_path: Path, tops: tuple[str, str]) -> None:
    source = read(draw_folders(tmp_path, list(tops)))
    assert (source.classes, source.splits, source.left_out) == (["a", "b"], {"train": 4}, (tops[1],))
    assert set(levels(source)) == {0}
    other = read(tmp_path, split="test" if split_named(tops[1]) == "test" else "validation")
    assert (other.classes, set(levels(other))) == (["a", "b"], {1})
    assert set(levels(read(tmp_path, split=tops[1]))) == {1}, "by its own name, too"


def test_several_of_them_go_into_one_release(tmp_path: Path) -> None:
    source = read(draw_folders(tmp_path, ["Training", "Testing"]), split="train+test")
    assert source.splits == {"test": 4, "train": 4}
    assert levels(source) == [1] * 4 + [0] * 4
    assert source.left_out == ()


def test_two_folders_that_mean_one_split_are_a_question(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["Train", "training", "test"])
    message = "several folders that could be 'train': Train, training; choose with --split, all of them with --split "
    assert f"{message}Train+training, or add --layout classes" in refuse(tmp_path)
    assert read(tmp_path, split="Train+training").splits == {"Train": 4, "training": 4}
    assert read(tmp_path, layout="classes").classes == ["Train", "test", "training"]
    assert set(levels(read(tmp_path, split="training"))) == {1}
    draw_folders(tmp_path, ["train"])
    assert set(levels(read(tmp_path))) == {0}, "the exact name"


def test_splits_without_the_one_that_is_asked_for(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["val", "test"])
    assert "has no split 'train': its folders are test, val; choose with --split" in refuse(tmp_path)


def test_splits_of_bare_images_have_no_classes(tmp_path: Path) -> None:
    for name in ("train/1.png", "train/2.png", "test/1.png"):
        draw(tmp_path / name)
    assert f"{tmp_path / 'train'} has no class folders" in refuse(tmp_path)
    assert read(tmp_path, layout="classes").classes == ["test", "train"]


@pytest.mark.parametrize("tops", [["fold_0", "fold_1"], ["2019", "2020"], ["site A", "site B", "site C"]])
def test_folders_with_the_same_folders_inside_are_a_question(tmp_path: Path, tops: list[str]) -> None:
    draw_folders(tmp_path, tops)
    message = refuse(tmp_path)
    assert f"{', '.join(tops)}, and several of them the folders a, b" in message
    assert f"--layout splits if they are splits (then --split {tops[0]} or the like), or --layout classes" in message
    assert read(tmp_path, layout="classes").classes == tops
    source = read(tmp_path, layout="splits", split=tops[1]) if tops[0] == "fold_0" else None
    if source:
        assert (source.classes, set(levels(source)), source.left_out) == (["a", "b"], {1}, ("fold_0",))


def test_classes_that_share_one_folder_name_or_none_are_classes(tmp_path: Path) -> None:
    draw_folders(tmp_path / "one", ["n01443537", "n01629819"], inner=("images",))
    assert read(tmp_path / "one").classes == ["n01443537", "n01629819"]
    draw_folders(tmp_path / "two", ["cat", "dog"], inner=("front",))
    draw(tmp_path / "two/dog/back/1.png")
    assert read(tmp_path / "two").classes == ["cat", "dog"]


def test_domains_that_share_a_class_are_a_question(tmp_path: Path) -> None:
    """As PACS has them, and Office-31 with one folder more."""
    for inner in ("", "images"):
        for top, names in (("art", ("dog", "horse")), ("photo", ("dog", "person"))):
            for name in names:
                draw(tmp_path / f"in{inner}" / top / inner / name / "1.png")
        assert "several of them the folders dog: say --layout splits" in refuse(tmp_path / f"in{inner}")


PLAIN = [("bags", "boxes"), ("grass", "ground"), ("lie", "truth"), ("labels", "bottles"), ("with_mask", "without_mask")]


@pytest.mark.parametrize("names", PLAIN)
def test_classes_may_be_called_like_what_belongs_to_images(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        for number in range(2):
            draw(tmp_path / name / f"{name[:3]}{number}.png", number)
    assert read(tmp_path).classes == sorted(names)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("fold_0/1.png", "fold_1/2.png"), "look like pieces of one set (fold)"),
        (("HAM_images_part_1/1.png", "HAM_images_part_2/2.png"), "look like pieces of one set (part)"),
        (("yes/1.png", "no/2.png", "set/yes/1.png", "set/no/2.png"), "and set the folders no, yes once more"),
        (("images/a/1.png", "images/b/1.png", "samples/1.png"), "and images the folders a, b: give"),
        (("images/1.png", "annotations/1.xml"), "look like images and what belongs to them"),
    ],
)
def test_folders_that_are_no_classes(tmp_path: Path, files: tuple[str, ...], words: str) -> None:
    for name in files:
        draw(tmp_path / name) if name.endswith("png") else write_text(tmp_path / name)
    assert words in refuse(tmp_path)
    assert len(read(tmp_path, layout="classes").classes) > 1


def write_text(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("<a/>")


@pytest.mark.parametrize(
    "tops", [("treino", "teste"), ("Entrenamiento", "Prueba"), ("学習", "テスト"), ("обучение", "тест")]
)
def test_splits_in_other_languages(tmp_path: Path, tops: tuple[str, str]) -> None:
    source = read(draw_folders(tmp_path, list(tops)))
    assert (source.classes, source.splits, source.left_out) == (["a", "b"], {"train": 4}, (tops[1],))


def test_a_path_that_is_mistyped_is_a_missing_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_folders(tmp_path / "images", ["train"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="does not exist, and the folder images does"):
        open_source(SourceOptions(source="imges/train"))


def test_what_else_lies_beside_class_folders(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["cat", "dog"], inner=("",))
    for name in ("README.md", "LICENSE", "classes.txt", "labels.csv", "data.yaml"):
        (tmp_path / name).write_text("words")
    (tmp_path / "empty").mkdir()
    draw(tmp_path / "__pycache__" / "1.png")
    source = read(tmp_path)
    assert (source.classes, len(source)) == (["cat", "dog"], 4)
    passed = {Path(path).name for path in source.ignored}
    assert passed == {"README.md", "LICENSE", "classes.txt", "labels.csv", "data.yaml", "empty", "__pycache__"}
    draw(tmp_path / "stray.png")
    assert len(read(tmp_path)) == 5, "an image is never passed over"


def test_folders_without_any_image_are_no_classes(tmp_path: Path) -> None:
    """Nor are their names published."""
    draw_folders(tmp_path, ["Animals", "Birds"], inner=("",))
    for name in ("Client.lrdata/a.lrprev", "notes_of_alice/x.txt", "README.d/README", "docs/deep/1.pdf"):
        write_text(tmp_path / name)
    source = read(tmp_path)
    assert (source.classes, len(source)) == (["Animals", "Birds"], 4)
    assert {Path(path).name for path in source.ignored} == {"Client.lrdata", "README.d", "docs", "notes_of_alice"}
    draw(tmp_path / "Fish/deep/1.png")
    write_text(tmp_path / "raw/0001")
    assert read(tmp_path).classes == ["Animals", "Birds", "Fish", "raw"], "what has no suffix may be an image"
    assert "notes_of_alice" in read(tmp_path, layout="classes").classes, "the owner says that all are classes"


def test_folders_whose_files_all_have_other_suffixes_are_classes(tmp_path: Path) -> None:
    for name in ("cat/1.dat", "dog/2.dat"):
        write_text(tmp_path / name)
    assert read(tmp_path).classes == ["cat", "dog"]


def test_tables_in_class_folders(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["north", "south"], inner=("",))
    write_table(tmp_path / "north" / "metadata.csv", [("0.png", "x"), ("1.png", "y")])
    assert "holds a table in a folder of its own, north/metadata.csv; write one metadata.csv in" in refuse(tmp_path)


def test_masks_beside_their_images(tmp_path: Path) -> None:
    for name in ("benign", "normal"):
        for number in range(2):
            draw(tmp_path / name / f"{name} ({number}).png", number)
            draw(tmp_path / name / f"{name} ({number})_mask.png", number)
    assert "their masks or the like side by side (benign/benign (0)_mask.png, benign/benign (0).png)" in refuse(
        tmp_path
    )
    assert len(read(tmp_path, layout="classes")) == 8


MASKS = {
    "folders in each class": ("{}/{}.png", "{}/masks/{}.png"),
    "both in each class": ("{}/images/{}.png", "{}/masks/{}.png"),
    "class by class in each": ("images/{}/{}.png", "annotations/{}/{}.png"),
    "a folder for each class": ("{}/{}.png", "{}_masks/{}.png"),
    "both words behind": ("{}/{}_image.png", "{}/{}_mask.png"),
    "words in front": ("{}/image-{}.jpg", "{}/mask-{}.png"),
    "after a dot": ("{}/{}.jpg", "{}/{}.mask.png"),
    "with a number of its own": ("{}/case ({}).png", "{}/case ({})_mask_2.png"),
    "two words": ("{}/{}_leftImg8bit.png", "{}/{}_gtFine_labelIds.png"),
    "spelled out": ("{}/{}.png", "{}/ground truth/{}.png"),
    "depth": ("{}/{}_rgb.png", "{}/{}_depth.png"),
    "in a folder of many words": ("ISIC_Training_Data/{}{}.jpg", "ISIC_Part1_GroundTruth/{}{}_segmentation.png"),
    "a word of the image's own": ("{}/{}_sat.jpg", "{}/{}_mask.png"),
    "within classes named like masks": ("label_{}/{}.png", "label_{}/{}_mask.png"),
    "within a task": ("segmentation_task {}/images/{}.png", "segmentation_task {}/masks/{}.png"),
    "small copies": ("{}/{}.png", "{}/thumbs/{}.png"),
    "nothing else": ("{}/case{}/image.png", "{}/case{}/mask.png"),
}


@pytest.mark.parametrize("manner", MASKS)
def test_masks_wherever_they_lie_are_a_question(tmp_path: Path, manner: str) -> None:
    image, mask = MASKS[manner]
    for name in ("benign", "malignant"):
        draw(tmp_path / image.format(name, 7), 1)
    draw(tmp_path / mask.format("benign", 7), 2)
    message = refuse(tmp_path)
    assert mask.format("benign", 7) in message or "look like images and what belongs to them" in message
    assert len(read(tmp_path, layout="classes")) == 3


@pytest.mark.parametrize("word", [*sorted(COMPANION_WORDS), "ground_truth"])
def test_every_word_for_companions_is_known_in_names_of_files(word: str) -> None:
    companion = ("cat", f"7_{word}.png")
    assert find_pair([companion, ("cat", "7.png"), ("cat", "8.png")]) == (companion, ("cat", "7.png"))


def test_one_image_in_two_formats_is_a_question(tmp_path: Path) -> None:
    """As where depth is PNG beside a JPEG of its name; a few such names may be chance."""
    for name in ("hall", "kitchen"):
        for number in range(3):
            draw(tmp_path / name / f"{number}.png", number)
    draw(tmp_path / "hall/0.bmp", 7)
    assert read(tmp_path).classes == ["hall", "kitchen"]
    draw(tmp_path / "kitchen/0.bmp", 8)
    assert "side by side (hall/0.png, hall/0.bmp)" in refuse(tmp_path)
    assert len(read(tmp_path, layout="classes")) == 8


def test_a_folder_beside_images_with_their_names_is_a_question(tmp_path: Path) -> None:
    for name in ("images/1.png", "images/2.png", "1st_manual/1.png"):
        draw(tmp_path / name)
    assert "1st_manual, images, which look like images and what belongs to them" in refuse(tmp_path)
    (tmp_path / "1st_manual/1.png").rename(tmp_path / "1st_manual/x.png")
    assert read(tmp_path).classes == ["1st_manual", "images"]


@pytest.mark.parametrize("layout", [None, "splits"])
def test_doubts_inside_a_split_are_answered_inside_it(tmp_path: Path, layout: str | None) -> None:
    """Whether they are splits does not answer what lies in them, and no answer makes classes of splits."""
    draw_folders(tmp_path, ["train", "val"], inner=("cat", "dog"))
    draw(tmp_path / "train/cat/0_mask.png")
    root = tmp_path / "train"
    assert f"{root} holds images" in refuse(tmp_path, layout=layout)
    assert f"or give {root} and add --layout classes" in refuse(tmp_path, layout=layout)
    assert read(root, layout="classes").classes == ["cat", "dog"]
    (root / "cat/0_mask.png").unlink()
    write_table(root / "cat/metadata.csv", [("0.png", "x"), ("1.png", "y")])
    assert f"or give {root} and add --layout classes" in refuse(tmp_path, layout=layout)


@pytest.mark.parametrize("layout", [None, "splits"])
def test_doubtful_folders_inside_a_split(tmp_path: Path, layout: str | None) -> None:
    for split in ("train", "test"):
        draw_folders(tmp_path / split, ["Indoor", "Outdoor"], inner=("cat", "dog"))
    root = tmp_path / "train"
    message = refuse(tmp_path, layout=layout)
    assert f"give {root} and say --layout splits if they are splits (then --split Indoor or the like)" in message
    assert read(root, layout="splits", split="Indoor").classes == ["cat", "dog"]
    assert read(root, layout="classes").classes == ["Indoor", "Outdoor"]


@pytest.mark.parametrize("label_from", ["albums", "clusters"])
def test_masks_are_a_question_wherever_labels_come_from(tmp_path: Path, label_from: str) -> None:
    for name in ("a/0.png", "a/0_mask.png", "b/1.png"):
        draw(tmp_path / name)
    assert "side by side (a/0_mask.png, a/0.png)" in refuse(tmp_path, label_from=label_from)
    assert len(read(tmp_path, label_from=label_from, layout="classes")) == 3
    if label_from == "clusters":
        assert "side by side (0_mask.png, 0.png)" in refuse(tmp_path / "a", label_from=label_from)


ALIKE = [
    ("mask", "no_mask"),
    ("Mask", "Non Mask"),
    ("labels", "boxes"),
    ("left_images", "right_images"),
    ("with_mask", "without_mask", "mask_weared_incorrect"),
    ("wine_label", "wine_bottle"),
]


@pytest.mark.parametrize("names", ALIKE)
def test_classes_named_like_masks_whose_files_have_the_same_numbers_are_classes(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        for number in range(3):
            draw(tmp_path / name / f"{number}.png", number)
    assert read(tmp_path).classes == sorted(names)


def test_the_folder_to_give_is_that_of_the_images(tmp_path: Path) -> None:
    """As Stanford Dogs has them, and Oxford Pets."""
    draw_folders(tmp_path / "dogs", ["Annotation", "Images"], inner=("n1", "n2"))
    assert f"or {tmp_path / 'dogs/Images'}, where folders are" in refuse(tmp_path / "dogs")
    draw_folders(tmp_path / "pets", ["annotations"], inner=("trimaps", "xmls"))
    draw(tmp_path / "pets/images/1.png")
    message = refuse(tmp_path / "pets")
    assert "look like images and what belongs to them" in message
    assert "where folders are" not in message


def test_the_split_to_name_is_one_of_the_splits(tmp_path: Path) -> None:
    """As GTSRB has them."""
    draw_folders(tmp_path, ["Meta", "Test", "Train"], inner=("0", "1"))
    assert "(then --split Train or the like)" in refuse(tmp_path)
    draw_folders(tmp_path / "asl", ["asl_alphabet_test", "asl_alphabet_train", "val"], inner=("0", "1"))
    assert "(then --split asl_alphabet_train or the like)" in refuse(tmp_path / "asl")
    draw_folders(tmp_path / "other", ["Meta", "Test"], inner=("0", "1"))
    assert "(then --split Test or the like)" in refuse(tmp_path / "other")


def test_a_split_of_one_folder_of_images_has_no_class(tmp_path: Path) -> None:
    """As Tiny ImageNet's val."""
    draw_folders(tmp_path, ["train"], inner=("n1/images", "n2/images"))
    draw(tmp_path / "val/images/0.png")
    assert read(tmp_path).classes == ["n1", "n2"]
    assert "val holds images, which look like images" in refuse(tmp_path, split="train+val")


def test_origins_of_a_table_over_several_splits(tmp_path: Path) -> None:
    names = [f"{split}/{number}.png" for split in ("test", "train") for number in range(2)]
    for name in names:
        draw(tmp_path / name)
    write_table(tmp_path / "metadata.csv", [(name, "xy"[number % 2]) for number, name in enumerate(names)])
    source = read(tmp_path, split="train+test")
    assert [source.origin(row) for row in range(4)] == names


PAIRS = [
    ["images", "masks"],
    ["Images", "Labels"],
    ["JPEGImages", "Annotations"],
    ["JPEGImages", "SegmentationClass"],
    ["gtFine", "leftImg8bit"],
    ["train_images", "train_masks"],
    ["imagesTr", "labelsTr"],
    ["CXR_png", "masks"],
]


@pytest.mark.parametrize("tops", PAIRS)
def test_images_and_what_belongs_to_them_are_no_classes(tmp_path: Path, tops: list[str]) -> None:
    for top in tops:
        draw(tmp_path / top / ("1_mask.png" if top == "masks" else "1.png"))
    assert "look like images and what belongs to them, not like classes: no class is named" in refuse(tmp_path)
    assert read(tmp_path, layout="classes").classes == sorted(tops)


@pytest.mark.parametrize("name", ["train", "test"])
def test_a_class_beside_others_may_be_called_like_a_split(tmp_path: Path, name: str) -> None:
    for folder in (name, "plane"):
        draw(tmp_path / folder / "1.png")
    assert read(tmp_path).classes == sorted([name, "plane"])


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *[
            ("train", "train"),
            ("Training", "train"),
            ("seg_train", "train"),
            ("test1", "test"),
            ("val2017", "validation"),
        ],
        *[("EVAL", "validation"), ("validation-set", "validation"), ("imagesTest", "test"), ("TRAIN_IMAGES", "train")],
        *[("trainer", None), ("protest", None), ("train_test", None), ("train station", None), ("fold_0", None)],
        *[("", None), ("2017", None), ("images", None), ("contest", None), ("train車", None), ("test tube", None)],
    ],
)
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_named(name) == split


def test_another_split_than_train_is_not_the_whole_source(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["cat", "dog"], inner=("x",))
    with pytest.raises(InputError, match="has no split 'test': its folders are cat, dog; choose with --split"):
        read(tmp_path, split="test")
    with pytest.raises(InputError, match="has no split 'test'"):
        read(tmp_path, split="test", layout="classes")


def test_one_folder_is_not_two_splits(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["training", "valid"])
    assert "train and training are both" in refuse(tmp_path, split="train+training")
    assert "has no split 'dev'" in refuse(tmp_path, split="dev")


# --- metadata


def write_table(path: Path, rows: list[tuple[str, str]], separator: str = ",") -> None:
    lines = [separator.join(("file_name", "label")), *(separator.join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_table_over_folders_of_splits_is_one_of_splits(tmp_path: Path) -> None:
    """At the root, with the test images in it."""
    rows = []
    for level, top in enumerate(("Train", "test")):
        for number in range(4):
            draw(tmp_path / top / f"{number}.png", level)
            rows.append((f"{top}/{number}.png", "ab"[number % 2]))
    draw(tmp_path / "Train/unlisted.png", 9)
    draw(tmp_path / "more/deep/unlisted.png", 9)
    write_table(tmp_path / "metadata.csv", rows[::-1])
    source = read(tmp_path)
    assert (source.splits, source.left_out, source.classes) == ({"train": 4}, ("test",), ["a", "b"])
    assert set(levels(source)) == {0}
    assert [source.origin(row) for row in range(4)] == [f"Train/{number}.png" for number in (3, 2, 1, 0)]
    assert source.unlisted == {"Train": 1, "more/deep": 1}
    both = read(tmp_path, split="train+test")
    assert both.splits == {"test": 4, "train": 4}
    assert levels(both) == [1] * 4 + [0] * 4
    assert both.left_out == ()
    assert read(tmp_path, layout="classes").splits == {"train": 8}, "a folder more of nothing"
    assert "has no split 'validation'" in refuse(tmp_path, split="validation")


def test_a_table_that_lists_some_of_the_files_says_how_many_are_left_out(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/3.JPG", "4.png", "notes.txt"):
        draw(tmp_path / name) if name != "notes.txt" else (tmp_path / name).write_text("no image")
    write_table(tmp_path / "metadata.csv", [("a/1.png", "x"), ("./4.png", "y")])
    assert read(tmp_path).unlisted == {"a": 1, "b": 1}


def test_two_tables_side_by_side_are_a_question(tmp_path: Path) -> None:
    for number in range(2):
        draw(tmp_path / f"{number}.png")
    write_table(tmp_path / "metadata.csv", [("0.png", "x"), ("1.png", "y")])
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png", "label": "y"}\n', encoding="utf-8")
    assert "holds metadata.csv and metadata.jsonl; keep the one that is right" in refuse(tmp_path)


def test_a_table_in_the_folder_of_a_split_whatever_its_spelling(tmp_path: Path) -> None:
    for level, top in enumerate(("Training", "Testing")):
        for number in range(2):
            draw(tmp_path / top / f"{number}.png", level)
        write_table(tmp_path / top / "metadata.csv", [("0.png", "x"), ("1.png", "y")])
    source = read(tmp_path)
    assert (source.splits, source.left_out, set(levels(source))) == ({"train": 2}, ("Testing",), {0})


# --- one step away


def refuse_lines(path: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(path)
    return str(caught.value).splitlines()


def test_classes_in_the_names_of_files_are_mended_by_two_lines(tmp_path: Path) -> None:
    names = ["cat.0.png", "cat.1.png", "dog.0.png", "dog.10.png", "red fox (3).png", "red fox (4).png"]
    for level, name in enumerate(names):
        draw(tmp_path / "train" / name, level)
    first, *lines = refuse_lines(tmp_path)
    assert "its files seem to be named after their classes (cat, dog, red fox)" in first
    assert len(lines) == 2
    subprocess.run("\n".join(lines), shell=True, check=True, executable="/bin/bash")
    source = read(tmp_path)
    assert source.classes == ["cat", "dog", "red fox"]
    assert {source.origin(row): source.classes[source.class_ids[row]] for row in range(6)} == {
        name: name.split(".")[0].split(" (")[0] for name in names
    }


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_a_table_of_ids_beside_a_folder_is_mended_by_two_lines(suffix: str, tmp_path: Path) -> None:
    """As Kaggle's: labels.csv beside train/ID.png, here with semicolons."""
    for number in range(4):
        draw(tmp_path / f"train/{number:03d}x.png", number)
    rows = [f"{number:03d}x{suffix};{'ab'[number % 2]}" for number in range(4)]
    (tmp_path / "labels.csv").write_text("\n".join(["id;breed", *rows]), encoding="utf-8")
    (tmp_path / "boxes.csv").write_text("\n".join(["id;width", *rows, *rows]), encoding="utf-8")
    first, *lines = refuse_lines(tmp_path)
    assert f"{tmp_path / 'labels.csv'} seems to say the labels of its images in the column breed" in first
    subprocess.run([sys.executable, "-c", "\n".join(line.strip() for line in lines)], check=True)
    source = read(tmp_path)
    assert (source.classes, source.class_ids.tolist()) == (["a", "b"], [0, 1, 0, 1])
    assert levels(source) == [0, 1, 2, 3]


@pytest.mark.parametrize("place", [".", "train"])
def test_a_table_with_a_column_for_each_class_is_mended_by_two_lines(place: str, tmp_path: Path) -> None:
    """As Roboflow's `_classes.csv` in the folder, and those of ISIC beside it."""
    for number in range(4):
        draw(tmp_path / f"train/{number}x.png", number)
    rows = [f"{number}x.png, {number % 2}.0, {1 - number % 2}.0, {number}" for number in range(4)]
    (tmp_path / place / "_classes.csv").write_text("\n".join(["filename, MEL, NV, age", *rows]), encoding="utf-8")
    first, *lines = refuse_lines(tmp_path)
    assert first.endswith("with these lines of Python, a class for each column with a 1:")
    assert len(lines) == 2
    subprocess.run([sys.executable, "-c", "\n".join(line.strip() for line in lines)], check=True)
    source = read(tmp_path)
    assert [source.classes[each] for each in source.class_ids] == ["NV", "MEL", "NV", "MEL"]


def test_of_a_long_table_the_first_rows_are_read_alone(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / f"train/{number}x.png", number)
    rows = [f"{number}x,{'ab'[number % 2]}" for number in range(4)]
    head = "\n".join(["id,breed", *rows, ""])
    (tmp_path / "labels.csv").write_text(head + "y,".ljust(1000, "z") * 30_000, encoding="utf-8")
    tracemalloc.start()
    first, *_ = refuse_lines(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "seems to say the labels of its images in the column breed" in first
    assert peak < 25_000_000, "30 MB lie there"


def test_files_of_arrow_are_mended_by_two_lines(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        draw(tmp_path / f"images/{label}/0.png")
    rows = {"image": [str(tmp_path / f"images/{label}/0.png") for label in ("cat", "dog")], "label": ["cat", "dog"]}
    made = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    made.save_to_disk(tmp_path / "saved")
    (tmp_path / "rows").mkdir()
    (tmp_path / "saved/data-00000-of-00001.arrow").rename(tmp_path / "rows/data-00000-of-00001.arrow")
    for path, words in ((tmp_path / "rows/data-00000-of-00001.arrow", "is a file"), (tmp_path / "rows", "holds files")):
        first, *lines = refuse_lines(path)
        assert first.startswith(f"{path} {words} of Arrow, which are not read; write Parquet")
        subprocess.run([sys.executable, "-c", "\n".join(line.strip() for line in lines)], check=True)
        assert read(tmp_path / "rows/data-00000-of-00001.parquet").classes == ["cat", "dog"]
        (tmp_path / "rows/data-00000-of-00001.parquet").unlink()


def test_labels_in_a_table_beside_a_folder_stay_as_they_are_written(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / f"train/000{number}.png", number)
    rows = [f"{number},000{number},  {label}" for number, label in enumerate(["01", "1", "001", "NA"])]
    (tmp_path / "labels.csv").write_text("\n".join(["lesion,id, label", *rows]), encoding="utf-8")
    _, *lines = refuse_lines(tmp_path)
    subprocess.run([sys.executable, "-c", "\n".join(line.strip() for line in lines)], check=True)
    written = (tmp_path / "train/metadata.csv").read_text(encoding="utf-8").split()
    assert written == ["file_name,label", "0000.png,01", "0001.png,1", "0002.png,001", "0003.png,NA"]


def test_a_table_whose_labels_nobody_can_tell_asks_for_them(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / f"train/{number}.png", number)
    rows = [f"{number},{number % 2},{number // 2}" for number in range(4)]
    (tmp_path / "truth.csv").write_text("\n".join(["image,smiles,young", *rows]), encoding="utf-8")
    first, *lines = refuse_lines(tmp_path)
    assert "with the column of the labels in place of LABEL" in first
    assert "table['LABEL']" in lines[1]


def test_archives_are_to_be_unpacked(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"0000{number}.tar").write_bytes(b"x")
    assert "holds archives (00000.tar) and no images; unpack them" in refuse(tmp_path)


@pytest.mark.parametrize("names", [("data/train-0000.tar",), ("a/0.tar", "b/0.tar"), ("train/x/0.tar", "test/x/1.tar")])
def test_archives_in_folders_are_to_be_unpacked(names: tuple[str, ...], tmp_path: Path) -> None:
    """As the Hub has WebDataset, with a README."""
    for name in (*names, "README.md", "data/README"):
        write_text(tmp_path / name)
    message = refuse(tmp_path)
    assert ".tar) and no images; unpack them, and give the folder they make, with metadata.csv" in message
    assert "as in shards of WebDataset" in message


def test_boxes_are_no_classes(tmp_path: Path) -> None:
    for number in range(2):
        draw(tmp_path / f"images/{number}.png")
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / f"labels/{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert "boxes in the manner of YOLO or Pascal VOC say nothing of a whole image" in refuse(tmp_path)


def test_images_without_any_hint_are_told_what_to_do(tmp_path: Path) -> None:
    for name in ("IMG_2041.png", "IMG_2042.png", "IMG_2043.png"):
        draw(tmp_path / name)
    refuse_unhinted(tmp_path)


@pytest.mark.parametrize("names", [("IMG_", "DSC_"), ("DSCN", "P"), ("Screenshot ", "cat_"), ("image", "frame-")])
def test_what_cameras_call_their_files_are_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    for number in range(4):
        draw(tmp_path / f"{names[number % 2]}{number}.png")
    refuse_unhinted(tmp_path)


def refuse_unhinted(path: Path) -> None:
    message = refuse(path)
    assert message.endswith(
        "sort the images into one folder a class, or add --label-from clusters to group them by their looks"
    )


def test_system_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png"):
        draw(tmp_path / name)
    names = ["Thumbs.db", "Icon\r", "Picasa.ini", ".DS_Store", "._1.png", "1.png~", "photo.lnk", "desktop.ini"]
    for name in names:
        (tmp_path / "a" / name).write_bytes(b"x")
    (tmp_path / "@eaDir/a").mkdir(parents=True)
    (tmp_path / "@eaDir/a/thumb.jpg").write_bytes(b"x")
    source = read(tmp_path)
    assert (source.classes, len(source)) == (["a", "b"], 2)
    assert sorted(Path(path).name for path in source.ignored) == sorted([*names, "@eaDir"])


def test_a_path_with_a_slip_is_a_missing_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    assert (
        refuse("images/catz") == "images/catz does not exist; give a folder, a Parquet file, or a Hub id NAMESPACE/NAME"
    )


@pytest.mark.parametrize(
    "tops",
    [
        ["Training", "Testing", "samples"],
        ["seg_train", "seg_test", "seg_pred"],
        ["Train", "Test", "unlabeled"],
        ["trainA", "trainB", "testA", "testB"],
        ["train_cats", "test_cats"],
    ],
)
def test_one_folder_more_does_not_make_classes_of_splits(tmp_path: Path, tops: list[str]) -> None:
    for level, top in enumerate(tops):
        draw(tmp_path / top / f"{'ab'[level % 2]}{level}" / "1.png", level)
    assert "of which some are named like splits: say --layout splits" in refuse(tmp_path)
    assert read(tmp_path, layout="classes").classes == sorted(tops)


def test_splits_in_other_letters(tmp_path: Path) -> None:
    source = read(draw_folders(tmp_path, ["训练集", "测试集"]))
    assert (source.classes, set(levels(source)), source.left_out) == (["a", "b"], {0}, ("测试集",))


def test_images_and_masks_inside_a_split(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["train", "val"], inner=("images", "masks"))
    assert "train holds images, masks, which look like images and what belongs to them" in refuse(tmp_path)


def test_every_folder_that_is_left_out_is_named(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["train"], inner=("steam", "diesel"))
    draw(tmp_path / "test/1.png")
    draw(tmp_path / "tram/1.png")
    (tmp_path / "list.txt").write_text("words")
    draw(tmp_path / "stray.png")
    source = read(tmp_path)
    assert (source.left_out, source.unlisted) == (("test", "tram"), {".": 1})
    assert [Path(path).name for path in source.ignored] == ["list.txt"]
    draw_folders(tmp_path, ["test"], inner=("steam", "diesel"))
    both = read(tmp_path, split="test+train")
    assert (both.unlisted, [Path(path).name for path in both.ignored]) == ({".": 1}, ["list.txt"]), "counted once"


def test_a_train_that_may_be_a_class_is_a_question(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["train"], inner=("2019", "2020"))
    for name in ("bus", "car"):
        draw(tmp_path / name / "1.png", 9)
    draw(tmp_path / "images" / "1.png")
    message = refuse(tmp_path)
    assert "train holds folders, and bus, car hold images: say --layout splits" in message
    assert read(tmp_path, layout="splits").classes == ["2019", "2020"]
    assert read(tmp_path, layout="classes").classes == ["bus", "car", "images", "train"]


def test_folders_of_a_split_beside_what_holds_no_images_are_splits(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["train"], inner=("cat", "dog"))
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents/terms.txt").write_text("words")
    assert read(tmp_path).classes == ["cat", "dog"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a.png", "x"), ("a.png", "y")], "lists a.png with the labels x and y; give it one"),
        ([("images/train/a.png", "x"), ("images/test/a.png", "y")], "in folders of several splits (test, train)"),
        ([("a.png", "x"), ("b.png", " ")], "has no label in 1 rows, first in row 1 (null)"),
    ],
)
def test_tables_that_contradict_themselves(tmp_path: Path, rows: list[tuple[str, str]], words: str) -> None:
    for name, _ in rows:
        draw(tmp_path / name)
    write_table(tmp_path / "metadata.csv", rows)
    assert words in refuse(tmp_path)


def test_a_column_that_tells_splits_is_a_question(tmp_path: Path) -> None:
    lines = ["file_name,label,split"]
    for number in range(4):
        draw(tmp_path / f"{number}.png", number)
        lines.append(f"{number}.png,{'ab'[number % 2]},{'train' if number < 3 else 'test'}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    assert "column 'split' of" in refuse(tmp_path)
    assert len(read(tmp_path, drop_columns=("split",))) == 4


def test_labels_of_a_table_stay_as_they_are_written(tmp_path: Path) -> None:
    labels = ["001", "1", "1e0", "TRUE"]
    for number in range(len(labels)):
        draw(tmp_path / f"{number}.png")
    write_table(tmp_path / "metadata.csv", [(f"{number}.png", label) for number, label in enumerate(labels)])
    assert read(tmp_path).classes == labels


def test_folders_that_share_what_they_hold_are_found_wherever_they_stand(tmp_path: Path) -> None:
    """Two of four, which are neither neighbours by name nor by size."""
    for top, inner in (("p1", "abc"), ("p2", "xyz"), ("p3", "uvw"), ("p4", "abt")):
        draw_folders(tmp_path, [top], inner=tuple(inner))
    assert "p1, p2, p3, p4, and several of them the folders a, b" in refuse(tmp_path)


def test_a_split_wrapped_in_a_folder_of_its_name(tmp_path: Path) -> None:
    draw_folders(tmp_path / "seg_train", ["seg_train"])
    draw_folders(tmp_path / "seg_test", ["seg_test"])
    draw_folders(tmp_path / "seg_pred", ["seg_pred"])
    assert "of which some are named like splits" in refuse(tmp_path)
    assert refuse(tmp_path, split="test").endswith("with --split, or add --layout splits if seg_test is one")
    source = read(tmp_path, layout="splits")
    assert (source.classes, source.splits) == (["a", "b"], {"train": 4})
    assert source.left_out == ("seg_pred", "seg_test")
    assert read(tmp_path, layout="splits", split="test").classes == ["a", "b"]


def test_one_folder_around_everything_is_named(tmp_path: Path) -> None:
    draw_folders(tmp_path / "one" / "data", ["train", "test"])
    assert "holds one folder alone, data" in refuse(tmp_path / "one")
    assert "the folders test, train: give " + str(tmp_path / "one" / "data") in refuse(tmp_path / "one")
    draw_folders(tmp_path / "two" / "train", ["inner"])
    draw_folders(tmp_path / "two" / "test", ["inner"])
    assert "the folders a, b: give " + str(tmp_path / "two" / "train" / "inner") in refuse(tmp_path / "two")


@pytest.mark.parametrize(
    "beside", ["readme.txt", "LICENSE", "terms - 3467.docx", "archive.zip", "labels.csv", "rows.arrow"]
)
def test_one_folder_around_everything_is_named_whatever_document_lies_beside_it(tmp_path: Path, beside: str) -> None:
    draw_folders(tmp_path / "PetImages", ["Cat", "Dog"], inner=("",))
    (tmp_path / beside).write_text("words")
    assert f"the only class, and that the folders Cat, Dog: give {tmp_path / 'PetImages'}" in refuse(tmp_path)
    draw(tmp_path / "stray.png")
    assert "only class 'PetImages' has images" in refuse(tmp_path), "an image is no document"


AROUND = {
    "splits beside figures": ("dataset", ["dataset/{train,test}/{cat,dog}", "figures"]),
    "one split beside figures": ("dataset", ["dataset/train/{cat,dog}", "figures"]),
    "splits beside other images": ("data", ["data/{Training,Testing}/cat", "external/cat"]),
    "versions": ("v1", ["v1/{train,test}/cat", "v2/cat"]),
    "splits named with the class": ("cats", ["cats/{cats_train,cats_test}", "dogs/{dogs_train,dogs_test}"]),
    "splits in some classes": ("cats", ["cats/{train,val}", "dogs/train"]),
    "a split of each class": ("cats", ["cats/train", "dogs/test"]),
    "classes beside a logo": ("data", ["data/{cat,dog}", "docs"]),
    "classes beside two others": ("animals", ["animals/{cat,dog}", "docs", "logos"]),
    "sets of classes": ("colon_image_sets", ["colon_image_sets/{colon_aca,colon_n}", "lung_image_sets/{aca,n}"]),
}


def draw_braces(root: Path, patterns: list[str]) -> Path:
    for pattern in patterns:
        for name in subprocess.check_output(["bash", "-c", f"echo {pattern}"], text=True).split():
            draw(root / name / "1.png")
    return root


@pytest.mark.parametrize("case", AROUND)
def test_one_folder_around_splits_or_classes_beside_others_is_a_question(tmp_path: Path, case: str) -> None:
    around, patterns = AROUND[case]
    message = refuse(draw_braces(tmp_path, patterns))
    assert f"and {around} the folders " in message
    assert f"give {tmp_path / around} if " in message
    assert "add --layout classes if " in message
    assert len(read(tmp_path, layout="classes").classes) == len(patterns)


@pytest.mark.parametrize(
    "patterns",
    [
        ["cat/train", "dog/train"],
        ["benign/{p1,p2}", "malignant/{p3,p4}"],
        ["benign/{p1,p2}", "malignant/p3"],
        ["cat", "cat/{indoor,outdoor}", "dog"],
        ["cat/indoor", "dog"],
    ],
)
def test_classes_may_hold_folders(tmp_path: Path, patterns: list[str]) -> None:
    source = read(draw_braces(tmp_path, patterns))
    assert source.classes == sorted({pattern.split("/")[0] for pattern in patterns})


def test_images_that_no_table_of_any_split_lists_are_counted(tmp_path: Path) -> None:
    for split in ("test", "train"):
        for number in range(3):
            draw(tmp_path / split / f"{number}.png", number)
    write_table(tmp_path / "test" / "metadata.csv", [("0.png", "x"), ("1.png", "y"), ("2.png", "y")])
    write_table(tmp_path / "train" / "metadata.csv", [("0.png", "x"), ("1.png", "y")])
    assert read(tmp_path, split="test+train").unlisted == {"train": 1}
