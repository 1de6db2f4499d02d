"""Which names folders of splits have: `Training`, `seg_test`, `val2017` and their like."""

import re

_SPLITS = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "validate", "dev", "eval", "evaluation"),
    "test": ("test", "testing", "tests", "tst"),
}
_BESIDE = {
    *("seg", "set", "data", "dataset", "split", "image", "images", "img", "imgs", "photo", "photos", "picture"),
    *("pictures", "pics", "files", "folder"),
}
"""words that stand beside the name of a split without another meaning"""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+")


def split_named(name: str) -> str | None:
    """What a folder's name says: `train`, `validation`, `test`, or None where it is no name of a split."""
    words = [word.lower() for word in _WORD.findall(name) if not word.isdigit()]
    found = {split for word in words for split, names in _SPLITS.items() if word in names}
    known = {*_BESIDE, *(word for names in _SPLITS.values() for word in names)}
    return found.pop() if len(found) == 1 and set(words) <= known else None
