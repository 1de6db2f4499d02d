"""Whether facts agree with themselves: of those that do not, no card is rendered and nothing is read on their word."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import get_args

from datasets import ClassLabel, Image

import rem_release
from rem_release.data.sources.recognised import Fault
from rem_release.errors import InputError
from rem_release.methods import METHODS
from rem_release.radius import parse_radius, whole_levels
from rem_release.recipe import parse_recipe
from rem_release.release.certificate import ANSWERS, AUDIT_FIGURES
from rem_release.release.facts import Facts, data_digest
from rem_release.release.figures import NOISE_FIGURE, PROTECTED_FIGURE
from rem_release.release.schema import read_features
from rem_release.release.stated_protection import describe_protection

CLEAN = "clean"
"""The folder of the split that is published without noise, where the owner chose one."""
_SPLIT = re.compile(r"\w+(\.\w+)*")
_FIGURES = (PROTECTED_FIGURE, NOISE_FIGURE, *AUDIT_FIGURES)


def find_contradictions(facts: Facts) -> list[str]:
    """What in the facts contradicts the rest, before any file is opened on their word; empty where they agree."""
    return [fault for is_sound, fault in _compare(facts) if not is_sound]


def allowed_names(facts: Facts) -> frozenset[str]:
    """The files that the facts may name. What they may not name is never opened: it could lie anywhere."""
    return frozenset((*_shard_names(facts), *_clean_shard_names(facts), *_FIGURES, ANSWERS))


def _compare(facts: Facts) -> Iterator[tuple[bool, str]]:
    data, protection, seen = facts.data, facts.protection, facts.imperceptibility
    rows = [file.rows or 0 for name, file in facts.files.items() if name.startswith("data/")]
    yield data.protected + data.unprotected == data.images, "protected and unprotected rows do not add up to images"
    yield sum(data.class_counts) == data.images, "class_counts do not add up to images"
    yield len(data.class_counts) == len(data.classes) == len(set(data.classes)), "classes and class_counts differ"
    yield sum(rows) == data.images, "rows of the data files do not add up to images"
    yield data.split == "+".join(sorted(data.split_images)), f"split_images names other splits than {data.split!r}"
    yield _count_split_rows(facts) == data.split_images, "rows of the data files are not those of split_images"
    yield _shard_names(facts) == _data_names(facts), f"files lists other data files than shards of {data.split!r}"
    yield from _compare_clean_split(facts)
    yield allowed_names(facts) >= set(facts.files), "files lists a name that a release cannot have"
    yield ANSWERS not in facts.files or facts.files[ANSWERS].rows is None, f"{ANSWERS} has rows of the release"
    yield from _compare_left_out(facts)
    yield data.resized_noise <= data.protected, "resized_noise exceeds the protected rows"
    yield data.duplicates < data.images, "duplicates is not below images"
    yield (data.near_copies or 0) < data.images, "near_copies is not below images"
    yield (seen is None) == (data.protected == 0), "imperceptibility must be there exactly if rows are protected"
    yield seen is None or 0 < seen.max_change <= protection.rho_u_levels, "max_change is outside the budget"
    yield facts.digest == data_digest(facts.files), "digest is not that of the data files"
    yield from _compare_recipe(facts)
    try:
        features = read_features(data.features)
    except ValueError as error:
        yield False, str(error)
        return
    yield list(features) == data.columns, "columns and features differ"
    yield isinstance(features.get(data.image_column), Image), f"{data.image_column!r} is no column of images"
    yield data.label_column in features, f"{data.label_column!r} is no column"
    others = set(data.columns) - {data.image_column}
    yield others.issuperset(facts.kept_columns), "kept_columns names something that is not a column beside the image"
    label = features.get(data.label_column)
    yield not isinstance(label, ClassLabel) or label.names == data.classes, "classes are not those of the features"


def _compare_left_out(facts: Facts) -> Iterator[tuple[bool, str]]:
    """Whether what was left out by reason, where it is stated, adds up to what was left out."""
    data, counts = facts.data, facts.data.left_out
    if not counts:
        return
    skipped = sum(counts.get(fault, 0) for fault in get_args(Fault))
    held_back = counts.get("kept back for audits", 0) + counts.get("not protected", 0)
    yield skipped == data.skipped, "left_out does not add up to the skipped rows"
    yield held_back == data.held_back, "left_out does not add up to the rows held back"


def _compare_clean_split(facts: Facts) -> Iterator[tuple[bool, str]]:
    """Whether the split without noise, where there is one, is another one and is counted right."""
    data, clean = facts.data, facts.clean_split
    if clean is None:
        return
    rows = [facts.files[name].rows or 0 for name in _clean_names(facts)]
    yield clean.split not in data.split_images, f"clean_split has the name of the released split {clean.split!r}"
    yield sum(rows) == clean.images, "rows of the files in clean/ do not add up to the images of clean_split"
    yield sum(clean.class_counts) == clean.images, "class_counts of clean_split do not add up to its images"
    yield len(clean.class_counts) == len(data.classes), "class_counts of clean_split are not those of the classes"
    yield _clean_shard_names(facts) == _clean_names(facts), f"clean/ holds other files than shards of {clean.split!r}"


def _compare_recipe(facts: Facts) -> Iterator[tuple[bool, str]]:
    """Whether the recipe is the hashed one and gives the protection that the facts state.

    The facts of another version are held to method and radii alone: it may have described its recipe otherwise.
    """
    protection, recipe = facts.protection, facts.recipe
    text = json.dumps(recipe, sort_keys=True)
    yield hashlib.sha256(text.encode()).hexdigest() == facts.recipe_sha256, "recipe does not fit recipe_sha256"
    try:
        rho_u = parse_radius(protection.rho_u)
        radii = [(rho_u, parse_radius(recipe["noise"]["rho_u"]))]
        if METHODS[protection.method].has_adversary:
            radii.append((parse_radius(protection.rho_a), parse_radius(recipe["noise"]["rho_a"])))
        method = recipe["noise"]["method"]
    except (ValueError, KeyError, TypeError):
        yield False, "the radii cannot be read, or the recipe lacks them"
        return
    yield whole_levels(rho_u) == protection.rho_u_levels, "rho_u_levels is not floor(255·rho_u)"
    yield all(stated == given for stated, given in radii), "the radii are not those of the recipe"
    yield method == protection.method, "the method is not that of the recipe"
    if facts.versions.get("rem-release") != rem_release.__version__:
        return
    try:
        planned = describe_protection(parse_recipe(recipe, "of the facts"), protection.generator_reused).model_dump()
    except InputError as error:
        yield False, " ".join(str(error).split())
        return
    for name, stated in protection.model_dump().items():
        yield stated == planned[name], f"protection.{name} is {stated!r}, and {planned[name]!r} by the recipe"


def _data_names(facts: Facts) -> list[str]:
    return sorted(name for name in facts.files if name.startswith("data/"))


def _clean_names(facts: Facts) -> list[str]:
    return sorted(name for name in facts.files if name.startswith(f"{CLEAN}/"))


def _count_split_rows(facts: Facts) -> dict[str, int]:
    """Rows of each split's data files."""
    counts: Counter[str] = Counter()
    for name in _data_names(facts):
        counts[_split_of(name)] += facts.files[name].rows or 0
    return {split: counts[split] for split in facts.data.split_images}


def _split_of(name: str) -> str:
    return name.removeprefix("data/").partition("-")[0]


def _shard_names(facts: Facts) -> list[str]:
    counts = Counter(map(_split_of, _data_names(facts)))
    return sorted(name for split in facts.data.split_images for name in _number_shards("data", split, counts[split]))


def _clean_shard_names(facts: Facts) -> list[str]:
    return _number_shards(CLEAN, facts.clean_split.split, len(_clean_names(facts))) if facts.clean_split else []


def _number_shards(folder: str, split: str, count: int) -> list[str]:
    """The names that the shards of a split must have; none where `split` cannot be the name of one."""
    if not _SPLIT.fullmatch(split):
        return []
    return [f"{folder}/{split}-{index:05d}-of-{count:05d}.parquet" for index in range(count)]
