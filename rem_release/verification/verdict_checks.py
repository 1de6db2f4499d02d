"""Whether the verdict of a certificate follows from the answers that are published with it; it is never believed."""

import hashlib
import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

import rem_release
from rem_release.errors import InputError, VerificationError
from rem_release.radius import format_radius, parse_radius
from rem_release.release.certificate import ANSWERS, PACKAGES, Certificate
from rem_release.release.facts import Facts
from rem_release.threats.threat import STANDARD
from rem_release.verdict.certify import certify, count_evaluations, list_tasks
from rem_release.verdict.evidence import Evidence, read_evidence, write_evidence
from rem_release.verdict.learnability import bound_learnability
from rem_release.verdict.recipe import OLD_FP32, OWN, OWN_FILE, AuditRecipe, name_recipe, shipped_audits
from rem_release.verification.parquet_layout import require_stated_sizes
from rem_release.verification.report import Check, Faults

_WORDS = {"summary", "reason", "words", "not_covered", "shipped_limit"}
"""What a certificate says in sentences, and what shipped recipes say: another version has others."""
_FP32 = re.compile(r"(?<=victim\.precision )fp32|(?<=victim\.precision bf16 \(shipped: )fp32")
_SAID_BEFORE = {
    "People, and models that were trained on other images: the pictures stay recognisable to both.": (
        "People, and models that were trained on other images: the protected ones stay recognisable to both."
    ),
    "Victims that see the pictures at other sizes than those tested, or through another resizing.": (
        "Victims that see the images at other sizes than those tested, or through another resizing."
    ),
}
"""Sentences of versions before 0.5.0, and what they are now."""


def check_verdict(release: Path, facts: Facts, audit: Certificate) -> list[Check]:
    """Make the certificate again from its circumstances and the answers, and compare.

    Args:
        release: the folder.
        facts: sound facts, whose protection the certificate must speak of.
        audit: the certificate, whole and of these data.

    Returns:
        A check of the verdict, one of its words, and one of the file of answers.
    """
    faults = Faults()
    try:
        for fault in _contradict(facts, audit, AuditRecipe.of(audit.recipe)):
            faults.add(f"audit.json contradicts protection.json: {fault}")
        evidence = read_answers(release, audit)
        again = certify(audit.circumstances, evidence, audit.answers_sha256)
        if misnamed := _misname(audit):
            faults.add(f"audit.json calls its recipe {_show(audit.recipe_name)}, {misnamed}")
        if reason := _find_unlearnt(audit):
            faults.add(f"audit.json: {reason}")
        if strange := sorted(set(audit.versions) ^ set(PACKAGES)):
            faults.add(f"audit.json has versions of others than {', '.join(PACKAGES)}: {_show(strange)}")
    except (VerificationError, InputError, ValueError, OverflowError) as error:
        faults.add(f"it cannot be computed again: {error}")
        return [faults.conclude("verdict", ""), Check("verdict's words", None, "not compared, as the verdict is not")]
    stated, found = (json.loads(each.model_dump_json()) for each in (audit, again))
    words = list(_differences(stated, found, "audit.json"))
    for where in [place for place in words if not _is_word(place[0])]:
        faults.add(f"{where[0]} says {_show(where[1])}, and the answers give {_show(where[2])}")
    outcome = "passed" if again.passed else "fell short"
    sound = f"computed again from {ANSWERS} ({len(again.rows)} rows, {again.holdout.images} test images): {outcome}"
    differences = [each for each in words if _is_word(each[0]) and not _is_old_spelling(each[1], each[2])]
    return [faults.conclude("verdict", sound), _check_words(differences, audit), _check_bytes(release, evidence)]


def _check_bytes(release: Path, evidence: Evidence) -> Check:
    """Whether the file of answers is what this version writes of them, byte for byte, so that nothing else is in it."""
    file = BytesIO()
    write_evidence(evidence, file)
    if file.getvalue() == (release / ANSWERS).read_bytes():
        return Check("answers", True, f"{ANSWERS} holds the answers and nothing else")
    return Check("answers", None, f"{ANSWERS} was written by another version of pyarrow, or holds more than answers")


def read_answers(release: Path, audit: Certificate) -> Evidence:
    """The published answers of which a certificate speaks.

    Raises:
        VerificationError: the answers are missing, damaged, others than the certificate names, or incomplete.
        InputError: the recipe of the certificate is none.
    """
    given, path = audit.circumstances, release / ANSWERS
    if path.is_symlink() or not path.is_file():
        raise VerificationError(f"{ANSWERS} is missing or is not a plain file; audit these data again")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != audit.answers_sha256:
        raise VerificationError(f"{ANSWERS} is not the file that audit.json names; audit these data again")
    try:
        require_stated_sizes(path)
    except (ValueError, OSError) as error:
        raise VerificationError(f"{ANSWERS} has {error}; audit these data again") from None
    return read_evidence(path, len(given.classes), list_tasks(given), count_evaluations(given))


def _contradict(facts: Facts, audit: Certificate, recipe: AuditRecipe) -> list[str]:
    """Where certificate and facts speak of different things."""
    protection, data = facts.protection, facts.data
    faults = []
    if audit.method != protection.method:
        faults.append(f"method {audit.method}, not {protection.method}")
    if audit.rho_u != protection.rho_u:
        faults.append(f"rho_u {audit.rho_u}, not {protection.rho_u}")
    rho_a = protection.rho_a if parse_radius(protection.rho_a) else format_radius(parse_radius(protection.rho_u) / 2)
    if audit.rho_a != rho_a:
        faults.append(f"rho_a {audit.rho_a}, not {rho_a}")
    source = next(iter(protection.source_models), recipe.victim.source_model)
    if audit.source != source:
        faults.append(f"source network {audit.source}, not {source}")
    if audit.holdout.origin == "reserve" and not data.held_back:
        faults.append("test images that were kept back, of which there are none")
    if audit.holdout.origin == "held out" and audit.images >= data.images:
        faults.append("test images that were left out of training, and victims that learnt from all images")
    if audit.classes != [name for name, count in zip(data.classes, data.class_counts, strict=True) if count]:
        faults.append("other classes")
    if audit.images > data.images or (audit.holdout.origin != "held out" and audit.images != data.images):
        faults.append(f"{audit.images} training images of {data.images}")
    if not data.unprotected and audit.partial:
        faults.append("images without noise, of which there are none")
    return faults


def _misname(audit: Certificate) -> str | None:
    """Why the recipe of a certificate may not be called as it is; None where it may. Another version has other recipes.

    Raises:
        InputError: the recipe is none.
    """
    name = audit.recipe_name.partition(",")[0]
    if name.startswith(OWN):
        is_file = OWN_FILE.fullmatch(audit.recipe_name.removeprefix(OWN))
        return None if is_file else "which is no file of YAML"
    if _is_newer(audit.versions.get("rem-release", "")):
        return None
    if name not in shipped_audits():
        return "which is not a shipped audit recipe"
    fitting = name_recipe(name, AuditRecipe.of(audit.recipe))
    return None if audit.recipe_name == fitting else f"and it is {fitting}"


def _find_unlearnt(audit: Certificate) -> str | None:
    """Why the bound by sampling does not follow from its samples and the recipe; None where it does."""
    asked, stated = AuditRecipe.of(audit.recipe).learnability, audit.learnability
    is_trained = any((row.architecture, row.threat) == (audit.source, STANDARD) for row in audit.rows)
    if stated is None:
        return "the bound by sampling, which its recipe asks for, is missing" if asked.samples and is_trained else None
    if len(stated.accuracies) != asked.samples:
        return f"a bound by {len(stated.accuracies)} samples, where the recipe asks for {asked.samples}"
    again = bound_learnability(audit.source, stated.accuracies, asked)
    return None if again == stated else "the bound by sampling does not follow from its samples and the recipe"


def _is_newer(maker: str) -> bool:
    """Whether a version says that it is newer than this one, which may know other sentences and recipes.

    Earlier ones that wrote certificates of this format wrote the same, but for the sentences in `_SAID_BEFORE` and what
    `_is_old_spelling` accepts. Threats that they had not are passed over: `ThreatPart.since`.
    """
    try:
        return Version(maker) > Version(rem_release.__version__)
    except InvalidVersion:
        return False


def _check_words(differences: list[tuple[str, Any, Any]], audit: Certificate) -> Check:
    name = "verdict's words"
    if not differences:
        return Check(name, True, "its sentences follow from its figures")
    maker = audit.versions.get("rem-release", "")
    if _is_newer(maker):
        words = f"not compared: they say that rem-release {maker} wrote them, and this is {rem_release.__version__}"
        return Check(name, None, f"{words}: pip install --upgrade rem-release")
    where, stated, found = differences[0]
    return Check(name, False, f"{where} says {_show(stated)}, and its figures give {_show(found)}")


def _is_word(place: str) -> bool:
    """Whether it is a sentence that another version may write otherwise. The verdict itself is none."""
    return place not in ("audit.json.summary[0]", "audit.json.statement") and bool(
        _WORDS.intersection(place.replace("[", ".").split("."))
    )


def _is_old_spelling(stated: Any, found: Any) -> bool:
    """Whether a sentence is the one that follows, but for the word that earlier versions had for the precision fp32."""
    return isinstance(found, str) and stated == _FP32.sub(OLD_FP32, found)


def _differences(stated: Any, found: Any, where: str) -> list[tuple[str, Any, Any]]:
    """Places where two documents differ: (path, what is stated, what was found)."""
    if isinstance(stated, dict) and isinstance(found, dict) and stated.keys() == found.keys():
        return [each for key in stated for each in _differences(stated[key], found[key], f"{where}.{key}")]
    if isinstance(stated, list) and isinstance(found, list):
        pairs = enumerate(zip(stated, found, strict=False))
        inner = [each for number, (one, other) in pairs for each in _differences(one, other, f"{where}[{number}]")]
        return inner if len(stated) == len(found) else [*inner, (where, stated, found)]
    if isinstance(stated, str) and _SAID_BEFORE.get(stated) == found:
        return []
    return [] if stated == found and type(stated) is type(found) else [(where, stated, found)]


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
