"""What names a victim: a key of everything that decides what it learns, and the seeds of an audit. No image is read."""

import ast
from collections.abc import Iterable, Sequence
from functools import cache
from inspect import getfile
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

import rem_release
from rem_release.audit.ledger import key_of
from rem_release.audit.preparation import SIGNS_SEED
from rem_release.audit.setup import AuditSetup
from rem_release.release.canonical import sha256_file
from rem_release.release.certificate import PACKAGES
from rem_release.threats import kinds
from rem_release.threats.base import ThreatPart
from rem_release.threats.registry import known_parts
from rem_release.threats.threat import Threat
from rem_release.verdict.plan import Seeds, Task, TrainedOn, describe_training
from rem_release.versions import find_versions

TRAINS = (
    *("core", "models", "training", "data/images", "data/array_file.py", "data/ranking.py"),
    *("audit/setup.py", "audit/preparation.py", "audit/step.py", "audit/victim.py", "audit/learnability.py"),
    *("audit/inputs/sets.py", "verdict/accuracy.py"),
)
"""The code that trains and tests victims, beside that of threats. Sources, pairing and recipes are not in it: what they
give, images, steps and seeds, is in the key itself."""


class VictimNames:
    """Names the victims of an audit.

    Args:
        setup: what is audited, and how.
        accelerator: decides device and processes.
        test_digest: of the test images on the working grid, see `TestSet`.
    """

    def __init__(self, setup: AuditSetup, accelerator: Accelerator, test_digest: str) -> None:
        self._setup, self._accelerator = setup, accelerator
        self._keys: dict[tuple[str, str, TrainedOn, int], str] = {}
        target, holdout, labels = setup.target, setup.holdout, setup.labels.tolist()
        rows = holdout.train_rows.tolist()
        clean, protected = target.pairs.clean_hashes, target.pairs.protected_hashes
        self._clean = key_of({"images": [clean[row] for row in rows], "labels": labels})
        self._protected = key_of({"images": [protected[row] for row in rows], "labels": labels})
        self._test = key_of({"images": holdout.hashes, "labels": holdout.labels.tolist()})
        originals = sorted((clean[row], target.classes[label]) for row, label in zip(rows, labels, strict=True))
        training = describe_training(setup.recipe, holdout.origin)
        self.seeds = Seeds(target.digest, key_of({"originals": originals}), test_digest, training)

    def fingerprint(self) -> str:
        """A hash over what all processes must have in common: images, test images and recipe."""
        images = [self._clean, self._protected, self._test]
        return key_of({"images": images, "recipe": self._setup.recipe.to_dict()})

    def made_on(self) -> dict[str, Any]:
        """What victims depend on beside images and recipe."""
        return {
            "device": device_name(self._accelerator),
            "processes": self._accelerator.num_processes,
            "versions": versions(),
        }

    def key(self, task: Task) -> str:
        """A hash over everything that decides the victim; baselines do not depend on how the release was made."""
        if task.key not in self._keys:
            self._keys[task.key] = key_of(self._list_what_decides(task))
        return self._keys[task.key]

    def wants_learnability(self, task: Task) -> bool:
        """Whether this is the victim whose accuracy under noise on its weights is measured."""
        setup = self._setup
        source = setup.target.source_model or setup.recipe.victim.source_model
        is_surrogate = (task.architecture.name, task.threat.parts, task.trained_on) == (source, (), "protected")
        return is_surrogate and task.seed == self.seeds.of("protected", 0) and setup.recipe.learnability.samples > 0

    def _list_what_decides(self, task: Task) -> dict[str, Any]:
        setup, network, recipe = self._setup, task.architecture.network, self._setup.recipe_of(task).to_dict()
        of_release = task.trained_on in ("protected", "clean part")
        has_clean_rows = task.threat.needs_originals or setup.is_partial
        return {
            "clean": self._clean,
            "release": [self._protected, setup.target.digest]
            if of_release or (has_clean_rows and task.trained_on == "random")
            else None,
            "signs": [int(setup.rho_u * 255), SIGNS_SEED] if task.trained_on == "random" else None,
            "test": self._test,
            "trained_on": task.trained_on,
            "classes": len(setup.target.classes),
            "architecture": task.architecture.name,
            "network": {
                "weights": sha256_file(Path(network.weights)) if network.weights else None,
                "resize": network.resize if network.weights else None,
                "learning_rate": network.learning_rate,
            },
            "threat": task.threat.name,
            "victim": {**recipe["victim"], "source_model": None, "resolution": setup.resolution},
            "steps": [setup.count_steps(task), *setup.list_evaluations(task)],
            "adversary": recipe["adversary"] if task.threat.adversary else None,
            "learnability": recipe["learnability"] if self.wants_learnability(task) else None,
            "seed": task.seed,
            **self.made_on(),
            "code": [code_digest(), threat_digest(task.threat)],
        }


@cache
def code_digest() -> str:
    """Hash of the code that every victim runs through, so that no record outlives a change of it."""
    package = Path(rem_release.__file__).parent
    return _hash_code([*(package / place for place in TRAINS), *(package / "threats").glob("*.py")])


@cache
def threat_digest(threat: Threat) -> str:
    """Hash of the files of a threat's parts, and of those of other threats that these import."""
    found: set[Path] = set()
    open_places = [_code_of(type(part)) for part in (*threat.parts, *threat.acting)]
    while open_places:
        place = open_places.pop()
        if place not in found:
            found.add(place)
            open_places += [_code_of(known_parts()[name]) for name in _list_imported(place)]
    return _hash_code(list(found))


def agreed_code() -> str:
    """Hash of the code of every threat and of what they have in common, which all processes must run."""
    return key_of({"code": [code_digest(), _hash_code([_code_of(part) for part in known_parts().values()])]})


def _code_of(part: type[ThreatPart]) -> Path:
    """The file of a part, or its folder."""
    file = Path(getfile(part))
    return file.parent if file.name == "__init__.py" else file


def _list_imported(place: Path) -> set[str]:
    """The threats whose files a file, or one of a folder, imports anywhere in it."""
    names: set[str] = set()
    for file in _files_of(place):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    start = f"{kinds.__name__}."
    return {name.removeprefix(start).partition(".")[0] for name in names if name.startswith(start)}


def _files_of(place: Path) -> Iterable[Path]:
    return place.rglob("*.py") if place.is_dir() else [place]


def _hash_code(places: Sequence[Path]) -> str:
    files = {file for place in places for file in _files_of(place)}
    return key_of({"files": sorted((file.name, sha256_file(file)) for file in files)})


def device_name(accelerator: Accelerator) -> str:
    """The kind of device, such as `cpu` or the model of a GPU."""
    device = accelerator.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@cache
def versions() -> dict[str, str]:
    """Of the packages that decide what a victim learns; looked up once, for every key holds them."""
    return find_versions(PACKAGES)
