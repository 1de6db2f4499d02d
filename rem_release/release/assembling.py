"""The facts of a release, put together from what protect knows and what it measured."""

from pathlib import Path

import numpy as np

from rem_release.data.selection import Role
from rem_release.data.shards import released_features
from rem_release.data.sources.source import Source
from rem_release.recipe import Recipe
from rem_release.release.card import RENDERERS
from rem_release.release.documents import describe_files
from rem_release.release.facts import CostFacts, DataFacts, Facts, data_digest
from rem_release.release.left_out import count_left_out
from rem_release.release.schema import write_features
from rem_release.release.stated_protection import describe_protection
from rem_release.release.writing import Choice, Written
from rem_release.versions import find_versions

_MEASURERS = ("torch", "torchvision", "accelerate", "pyarrow", "pillow", "isal", "numpy")


def assemble_facts(
    staging: Path,
    source: Source,
    choice: Choice,
    written: Written,
    recipe: Recipe,
    recipe_name: str,
    cost: CostFacts,
    generator_reused: bool,
) -> Facts:
    """Everything that `protection.json` states, for the files that stand in the staging folder."""
    files = describe_files(staging)
    return Facts(
        protection=describe_protection(recipe, generator_reused),
        recipe_name=recipe_name,
        recipe=recipe.to_dict(),
        recipe_sha256=recipe.sha256(),
        versions=find_versions((*RENDERERS, *_MEASURERS)),
        cost=cost,
        data=describe_data(source, choice),
        imperceptibility=written.meter.facts(),
        files=files,
        digest=data_digest(files),
        readme_sha256="",
    )


def describe_data(source: Source, choice: Choice) -> DataFacts:
    """What is released, counted in rows."""
    working, positions = choice.working, choice.released()
    images = working.image_of_row[positions]
    roles = choice.roles[images]
    sizes = working.sizes.numpy()[images]
    areas = sizes[:, 0] * sizes[:, 1]
    smallest, largest = sizes[areas.argmin()], sizes[areas.argmax()]
    is_resized = (sizes != working.resolution).any(axis=1) & (roles == Role.PROTECTED)
    features = released_features(source)
    classes = source.class_ids[working.rows[positions]]
    return DataFacts(
        split=source.options.split,
        split_images=choice.count_released(source.splits),
        image_column=source.image_column,
        label_column=source.label_column,
        layout=source.layout,
        labels_from=source.labels_from,
        columns=list(features),
        features=write_features(features),
        images=len(positions),
        protected=int((roles == Role.PROTECTED).sum()),
        unprotected=int((roles == Role.UNPROTECTED).sum()),
        held_back=len(working.rows) - len(positions),
        skipped=len(working.bad),
        choices=working.choices,
        left_out=count_left_out(source, choice),
        duplicates=len(positions) - len(np.unique(images)),
        near_copies=choice.near_copies,
        resized_noise=int(is_resized.sum()),
        classes=source.classes,
        class_counts=np.bincount(classes, minlength=len(source.classes)).tolist(),
        max_side=choice.max_side,
        smallest=(int(smallest[1]), int(smallest[0])),
        largest=(int(largest[1]), int(largest[0])),
    )
