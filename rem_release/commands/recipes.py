"""`rem-release recipes`: list, show and check."""

from rem_release.console import Console
from rem_release.recipe import load_recipe
from rem_release.recipe_files import hash_document, is_audit_recipe, read_document, recipe_names, recipe_text
from rem_release.verdict.recipe import load_audit_recipe


def list_recipes(console: Console) -> None:
    """Name the shipped recipes, each with the first line of its head."""
    heads = {name: recipe_text(name).splitlines()[0].lstrip("# ") for name in recipe_names()}
    width = max(len(name) for name in heads)
    console.result({"recipes": heads}, [f"{name:<{width}}  {head}" for name, head in heads.items()])


def show_recipe(name: str, console: Console) -> None:
    """Print a recipe as it stands.

    Raises:
        InputError: no such recipe.
    """
    text = recipe_text(name)
    console.result({"name": name, "yaml": text}, text.rstrip("\n").split("\n"))


def check_recipe(name: str, console: Console) -> None:
    """Validate a recipe.

    Raises:
        InputError: it is not valid; every reason is given.
    """
    is_audit = is_audit_recipe(read_document(name))
    resolved = (load_audit_recipe(name) if is_audit else load_recipe(name)).to_dict()
    sha256 = hash_document(resolved)
    document = {"name": name, "kind": "audit" if is_audit else "protect", "sha256": sha256, "recipe": resolved}
    console.result(document, [f"{name} is valid; sha256 {sha256}"])
