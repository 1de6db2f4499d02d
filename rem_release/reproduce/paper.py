"""What the paper's tables and figures are made of, as `recipes/paper/` states it: cells, and the figures printed there.

A cell is an arm, noise on the training images, and a victim that is trained on them and tested on clean images. What a
table, a column and a row say of a cell is put together; the last word is the row's.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from rem_release.errors import InputError
from rem_release.methods.fields import Radius, strict
from rem_release.plain_text import show
from rem_release.plain_yaml import read_yaml
from rem_release.radius import format_radius
from rem_release.resources import resource_folder
from rem_release.threats.radii import read_fraction

Dataset = Literal["cifar10", "cifar100", "imagenet100"]
Noise = Literal["clean", "em", "tap", "ntga", "rem"]
_FILTERS = {"mean": "mean", "median": "median", "gaussian": "gaussian(sigma=1)"}
_NUMBERED = re.compile(r"(table|figure)(\d+)")
Share = Annotated[float, Field(gt=0, lt=1)]


def _read_size(value: object) -> Fraction:
    try:
        size = read_fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError("write a radius as 0, 4/255 or 1000/255") from None
    if size < 0:
        raise ValueError("a radius is 0 or more")
    return size


Size = Annotated[Fraction, BeforeValidator(_read_size)]
"""A radius of adversarial training: above 1 is fine in L1."""


@checked(frozen=True, kw_only=True, config=strict)
class Spec:
    """What is said of a cell; None: nothing."""

    method: Noise | None = None
    rho_u: Radius | None = None
    rho_a: Radius | None = None
    """ρ_a of REM"""
    eot: bool | None = None
    """whether REM's noise is made with the transformations of Appendix A.2"""
    architecture: str | None = None
    """of the victim"""
    radius: Size | None = None
    """of the adversarial training; 0: ordinary training"""
    norm: Literal["linf", "l2", "l1"] | None = None
    filter: Literal["mean", "median", "gaussian"] | None = None
    """of the training images, 3 × 3"""
    protected: Share | None = None
    """share of the training images that carries noise"""
    part: Literal["mixed", "clean"] | None = None
    """with `protected`: all training images, or those without noise alone"""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Noise on the training images."""

    method: Noise
    rho_u: Fraction
    rho_a: Fraction
    eot: bool

    @property
    def name(self) -> str:
        """Short, and good as the name of a folder: rem-u8-a4."""
        if self.method == "clean":
            return "clean"
        radius = f"-a{_levels(self.rho_a)}" if self.method == "rem" else ""
        return f"{self.method}-u{_levels(self.rho_u)}{radius}{'' if self.eot or self.method != 'rem' else '-no-eot'}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An arm and the victim that is trained on it."""

    arm: Arm
    architecture: str
    threat: str
    """as audit recipes write it"""
    part: Literal["mixed", "clean"]


@checked(frozen=True, kw_only=True, config=strict)
class Column(Spec):
    """A column of figures."""

    heads: tuple[str, ...]
    claim: bool = True
    """whether its figures in the rows of the claim get more seeds"""


@checked(frozen=True, kw_only=True, config=strict)
class Row(Spec):
    """A row of figures of one data set."""

    heads: tuple[str, ...]
    claim: bool = False
    """whether it carries the paper's claim: it gets more seeds, and stays where a scale has room for few rows"""
    paper: tuple[float | None, ...]
    """the figures printed there, one for each column; None where there is none"""


@checked(frozen=True, kw_only=True, config=strict)
class Table:
    """A table of test accuracies in percent, or, of the kind `times`, of hours."""

    kind: Literal["table", "times"]
    title: str
    says: tuple[str, ...] = ()
    """where the paper contradicts itself, and what else its reader must know"""
    row_heads: tuple[str, ...]
    cell: Spec = Spec()
    columns: tuple[Column, ...]
    rows: dict[Dataset, tuple[Row, ...]]

    def cells(self, row: Row) -> list[Cell | None]:
        """The cells of a row; None where the paper has no figure."""
        return [
            None if figure is None else _build_cell(self.cell, column, row)
            for column, figure in zip(self.columns, row.paper, strict=True)
        ]


@checked(frozen=True, kw_only=True, config=strict)
class Line(Spec):
    """One curve or picture of a figure."""

    name: str


@checked(frozen=True, kw_only=True, config=strict)
class Figure:
    """A figure: lines (test accuracy over the radius of the adversarial training, drawn from the cells of a table),
    curves (what is seen while victims train), or pictures (noise, and images with it)."""

    kind: Literal["lines", "curves", "pictures"]
    title: str
    says: tuple[str, ...] = ()
    dataset: Dataset
    cell: Spec = Spec()
    table: str | None = None
    """whose figures the lines are"""
    values: tuple[Literal["loss", "train_accuracy", "test_accuracy"], ...] = ()
    """what curves show, one panel each"""
    lines: tuple[Line, ...]

    def cells(self) -> list[Cell]:
        """The cells of curves and pictures, one for each line."""
        return [_build_cell(self.cell, line) for line in self.lines]


def names() -> list[str]:
    """What can be reproduced: table1, ..., figure8."""
    found = [path.stem for path in (resource_folder("recipes") / "paper").glob("*.yaml")]
    kinds = [(match[1] != "table", int(match[2]), name) for name in found if (match := _NUMBERED.fullmatch(name))]
    return [name for _, _, name in sorted(kinds)]


@cache
def load(name: str) -> Table | Figure:
    """Read what the paper states.

    Raises:
        InputError: there is no such table or figure.
    """
    if name not in names():
        raise InputError(f"reproduce {name}: choose {', '.join(names())}")
    text = (resource_folder("recipes") / "paper" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse(read_yaml(text, name), name)


def parse(document: Any, name: str) -> Table | Figure:
    """Turn plain values into a table or a figure.

    Raises:
        InputError: they are not one.
    """
    is_table = isinstance(document, dict) and document.get("kind") in ("table", "times")
    adapter: TypeAdapter[Table | Figure] = TypeAdapter(Table if is_table else Figure)
    try:
        read = adapter.validate_python(document)
    except ValidationError as error:
        item = error.errors()[0]
        key, reason = ".".join(str(part) for part in item["loc"]), item["msg"].removeprefix("Value error, ")
        raise InputError(f"{name}: {key}: {reason} (got {show(repr(item['input']), 80)})") from None
    if isinstance(read, Table):
        for row in (row for rows in read.rows.values() for row in rows):
            if len(row.paper) != len(read.columns):
                raise InputError(
                    f"{name}: row {row.heads} has {len(row.paper)} figures for {len(read.columns)} columns"
                )
    return read


def _build_cell(*specs: Spec) -> Cell:
    said: dict[str, Any] = {}
    for spec in specs:
        said |= {key: value for key in Spec.__dataclass_fields__ if (value := getattr(spec, key)) is not None}
    method = said.get("method", "clean")
    is_clean, is_rem = method == "clean", method == "rem"
    arm = Arm(
        method=method,
        rho_u=Fraction(0) if is_clean else said["rho_u"],
        rho_a=said.get("rho_a", Fraction(0)) if is_rem else Fraction(0),
        eot=said.get("eot", True) if is_rem else True,
    )
    cell = Cell(arm=arm, architecture=said.get("architecture", "resnet18"), threat=_threat(said), part="mixed")
    return replace(cell, part="clean") if said.get("part") == "clean" else cell


def _threat(said: dict[str, Any]) -> str:
    radius = said.get("radius", Fraction(0))
    parts = [_FILTERS[said["filter"]]] if "filter" in said else []
    if "protected" in said:
        parts.append(f"mixed(protected={said['protected']})")
    if radius:
        norm = said.get("norm", "linf")
        parts.append(f"pgd(radius={format_radius(radius)}{'' if norm == 'linf' else f',norm={norm}'})")
    return "+".join(parts) or "standard"


def _levels(radius: Fraction) -> str:
    return format_radius(radius).removesuffix("/255").replace("/", "_")
