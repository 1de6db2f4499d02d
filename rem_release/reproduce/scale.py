"""How much of the paper's work is done: `recipes/paper/scale-NAME.yaml`."""

from dataclasses import replace
from functools import cache
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from rem_release.errors import InputError
from rem_release.methods.fields import strict
from rem_release.plain_yaml import read_yaml
from rem_release.reproduce.paper import Dataset, Noise
from rem_release.resources import resource_folder

SCALES = ("smoke", "quick", "card", "full")
Count = Annotated[int, Field(ge=1)]
Settings = dict[str, str | int | float]


@dataclass(frozen=True, kw_only=True, config=strict)
class Scale:
    """What is taken in place of the paper's sizes."""

    name: str = ""
    words: str
    """what a reader of the figures must know first"""
    train_images: Count | None = None
    """a draw of so many, as many of each class; None: all"""
    test_images: Count | None = None
    rows: Literal["all", "claim"] = "all"
    """claim: only those that carry the paper's claim, where a table marks some"""
    columns: tuple[str, ...] = ()
    """names of the arms that are kept, such as rem-u16-a8; none: all"""
    networks: dict[str, str] = Field(default_factory=dict)
    """victims' network in the paper -> the one that is trained in its place"""
    noise: dict[Noise, Settings] = Field(default_factory=dict)
    """method -> what is changed in the recipe of the paper, by dotted keys; a step size may be a part of a radius:
    2/5*rho_u"""
    victim: Settings = Field(default_factory=dict)
    """what is changed in audit-paper, by dotted keys"""
    seeds: Count = 1
    claim_seeds: Count = 1
    """of the rows that carry the claim"""


@cache
def load_scale(name: str) -> Scale:
    """Read a shipped scale.

    Raises:
        InputError: there is no such scale.
    """
    if name not in SCALES:
        raise InputError(f"--scale {name}: choose {', '.join(SCALES[:-1])} or {SCALES[-1]}")
    text = (resource_folder("recipes") / "paper" / f"scale-{name}.yaml").read_text(encoding="utf-8")
    return parse_scale(read_yaml(text, f"scale {name}"), name)


def parse_scale(document: object, name: str) -> Scale:
    """Turn plain values into a scale.

    Raises:
        InputError: they are not one.
    """
    try:
        return replace(TypeAdapter(Scale).validate_python(document), name=name)
    except ValidationError as error:
        raise InputError(f"scale {name} is not valid: {error}") from None


def recipe_name(method: Noise, dataset: Dataset) -> str:
    """The recipe with the paper's settings (Table 5)."""
    return f"{method}-{dataset}"
