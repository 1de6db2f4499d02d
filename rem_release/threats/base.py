"""What a part of a threat may do: one class of hooks, none of which does anything unless a threat's file says so."""

from __future__ import annotations

from dataclasses import fields, replace
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from rem_release.threats.radii import OF_RHO_A, resolve

if TYPE_CHECKING:
    import numpy as np
    from accelerate import Accelerator
    from torch import Tensor, nn

    from rem_release.threats.adversary import Adversary
    from rem_release.threats.images import Batch, Pipeline, TrainingImages, Transform
    from rem_release.training.loop import Schedule

strict = ConfigDict(extra="forbid")
"""of the parameters of every threat"""
Where = Literal["train", "both"]
"""on the training images only, or on the test images too"""


GAPS = {
    "purification": "Diffusion purification of the images (AVATAR and its kin): published tests recover most of the "
    "accuracy with it.",
    "self-supervision": "Self-supervised pretraining on the images, and other training without labels.",
}
"""What certificates say is not covered, until a threat covers it."""


class Stage(IntEnum):
    """Where a part acts. Parts stand in a name, and act, in this order; those of one stage by name."""

    FILTER = 0
    """on each image at its own size; several keep the order in which they are written, which matters"""
    TRAINING_SET = 1
    """on every image, by what was learnt from all training images"""
    VIEWS = 2
    """on how images are brought to the network"""
    IMAGE = 3
    """on each image of a batch; there may be several"""
    BATCH = 4
    """on a whole batch, or on how it is drawn"""
    ROWS = 5
    """on which rows there are"""
    NETWORK = 6
    """on the network"""
    INITIAL_WEIGHTS = 7
    SCHEDULE = 8
    LOSS = 9
    ADVERSARY = 10


@dataclass(frozen=True, config=strict)
class ThreatPart:
    """A named part of a threat with its parameters, which are the fields of its class.

    Attributes:
        name: in recipes; that of the file. A class whose own name begins with `_` is no threat, but what the one of its
            file is made of.
        stage: where it acts. But for `FILTER` and `IMAGE`, a threat has one part of each stage.
        excludes: names of others that it does not go together with.
        unsaid: parameters that the canonical name leaves out where they have their default.
        network: of `models`, in whose place it puts its own; None leaves that of the recipe.
        needs_originals: the attacker has the originals of some rows, see `own_originals`. What those alone teach is
            then the floor of the row: a victim is trained on them. All-clean images are learnt without such a part.
        mixes_originals: they stand in the training set in the place of what was released.
        needs_augmentation: it does nothing with a recipe that does not augment.
        reads_draws: in each step it reads numbers of the draws on the host, so that a GPU cannot record its steps.
        since: the version of rem-release that ships it first. Certificates of earlier ones do not list it as untried.
        covers: of `GAPS`, those that a valid row of it closes.
    """

    name: ClassVar[str] = ""
    stage: ClassVar[Stage]
    excludes: ClassVar[frozenset[str]] = frozenset()
    unsaid: ClassVar[frozenset[str]] = frozenset({"on"})
    network: ClassVar[str | None] = None
    needs_originals: ClassVar[bool] = False
    mixes_originals: ClassVar[bool] = False
    needs_augmentation: ClassVar[bool] = False
    reads_draws: ClassVar[bool] = False
    since: ClassVar[str] = "0"
    covers: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        file = cls.__module__.rpartition(".")[2]
        cls.name = f"{file}.{cls.__name__}" if cls.__name__.startswith("_") else file
        if fault := _find_fault(cls):
            raise TypeError(f"{cls.__module__}.{cls.__name__}: {fault}")

    # what it is

    def words(self) -> str:
        """In plain words, for card and report."""
        raise NotImplementedError

    def made_of(self) -> tuple[ThreatPart, ...]:
        """The parts that act in its place; none where it acts itself."""
        return ()

    def at(self, rho_a: Fraction) -> Self:
        """The same with `rho_a` in its radii replaced by its value.

        Raises:
            ValueError: a radius comes out too large.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        texts = {name: value for name, value in values.items() if isinstance(value, str) and OF_RHO_A.fullmatch(value)}
        return replace(self, **{name: resolve(text, rho_a) for name, text in texts.items()})

    @property
    def on_tests(self) -> bool:
        """Whether it acts on the test images too."""
        return getattr(self, "on", "train") == "both"

    def ball(self) -> tuple[str, Fraction] | None:
        """Norm and radius of adversarial training; None for anything else."""
        return None

    # what it costs

    @property
    def draws(self) -> int:
        """Draws of the augmentation that a step takes of each image."""
        return 1

    def extra_passes(self, adversary: Adversary) -> float:
        """Forward and backward passes that a step spends on each draw beside the one that trains."""
        return 0

    def passes_before(self, images: int, adversary: Adversary) -> float:
        """Forward and backward passes of one image that it spends before training, as in `fit` or `initial_weights`.

        Args:
            images: how many the victim learns from.
            adversary: steps and step size of the recipe.
        """
        return 0

    def pixels(self) -> float:
        """By what the number of an image's pixels is multiplied."""
        return 1

    # what it does to images and rows

    def filter_image(self, image: np.ndarray) -> np.ndarray:
        """An image, uint8 [H, W, 3], at its own size, of any size from 1 × 1 up; thread-safe. Stage `FILTER`."""
        return image

    def pipeline(self, resolution: int) -> Pipeline | None:
        """How images are brought to the network in place of the working grid of R, and of the augmentation."""
        return None

    def own_originals(self, labels: np.ndarray) -> np.ndarray:
        """Of which rows the attacker has the originals: bool [N] for labels int64 [N]. See `needs_originals`."""
        raise NotImplementedError

    # what it does before training

    def fit(self, images: TrainingImages, originals: TrainingImages | None) -> Transform | None:
        """Learn from all training images what is done to each batch of them, and to the test images `on=both`.

        Args:
            images: what the victim learns from, on the device.
            originals: those that the attacker has, see `needs_originals`; None without.
        """
        return None

    def initial_weights(self, accelerator: Accelerator, model: nn.Module, images: TrainingImages, seed: int) -> None:
        """Change the fresh network, on the device and in the victim's precision, as by pretraining without labels.

        The same on every process.
        """

    def schedule(self, schedule: Schedule) -> Schedule:
        """Other settings of the optimiser; the number of steps stays, for answers are taken at those of the recipe."""
        return schedule

    # what it does in each step

    def augment(self, model: nn.Module, batch: Batch) -> Batch:
        """Change images, and targets with them."""
        return batch

    def perturb(self, model: nn.Module, batch: Batch, adversary: Adversary) -> tuple[Tensor, Tensor]:
        """Where the adversary starts and where it ends, to be added to the images: [N, 3, R, R] each. Of the stage
        `ADVERSARY`, which alone is asked.

        Args:
            model: frozen.
            batch: augmented.
            adversary: steps and step size of the recipe.
        """
        raise NotImplementedError

    def attack(self, model: nn.Module, batch: Batch, adversary: Adversary) -> tuple[Tensor, Tensor]:
        """What tells at the end whether gradients are masked: start and end as in `perturb`, but of an adversary that
        raises the cross-entropy as far as it can. For those that do something else."""
        return self.perturb(model, batch, adversary)

    def loss(self, wrapped: nn.Module, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """Mean loss, and logits [N, C] of what was learnt; None for the cross-entropy.

        Args:
            wrapped: the network as it is trained; call it once.
            batch: augmented and attacked.
        """
        return None


_STAGE_OF = {
    **{"filter_image": Stage.FILTER, "pipeline": Stage.VIEWS},
    **{"perturb": Stage.ADVERSARY, "attack": Stage.ADVERSARY},
}
"""Hooks that are called at one stage alone."""
_OF_ACTING = (
    *("network", "needs_originals", "mixes_originals", "needs_augmentation", "reads_draws", "excludes"),
    *("ball", "draws", "extra_passes", "passes_before", "pixels", *_STAGE_OF, "own_originals"),
    *("fit", "initial_weights", "schedule", "augment", "loss"),
)
"""What only parts that act are asked for."""


def _find_fault(cls: type[ThreatPart]) -> str | None:
    """Why something that a class says would never be asked for, or is asked for and not said."""

    def says(name: str) -> bool:
        return getattr(cls, name) is not getattr(ThreatPart, name)

    idle = [name for name in _OF_ACTING if says(name)]
    if says("made_of") and idle:
        return f"made_of puts others in its place, so its own {', '.join(idle)} would never be used; move them there"
    for name, stage in _STAGE_OF.items():
        if says(name) and getattr(cls, "stage", stage) != stage:
            return (
                f"{name} is called at stage {stage.name} alone, and its stage is {Stage(cls.stage).name}; put it into "
                "a class of its own, such as _First(ThreatPart), and name that in made_of"
            )
    if unknown := sorted(cls.covers - GAPS.keys()):
        return f"covers has {', '.join(unknown)}, which is none of {', '.join(GAPS)}"
    if cls.needs_originals != says("own_originals"):
        return "needs_originals = True and own_originals go together; it has one of them"
    if cls.mixes_originals and not cls.needs_originals:
        return "mixes_originals takes needs_originals = True and own_originals"
    return None


def where(on: Where) -> str:
    """On which images, behind the words of a threat."""
    return " on training and test images" if on == "both" else " on training images"
