"""Audits in tests: a small recipe, and gratings to run it on."""

import json
from pathlib import Path
from typing import Any

import yaml

from rem_release.audit.ledger import VictimRecord
from rem_release.verdict.recipe import AuditRecipe, load_audit_recipe
from tests.gratings import add_patches, draw_gratings, write_classes

AUDIT: dict[str, Any] = {
    "victim": {
        "source_model": "small_vgg",
        "epochs": 1,
        "least_steps": 80,
        "batch_size": 64,
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 5.0e-4,
        "decay_every": 1,
        "decay": 0.1,
        "augmentation": "none",
        "evaluations": 4,
    },
    "adversary": {"steps": 2, "relative_step_size": 0.5},
    "statistics": {"half_width": 0.1},
    "seeds": {"required": 1, "others": 1},
    "tiers": {"standard": {"required": True, "limit": 0.3, "threats": ["standard"]}},
}
QUICK = {"victim__least_steps": 2, "victim__epochs": 0.01, "victim__evaluations": 1, "statistics__half_width": 0.4}
"""Changes for audits in which nothing needs to be learnt."""


def write_audit_recipe(path: Path, **changes: object) -> Path:
    """Write the recipe with some dotted keys changed, `victim__epochs=2` for `victim.epochs`."""
    recipe = json.loads(json.dumps(AUDIT))
    for key, value in changes.items():
        *parents, last = key.split("__")
        inner = recipe
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    path.write_text(yaml.safe_dump(json.loads(json.dumps(recipe))), encoding="utf-8")  # without aliases
    return path


def read_recipe(folder: Path, **changes: object) -> AuditRecipe:
    """The recipe as an object."""
    return load_audit_recipe(str(write_audit_recipe(folder / "recipe.yaml", **changes)))


def write_task(folder: Path, train: int = 100, test: int = 60) -> Path:
    """Write `clean/`, `patched/` (class-wise patches of ±16 levels) and `test/`, class folders of gratings."""
    images = draw_gratings(train, seed=0, contrast=20)
    write_classes(folder / "clean", images)
    write_classes(folder / "patched", add_patches(images, 16))
    write_classes(folder / "test", draw_gratings(test, seed=1, contrast=20))
    return folder


def read_victims(audit: Path) -> list[VictimRecord]:
    """The finished victims of an audit, in the order in which they were trained."""
    lines = (audit / "victims.jsonl").read_text().splitlines()
    return [VictimRecord.model_validate_json(line) for line in lines]
