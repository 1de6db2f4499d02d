"""Whether any word that is published besides the values of rows carries an image: names, types, and the owner's own."""

import re
from collections.abc import Iterator
from typing import Any

from rem_release.data.leaks.hidden_images import find_image
from rem_release.data.leaks.published_words import Kind, Word, find_bad_words, find_too_many, list_words, name_classes
from rem_release.plain_text import show
from rem_release.release.certificate import Certificate
from rem_release.release.documents import CERTIFICATE, FACTS
from rem_release.release.facts import Facts
from rem_release.release.schema import read_features, write_features
from rem_release.verification.report import Check, Faults

_CURE = "protect again without it"
_CHECKSUM = re.compile(r"[0-9a-f]{64}")


def check_words(facts: Facts, audit: Certificate | None = None) -> Check:
    """Look through every word of the facts and of the certificate, from which the card is made too.

    Images in them are refused, names and types that are not what they should be, and more of them than the rows may
    say. The owner cannot let them pass.

    Args:
        facts: consistent facts.
        audit: the certificate, where there is one.
    """
    faults = Faults()
    features = read_features(facts.data.features)
    if write_features(features) != facts.data.features:
        faults.add(f"data.features of {FACTS} says more than its columns; protect again")
    words = list_published(facts)
    for bad in find_bad_words(words):
        faults.add(f"{bad.words}; {_CURE}")
    if too_many := find_too_many(words, facts.data.images):
        faults.add(f"{too_many}; shorten them, or leave columns out, and protect again")
    texts = [*_list_texts(facts.model_dump(mode="json"), FACTS)]
    texts += _list_texts(audit.model_dump(mode="json"), CERTIFICATE) if audit else []
    looked_at = {word.text for word in words} | {facts.data.features}
    for where, text in texts:
        if text not in looked_at and not _CHECKSUM.fullmatch(text) and (what := find_image(text)):
            faults.add(f"{show(where, 100)} holds {what}; remove it")
    return faults.conclude("words", f"{len(words)} names of columns, classes and the like, which hold no image")


def list_published(facts: Facts) -> list[Word]:
    """Every word besides the values of rows, see `data.published_words`."""
    data = facts.data
    splits = [*data.split_images, *([facts.clean_split.split] if facts.clean_split else [])]
    words = list_words(read_features(data.features).to_dict(), splits, facts.recipe_name)
    named = {word.text for word in words if word.kind is Kind.CLASS and word.column == data.label_column}
    return words + name_classes((name for name in data.classes if name not in named), data.label_column)


def _list_texts(document: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every text of a document with its place, the keys of its groups included."""
    if isinstance(document, str):
        yield where, document
    elif isinstance(document, list):
        for number, inner in enumerate(document):
            yield from _list_texts(inner, f"{where}[{number}]")
    elif isinstance(document, dict):
        for key, inner in document.items():
            yield f"{where}: the key {show(repr(key), 60)}", key
            yield from _list_texts(inner, f"{where}.{show(key, 60)}")
