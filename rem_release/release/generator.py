"""A trained noise generator, kept in `private/` so that it can protect new images later."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rem_release.errors import InputError
from rem_release.methods.maker import Maker
from rem_release.recipe import Recipe, parse_recipe
from rem_release.release.remembered import read_record
from rem_release.release.run_folder import SECRET_SEEDS, RunFolder


@dataclass(frozen=True)
class Generator:
    """The generator of an earlier run.

    Attributes:
        weights: safetensors file.
        weights_sha256: its hash.
        recipe: what it was trained with, and what it makes noise with.
        recipe_name: the name of that recipe.
        classes: names of the classes it knows, in the order of its logits.
        seed: of its run; with it an image gets the noise that it has there.
        is_old: an earlier version made the run, whose seed was public unless the owner chose one.
    """

    weights: Path
    weights_sha256: str
    recipe: Recipe
    recipe_name: str
    classes: list[str]
    seed: int
    is_old: bool

    def map_classes(self, classes: list[str]) -> np.ndarray:
        """The generator's index of each class, int64 [classes].

        Raises:
            InputError: a class that the generator does not know.
        """
        unknown = [name for name in classes if name not in self.classes]
        if unknown:
            raise InputError(
                f"--generator: {self.weights.parent.parent} was not trained on the classes {', '.join(unknown)}; "
                f"it knows {', '.join(self.classes)}. Train a new one without --generator"
            )
        return np.array([self.classes.index(name) for name in classes], np.int64)


@dataclass(frozen=True)
class _Facts:
    """What is kept beside the weights."""

    recipe_name: str
    classes: list[str]


def save_generator(run: RunFolder, maker: Maker, recipe: Recipe, recipe_name: str, classes: list[str]) -> None:
    """Write the generator, with its recipe and classes beside it."""
    maker.save(run.generator)
    run.write_json(run.recipe, recipe.to_dict())
    run.write_json(run.generator_facts, {"recipe_name": recipe_name, "classes": classes})


def generator_files(path: Path) -> tuple[Path, ...]:
    """A run, and what of it `load_generator` and its caller read."""
    run = RunFolder(path)
    return (path, run.options, run.generator, run.generator_facts, run.recipe)


def load_generator(path: Path) -> Generator:
    """Find the generator of a run.

    Raises:
        InputError: no such run, or it has no generator (it is not finished, or its noise needs none).
    """
    run = RunFolder(path)
    if not run.exists:
        raise InputError(f"--generator {path} is not a run folder; give the --out of an earlier protect")
    if not run.generator.is_file() and not run.finished:
        raise InputError(f"--generator {path} has no trained generator; finish that run with --resume first")
    before_folding = {"execution": "eager"}  # which recipes of earlier versions do not say
    recipe = parse_recipe({**before_folding, **read_record(run.recipe, dict[str, Any])}, str(run.recipe))
    if reason := recipe.noise.refuses_unseen:
        raise InputError(f"--generator {path}: {reason}; protect all images together, in one run")
    if not run.generator.is_file():
        cure = (
            "restore it, or train a new one"
            if recipe.noise.trains
            else f"noise.method {recipe.noise.method} trains none and needs none"
        )
        raise InputError(f"--generator {path} has no trained generator; {cure}")
    facts = read_record(run.generator_facts, _Facts)
    digest = hashlib.sha256(run.generator.read_bytes()).hexdigest()
    options = run.read_options()
    seed = options.get("seed")
    if not isinstance(seed, int):
        raise InputError(f"--generator {path}: {run.options} names no seed; restore it, or train a new generator")
    is_old = options.get("format") not in SECRET_SEEDS
    return Generator(run.generator, digest, recipe, facts.recipe_name, facts.classes, seed, is_old)
