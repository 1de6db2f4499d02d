"""Recipes: frozen dataclasses; YAML in, validated object out; one hash.

A recipe holds everything that decides what the noise is, less the images and the seed. What stands under `noise` is
the method's own, see `methods`. Radii and step sizes are exact fractions of the full range and are written `8/255`,
`0.0314` or `8px`.
"""

from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from rem_release.errors import InputError
from rem_release.methods import METHODS, Noise, Setting
from rem_release.methods.fields import Data, GeneratorSettings, strict
from rem_release.recipe_files import dotted_keys, hash_document, is_audit_recipe, read_document, validate
from rem_release.training.precision import Execution, Precision


@dataclass(frozen=True, kw_only=True, config=strict)
class Recipe:
    """Everything that decides what the noise is, less the images and the seed."""

    data: Data
    noise: Noise
    generator: GeneratorSettings | None = None
    """Of methods that train a source model."""
    precision: Precision = "auto"
    """Of the networks' numbers."""
    execution: Execution = "auto"
    """How source models are computed while noise is optimised."""

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values, radii written as `8/255`."""
        return _adapter.dump_python(self, mode="json")

    def sha256(self) -> str:
        """Hash of the resolved recipe."""
        return hash_document(self.to_dict())

    def set_for(self, classes: int, seed: int) -> Setting:
        """What its method is built for."""
        return Setting(self.data, self.generator, self.precision, self.execution, classes, seed)

    def check(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            InputError: see the method's own `check`; or it trains a source model, and the recipe does not say how.
        """
        if self.noise.trains and self.generator is None:
            raise InputError(f"noise.method {self.noise.method} trains a source model: generator is missing")
        self.noise.check()


_adapter: TypeAdapter[Recipe] = TypeAdapter(Recipe)


def list_keys(method: str) -> list[str]:
    """Every dotted key of a recipe of that method."""
    noise = METHODS.get(method, METHODS["rem"])
    sections = [("data", Data), ("noise", noise), ("generator", GeneratorSettings)]
    return [key for name, section in sections for key in dotted_keys(section, f"{name}.")] + ["precision", "execution"]


def load_recipe(name: str) -> Recipe:
    """Read a shipped recipe or a YAML file.

    Raises:
        InputError: unreadable, unknown keys (the nearest valid one is named), or invalid values (all at once).
    """
    return parse_recipe(read_document(name), name)


def parse_recipe(document: dict[str, Any], name: str) -> Recipe:
    """Validate plain values as a recipe.

    Raises:
        InputError: unknown keys or invalid values, all in one message.
    """
    if is_audit_recipe(document):
        raise InputError(f"recipe {name} is an audit recipe; give it to rem-release audit")
    noise = document.get("noise")
    method = noise.get("method") if isinstance(noise, dict) else None
    recipe = validate(_adapter, document, name, list_keys(method if isinstance(method, str) else ""), tuple(METHODS))
    recipe.check()
    return recipe
