"""Where `cards/` and `recipes/` are: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path
from typing import Literal


def resource_folder(name: Literal["cards", "recipes"]) -> Path:
    """The folder of the shipped card templates or recipes."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
