"""The checks of verify that look at files as a whole: the facts, the list of files, their hashes, card and figures."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from datasets import Image
from jinja2 import TemplateError

import rem_release
from rem_release.errors import InputError, VerificationError
from rem_release.radius import parse_radius, whole_levels
from rem_release.recipe import parse_recipe
from rem_release.release.assembling import describe_protection
from rem_release.release.canonical import sha256_file
from rem_release.release.card import RENDERERS, render_card
from rem_release.release.certificate import AUDIT_FIGURES, Certificate
from rem_release.release.documents import CARD, CERTIFICATE, CLEAN, FACTS, find_certificate
from rem_release.release.facts import Facts, data_digest
from rem_release.release.figures import NOISE_FIGURE, PROTECTED_FIGURE
from rem_release.release.schema import read_features
from rem_release.verification.png import inspect_png
from rem_release.verification.report import Check, Faults

_SPLIT = re.compile(r"\w+(\.\w+)*")
_FIGURES = (PROTECTED_FIGURE, NOISE_FIGURE, *AUDIT_FIGURES)


def check_consistency(facts: Facts) -> Check:
    """Whether the facts agree with each other, before any file is opened on their word."""
    faults = Faults()
    for is_sound, fault in _compare_facts(facts):
        if not is_sound:
            faults.add(f"{FACTS}: {fault}")
    return faults.conclude("facts", "protection.json fits its own hash and schema, and agrees with itself")


def _compare_facts(facts: Facts) -> Iterator[tuple[bool, str]]:
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
    yield all(_is_allowed(facts, name) for name in facts.files), "files lists a name that a release cannot have"
    yield data.resized_noise <= data.protected, "resized_noise exceeds the protected rows"
    yield data.duplicates < data.images, "duplicates is not below images"
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
        if protection.method in ("rem", "sem"):
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
    return {
        split: sum(facts.files[name].rows or 0 for name in _data_names(facts) if name.startswith(f"data/{split}-"))
        for split in facts.data.split_images
    }


def _shard_names(facts: Facts) -> list[str]:
    counts = Counter(name.removeprefix("data/").partition("-")[0] for name in _data_names(facts))
    return sorted(name for split in facts.data.split_images for name in _number_shards("data", split, counts[split]))


def _clean_shard_names(facts: Facts) -> list[str]:
    return _number_shards(CLEAN, facts.clean_split.split, len(_clean_names(facts))) if facts.clean_split else []


def _number_shards(folder: str, split: str, count: int) -> list[str]:
    """The names that the shards of a split must have; none where `split` cannot be the name of one."""
    if not _SPLIT.fullmatch(split):
        return []
    return [f"{folder}/{split}-{index:05d}-of-{count:05d}.parquet" for index in range(count)]


def _is_allowed(facts: Facts, name: str) -> bool:
    """Whether the facts may name this file. What they may not name is never opened: it could lie anywhere."""
    return name in _shard_names(facts) or name in _clean_shard_names(facts) or name in _FIGURES


def check_file_list(release: Path, facts: Facts) -> Check:
    """Whether the folder holds exactly the files of the facts: no other file, no link, no hidden file, none missing."""
    faults = Faults()
    expected = {CARD, FACTS, *facts.files}
    if not expected.isdisjoint(AUDIT_FIGURES):
        expected.add(CERTIFICATE)
    folders = {"data", "figures"} | ({CLEAN} if facts.clean_split else set())
    found = set()
    for path in _walk(release, faults):
        name = path.relative_to(release).as_posix()
        if path.is_symlink():
            faults.add(f"{name} is a link")
        elif path.is_dir():
            if name not in folders:
                faults.add(f"{name}/ is a folder that does not belong to a release")
        elif name not in expected and name != CERTIFICATE:
            faults.add(f"{name} does not belong to the release")
        found.add(name)
    for name in sorted(expected - found):
        faults.add(f"{name} is missing")
    return faults.conclude("file list", f"{len(found - folders)} files, none missing and none besides")


def _walk(release: Path, faults: Faults) -> Iterator[Path]:
    """Everything below the folder in sorted order; links are not followed."""
    for folder, folders, files in os.walk(release, onerror=lambda error: faults.add(f"cannot be listed: {error}")):
        folders.sort()
        yield from (Path(folder) / name for name in sorted([*folders, *files]))


def check_hashes(release: Path, facts: Facts) -> tuple[Check, set[str]]:
    """Compare size and sha256 of every file with the facts.

    Returns:
        The check, and the names of the files whose every byte is right: only those are worth opening.
    """
    faults = Faults()
    intact = set()
    for name, stated in sorted(facts.files.items()):
        path = release / name
        if not _is_allowed(facts, name) or path.is_symlink() or not path.is_file():
            faults.add(f"{name} is missing or is not a plain file")
        elif path.stat().st_size != stated.bytes:
            faults.add(f"{name} has {path.stat().st_size} bytes instead of {stated.bytes}")
        elif sha256_file(path) != stated.sha256:
            faults.add(f"{name} is damaged or was changed: its sha256 is not that of {FACTS}")
        else:
            intact.add(name)
    return faults.conclude("file hashes", f"{len(intact)} files have the recorded size and sha256"), intact


def check_card(release: Path, facts: Facts, audit: Certificate | None) -> Check:
    """Whether README.md is the recorded one, and renders again identically with the versions that made it."""
    path = release / CARD
    if path.is_symlink() or not path.is_file():
        return Check("card", False, f"{CARD} is missing or is not a plain file")
    found = path.read_bytes()
    if hashlib.sha256(found).hexdigest() != facts.readme_sha256:
        return Check("card", False, f"{CARD} was changed: its sha256 is not that of {FACTS}")
    installed = {name: version(name) for name in RENDERERS} | {"rem-release": rem_release.__version__}
    if changed := [name for name in RENDERERS if facts.versions.get(name, installed[name]) != installed[name]]:
        why = ", ".join(f"{name} {facts.versions[name]}, not {installed[name]}" for name in changed)
        return Check("card", True, f"{CARD} has its recorded sha256; not rendered again, as it was made with {why}")
    try:
        again = render_card(facts, audit).encode()
    except (ValueError, TypeError, TemplateError) as error:
        return Check("card", False, f"{CARD} cannot be rendered again from {FACTS}: {error}")
    sources = f"{FACTS} and {CERTIFICATE}" if audit else FACTS
    if again != found:
        return Check("card", False, f"{CARD} does not render again identically from {sources}")
    return Check("card", True, f"{CARD} renders again identically from {sources}")


def check_certificate(release: Path, facts: Facts) -> tuple[Check | None, Certificate | None]:
    """Whether audit.json, where there is one, is whole and speaks of these data.

    Returns:
        The check, and the certificate if it may be believed: the card must not repeat a void or damaged one.
    """
    try:
        audit = find_certificate(release)
    except VerificationError as error:
        return Check("certificate", False, f"{error}; audit these data again"), None
    if audit is None:
        return None, None
    if audit.digest != facts.digest:
        words = f"{CERTIFICATE} is void: it is of data with the digest {audit.digest[:12]}…, not {facts.digest[:12]}…"
        return Check("certificate", False, f"{words}; audit these data again"), None
    verdict = "passed" if audit.passed else "fell short"
    sound = f"{CERTIFICATE} is whole and bound to the digest of these data; its verdict: {verdict}"
    return Check("certificate", True, sound), audit


def check_figures(release: Path, facts: Facts, intact: set[str]) -> Check:
    """Whether the figures that the facts list are bare PNG. What their pixels show cannot be proven."""
    faults = Faults()
    figures = sorted(name for name in intact if name.startswith("figures/"))
    for name in figures:
        for reason in inspect_png((release / name).read_bytes()):
            faults.add(f"{name} {reason}")
    skipped = sum(name.startswith("figures/") for name in facts.files) - len(figures)
    if skipped and not faults.count:
        return Check("figures", None, f"{skipped} damaged figures were not opened")
    return faults.conclude("figures", f"{len(figures)} figures, bare PNG; what their pixels show cannot be proven")
