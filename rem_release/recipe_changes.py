"""What the command line changes in a recipe: method first, then radii, then single keys."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from pydantic import ValidationError

from rem_release import recipe_files
from rem_release.errors import InputError
from rem_release.methods import METHODS, MethodName
from rem_release.plain_text import show
from rem_release.radius import parse_radius
from rem_release.recipe import Recipe, list_keys, load_recipe, parse_recipe

_MAX_CHARACTERS = 40


def load_changed(
    name: str,
    method: MethodName | None = None,
    rho_u: str | None = None,
    rho_a: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Recipe:
    """Read a recipe and change it.

    Args:
        name: of a shipped recipe, or a YAML file.
        method: see `with_method`.
        rho_u: a radius as people write it, see `with_radii`.
        rho_a: likewise.
        settings: dotted key to YAML value, see `with_settings`.

    Raises:
        InputError: the recipe or a change of it is not valid.
    """
    recipe = load_recipe(name)
    if method:
        recipe = with_method(recipe, method)
    recipe = with_radii(recipe, read_radius("--rho-u", rho_u), read_radius("--rho-a", rho_a))
    if settings:
        return with_settings(recipe, settings, name)
    recipe.check()
    return recipe


def read_radius(option: str, value: str | None) -> Fraction | None:
    """The radius that an option of the command line gives; None where it is left out.

    Raises:
        InputError: it is none.
    """
    if value is not None and len(value) > _MAX_CHARACTERS:
        raise InputError(f"{option} {show(value, _MAX_CHARACTERS)}: write a radius in few digits, such as 8/255")
    try:
        return None if value is None else parse_radius(value)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None


def with_method(recipe: Recipe, method: MethodName) -> Recipe:
    """The same recipe for another method, with every setting that both have.

    Raises:
        InputError: the recipe lacks what the method needs.
    """
    return recipe if recipe.noise.method == method else replace(recipe, noise=METHODS[method].adopt(recipe.noise))


def with_radii(recipe: Recipe, rho_u: Fraction | None, rho_a: Fraction | None) -> Recipe:
    """The same recipe at other radii. Step sizes follow in proportion, as Table 5 states them (α = ρ/5).

    Raises:
        InputError: there is no adversary that ρ_a could be for, or a step size becomes an endless fraction.
    """
    try:
        return replace(recipe, noise=recipe.noise.with_radii(rho_u, rho_a))
    except ValidationError as error:
        raise InputError(f"--rho-u or --rho-a: {error.errors()[0]['msg']}; write fewer digits") from None


def with_settings(recipe: Recipe, settings: Mapping[str, str], name: str) -> Recipe:
    """The same recipe with other values of single keys, such as `noise.eot.samples`.

    Raises:
        InputError: an unknown key (the nearest valid one is named), or values that are not valid (all at once).
    """
    document = recipe_files.with_settings(recipe.to_dict(), settings, list_keys(recipe.noise.method))
    return parse_recipe(document, name)
