"""The fields of a recipe that methods share: the working grid, the transformations, the training of a source model.

Nothing here imports torch: the command line reads recipes before anything else.
"""

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.dataclasses import dataclass

from rem_release.radius import format_radius, parse_radius

Radius = Annotated[
    Fraction,
    BeforeValidator(parse_radius),
    PlainSerializer(format_radius, return_type=str),
    WithJsonSchema({"type": "string"}),
]
"""A radius or a step size."""
Transform = Literal["none", "cifar", "imagenet", "photograph"]
strict = ConfigDict(extra="forbid", validate_default=True)


@dataclass(frozen=True, kw_only=True, config=strict)
class Data:
    """How images are brought to the network."""

    resolution: Annotated[int, Field(ge=2, le=1024)]
    """Side of the square working grid, in pixels. Images of other sizes are released at their own size."""
    clusters: Annotated[int, Field(ge=2)] = 10
    """Number of clusters that `--label-from clusters` makes."""


@dataclass(frozen=True, kw_only=True, config=strict)
class EotSettings:
    """Expectation over transformation (paper 4.3, Appendix A.2)."""

    transform: Transform
    """cifar: flip, pad 4, crop. imagenet: resized crop, flip. photograph: that of half of the area or more,
    and a random loss of resolution. none: the identity."""
    samples: Annotated[int, Field(ge=1)]
    """J, draws of the transformation for each step of the defensive noise."""


@dataclass(frozen=True, kw_only=True, config=strict)
class GeneratorSettings:
    """Training of the source model f' (paper Appendix A.3.1)."""

    model: Literal["resnet18", "small_resnet"]
    """The source model."""
    steps: Annotated[int, Field(ge=0)]
    """M, training steps."""
    batch_size: Annotated[int, Field(ge=2)]
    """Images a step, over all processes; BatchNorm needs two."""
    learning_rate: Annotated[float, Field(gt=0, le=3e38)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0, le=3e38)]
    decay_every: Annotated[int, Field(ge=1)]
    """Steps after which the learning rate is multiplied by `decay`."""
    decay: Annotated[float, Field(gt=0, le=1)]
