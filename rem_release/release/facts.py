"""The facts of a release: the schema of `protection.json`.

Nothing here is secret and nothing here names a machine, a path or a time: the file is published. What undoes the
protection (noise, generator, which rows are protected) stays in `private/`.
"""

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from rem_release.data.sources.recognised import DecodingChoice, Layout, LeftOut
from rem_release.methods import MethodName
from rem_release.methods.fields import Transform
from rem_release.training.precision import Precision

FORMAT: Literal["rem-release/2"] = "rem-release/2"
"""The format that this version writes. `rem-release/1`, of version 0.2.0, is read by `verify` but not published."""


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EotFacts(_Facts):
    """The expectation over transformation that the noise was trained under (paper 4.3)."""

    transform: Transform
    samples: int = Field(ge=1, description="J, draws a step")


class ProtectionFacts(_Facts):
    """How the noise was made. Radii are exact fractions written as in the recipe, such as `8/255`."""

    method: MethodName
    rho_u: str
    rho_u_levels: int = Field(ge=1, le=255, description="floor(255·ρ_u), the budget that verify enforces")
    rho_a: str
    steps: int = Field(ge=0, description="K_u")
    step_size: str = Field(description="α_u")
    adversary_steps: int = Field(ge=0, description="K_a")
    adversary_step_size: str = Field(description="α_a")
    eot: EotFacts
    source_model: str | tuple[str, ...] | None = Field(
        description="the network that trained the noise, or several; None for noise without any"
    )
    generator_steps: int = Field(ge=0, description="M, training steps of the source model")
    generator_reused: bool = Field(description="the generator was trained in an earlier run")
    resolution: int = Field(ge=1, description="side of the square working grid on which noise is optimised")
    precision: Precision | None = Field(
        default=None,
        description="in which numbers networks were computed; None without any, or where not stated",
    )
    settings: dict[str, str | int | float | bool] = Field(
        default={}, description="what the method has besides, as its file describes it"
    )

    @property
    def source_models(self) -> tuple[str, ...]:
        """The networks that trained the noise. In audits `source` stands for the first."""
        model = self.source_model
        return () if model is None else (model,) if isinstance(model, str) else model


class CostFacts(_Facts):
    """Cost in sample gradient evaluations: one input gradient of the source model for one image."""

    training_gradients: int = Field(ge=0)
    noise_gradients: int = Field(ge=0)


class DataFacts(_Facts):
    """What is in the release."""

    split: str = Field(description="its name; of several the names, sorted and joined by +")
    split_images: dict[str, PositiveInt] = Field(description="released rows of each split")
    image_column: str
    label_column: str
    layout: Layout | None = Field(default=None, description="what the source was recognised as")
    labels_from: Literal["folders", "column", "albums", "clusters"]
    columns: list[str] = Field(description="all columns of the release, in order")
    features: str = Field(description="Hugging Face features, as JSON text: the order of its keys matters")
    images: int = Field(ge=1)
    protected: int = Field(ge=0, description="rows that carry noise")
    unprotected: int = Field(ge=0, description="rows released as they are, by the owner's explicit choice")
    held_back: int = Field(ge=0, description="rows of the source that are not released: reserved or not protected")
    skipped: int = Field(ge=0, description="files of the source that could not be read, left out with --skip-bad")
    choices: dict[DecodingChoice, PositiveInt] = Field(
        default={}, description="of how many rows of the source the decoding was a choice, by what was one"
    )
    left_out: dict[LeftOut, PositiveInt] = Field(
        default={},
        description="how much of the source is not released, by why: rows, images, other files, splits; empty where "
        "nothing is, or where not stated",
    )
    duplicates: int = Field(ge=0, description="released rows whose image also stands in an earlier row")
    near_copies: int | None = Field(
        default=None,
        ge=0,
        description="released rows whose image is a near copy of, but not equal to, one that is released in an "
        "earlier row; None where nobody looked",
    )
    resized_noise: int = Field(ge=0, description="protected rows that are not of the working resolution")
    classes: list[str]
    class_counts: list[int] = Field(description="released rows of each class, in the order of `classes`")
    max_side: int | None = Field(description="longer side that images were shrunk to, if they were")
    smallest: tuple[int, int] = Field(description="(width, height) of the image with the fewest pixels")
    largest: tuple[int, int] = Field(description="(width, height) of the image with the most pixels")


class ImperceptibilityFacts(_Facts):
    """Change against the clean originals, over protected rows. Levels are of 255. SSIM skips images below 3 pixels."""

    max_change: int = Field(ge=0)
    mean_change: float = Field(ge=0, description="mean over images of the mean absolute change")
    psnr_mean: float
    psnr_min: float
    ssim_mean: float | None
    ssim_min: float | None


class OwnerFacts(_Facts):
    """What the owner chose to put on the card; None where nothing was chosen."""

    pretty_name: str | None = None
    about: str | None = Field(default=None, description="what the images show and where they come from")
    intended_use: str | None = None
    license: str | None = Field(default=None, description="identifier of the Hub's list, such as cc-by-4.0 or other")
    license_name: str | None = Field(default=None, description="name of the licence where `license` is other")
    license_link: str | None = None
    contact: str | None = Field(default=None, description="whom to write to: an address of mail or of a page")
    gated_heading: str | None = Field(default=None, description="head of the form that gated access shows")
    gated_prompt: str | None = Field(default=None, description="text of that form")
    gated_button: str | None = None


class CleanSplitFacts(_Facts):
    """A split that is released without noise, by the owner's explicit choice; its files lie in `clean/`."""

    split: str
    images: int = Field(ge=1)
    class_counts: list[int] = Field(description="rows of each class, in the order of `data.classes`")


class FileFacts(_Facts):
    """One file of the release."""

    bytes: int = Field(ge=1)
    sha256: str
    rows: int | None = Field(default=None, description="rows of a data file; None for other files")


class Facts(_Facts):
    """The whole of `protection.json`, less the hash that it carries of itself."""

    format: Literal["rem-release/1", "rem-release/2"] = FORMAT
    protection: ProtectionFacts
    recipe_name: str
    recipe: dict[str, Any] = Field(description="the resolved recipe, every key")
    recipe_sha256: str
    versions: dict[str, str] = Field(description="package → version, rem-release first")
    cost: CostFacts
    data: DataFacts
    owner: OwnerFacts = OwnerFacts()
    clean_split: CleanSplitFacts | None = Field(
        default=None, description="None: no image of another split is published"
    )
    kept_columns: list[str] = Field(
        default=[], description="columns that the owner let through the gate by name (push --keep-column)"
    )
    imperceptibility: ImperceptibilityFacts | None = Field(description="None when nothing is protected")
    files: dict[str, FileFacts] = Field(description="every file but README.md, protection.json and audit.json")
    digest: str = Field(description="sha256 over the data files' names and hashes, see `data_digest`")
    readme_sha256: str

    @property
    def is_current(self) -> bool:
        """Whether this version makes releases of this format."""
        return self.format == FORMAT


def data_digest(files: dict[str, FileFacts]) -> str:
    """One sha256 over the data files: of lines `sha256  name`, sorted; `sha256sum data/* | sha256sum` gives it too."""
    lines = [f"{facts.sha256}  {name}\n" for name, facts in sorted(files.items()) if name.startswith("data/")]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
