"""Which names folders of splits have: `Training`, `seg_test`, `val2017` and their like."""

import re

_SPLITS = {
    "train": ("train", "training", "trn", "trainset", "训练", "训练集"),
    "validation": ("val", "valid", "validation", "validate", "dev", "eval", "evaluation", "valset", "验证", "验证集"),
    "test": ("test", "testing", "tests", "tst", "testset", "测试", "测试集"),
}
_BESIDE = {
    *("seg", "set", "data", "dataset", "split", "image", "images", "img", "imgs", "photo", "photos", "picture"),
    *("pictures", "pics", "files", "folder"),
}
"""words that stand beside the name of a split without another meaning"""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+")


KNOWN = {*_BESIDE, *(word for names in _SPLITS.values() for word in names)}
"""words that a folder of a split may bear"""


def split_words(name: str) -> list[str]:
    """The words of a name, in small letters: `leftImg8bit` is left, img, 8, bit."""
    return [word.lower() for word in _WORD.findall(name)]


def split_named(name: str) -> str | None:
    """What a folder's name says: `train`, `validation`, `test`, or None where it is no name of a split."""
    words = [word for word in split_words(name) if not word.isdigit()]
    found = splits_hinted(name)
    return found.pop() if len(found) == 1 and set(words) <= KNOWN else None


def splits_hinted(name: str) -> set[str]:
    """Every split of which a word of the name speaks, whatever else it says: `trainA`, `train_cats`, `test-many`."""
    return {split for word in split_words(name) for split, names in _SPLITS.items() if word in names}
