"""Which names folders of splits have: `Training`, `seg_test`, `val2017` and their like."""

import re
import unicodedata

_SPLITS = {
    "train": (
        *("train", "training", "trn", "trainset", "训练", "训练集", "学習", "訓練", "학습", "훈련", "обучение"),
        *("treino", "treinamento", "entrenamiento", "entrainement", "apprentissage"),
    ),
    "validation": (
        *(
            "val",
            "valid",
            "validation",
            "validate",
            "dev",
            "eval",
            "evaluation",
            "valset",
            "验证",
            "验证集",
            "検証",
            "검증",
        ),
        *("validacao", "validacion", "валидация"),
    ),
    "test": (
        *("test", "testing", "tests", "tst", "testset", "holdout", "测试", "测试集", "テスト", "테스트", "тест"),
        *("teste", "testes", "prueba", "pruebas"),
    ),
}
_BESIDE = {
    *("seg", "set", "data", "dataset", "split", "image", "images", "img", "imgs", "photo", "photos", "picture"),
    *("pictures", "pics", "files", "folder"),
}
"""words that stand beside the name of a split without another meaning"""
_ACCENT = re.compile("[\u0300-\u036f]")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+")


KNOWN = {*_BESIDE, *(word for names in _SPLITS.values() for word in names)}
"""words that a folder of a split may bear"""


def split_words(name: str) -> list[str]:
    """The words of a name, in small letters and without accents: `leftImg8bit` is left, img, 8, bit."""
    plain = _ACCENT.sub("", unicodedata.normalize("NFD", name))
    return [word.lower() for word in _WORD.findall(unicodedata.normalize("NFC", plain))]


def split_named(name: str) -> str | None:
    """What a folder's name says: `train`, `validation`, `test`, or None where it is no name of a split."""
    words = [word for word in split_words(name) if not word.isdigit()]
    found = splits_hinted(name)
    return found.pop() if len(found) == 1 and set(words) <= KNOWN else None


def splits_hinted(name: str) -> set[str]:
    """Every split of which a word of the name speaks, whatever else it says: `trainA`, `train_cats`, `test-many`."""
    return {split for word in split_words(name) for split, names in _SPLITS.items() if word in names}
