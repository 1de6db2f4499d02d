"""`rem-release recipes`: list, show and check."""

from rem_release.console import Console
from rem_release.recipe import load_recipe, recipe_names, recipe_text


def list_recipes(console: Console) -> None:
    """Name the shipped recipes, each with the first line of its head."""
    heads = {name: recipe_text(name).splitlines()[0].lstrip("# ") for name in recipe_names()}
    width = max(len(name) for name in heads)
    console.result({"recipes": heads}, "\n".join(f"{name:<{width}}  {head}" for name, head in heads.items()))


def show_recipe(name: str, console: Console) -> None:
    """Print a recipe as it stands.

    Raises:
        InputError: no such recipe.
    """
    text = recipe_text(name)
    console.result({"name": name, "yaml": text}, text.rstrip("\n"))


def check_recipe(name: str, console: Console) -> None:
    """Validate a recipe.

    Raises:
        InputError: it is not valid; every reason is given.
    """
    recipe = load_recipe(name)
    document = {"name": name, "sha256": recipe.sha256(), "recipe": recipe.to_dict()}
    console.result(document, f"{name} is valid; sha256 {recipe.sha256()}")
