"""A method by its recipe."""

from accelerate import Accelerator

from rem_release.methods.base import Method
from rem_release.methods.min_max import MinMaxNoise
from rem_release.methods.random_signs import RandomSigns
from rem_release.radius import whole_levels
from rem_release.recipe import Recipe


def build_method(recipe: Recipe, classes: int, seed: int, accelerator: Accelerator) -> Method:
    """The method that `recipe.noise.method` names, for so many classes."""
    if recipe.noise.method == "random":
        return RandomSigns(whole_levels(recipe.noise.rho_u), seed)
    return MinMaxNoise(recipe, classes, seed, accelerator)
