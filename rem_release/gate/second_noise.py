"""No image is published twice with different noise: two noises average away, and none can be called back."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from rem_release.data.copies.near_images import Grids, find_near
from rem_release.data.images.pixels import pixel_hash
from rem_release.data.in_order import map_in_order
from rem_release.gate.published import DELETE, DataFile, Published
from rem_release.hub.client import Hub
from rem_release.hub.repository import download
from rem_release.release.facts import Facts
from rem_release.verification.report import Check, Faults
from rem_release.verification.shard_images import ShardImages

_ADVICE = (
    "two versions of an image average the noise away. Publish these images as they are there, or leave them out; to "
    f"publish this version, {DELETE}"
)
Progress = Callable[[int, int], None]


def check_second_noise(
    hub: Hub, published: Published, release: Path, facts: Facts, folder: Path, progress: Progress
) -> Check:
    """Whether an image of the release is published already in another form: with other noise, or clean.

    An image that is out counts if it is not in the release pixel by pixel and lies, on the working grid, within both
    budgets of a released one. Images that were cropped or turned in between are not seen.

    Args:
        hub: the repository.
        published: what its history brought out.
        release: the folder.
        facts: of it.
        folder: for the files that are fetched.
        progress: told (done, total) files.

    Raises:
        HubError: see `Hub.ask`.
        VerificationError: a data file of the Hub is damaged.
    """
    known = {file.sha256 for file in facts.files.values()}
    earlier = [file for sha256, file in sorted(published.data.items()) if sha256 not in known]
    if not earlier:
        return Check("second noise", True, f"no other version of these images is published in {hub.repo_id}")
    ours = _open(release, facts)
    hashes = set(_hash(ours))
    search = _Search(ours, facts)
    faults, count = Faults(), 0
    for number, file in enumerate(earlier):
        theirs = ShardImages([download(hub, file.name, file.commit, folder)], *file.columns)
        others = [row for row, found in enumerate(_hash(theirs)) if found not in hashes]
        count += len(others)
        for fault in search.find(theirs, others, file):
            faults.add(fault)
        progress(number + 1, len(earlier))
    sound = f"of the earlier versions' images {count} are not in this one, and none of them shows one of its images"
    check = faults.conclude("second noise", sound)
    return check if check.passed else Check(check.name, False, f"{check.detail}; {_ADVICE}")


def _hash(images: ShardImages) -> Iterator[str]:
    """The pixel hash of each image, in order."""
    return map_in_order(lambda row: pixel_hash(images.pixels(row)), range(len(images)))


def _open(release: Path, facts: Facts) -> ShardImages:
    """Every image of the release, those of a clean split last."""
    names = sorted((name for name, file in facts.files.items() if file.rows is not None), key=_clean_last)
    return ShardImages([release / name for name in names], facts.data.image_column, facts.data.label_column)


def _clean_last(name: str) -> tuple[bool, str]:
    return not name.startswith("data/"), name


class _Search:
    """Looks for other versions of the released images."""

    def __init__(self, ours: ShardImages, facts: Facts) -> None:
        self._ours = ours
        self._facts = facts
        self._grids: Grids | None = None

    def find(self, theirs: ShardImages, rows: Sequence[int], file: DataFile) -> list[str]:
        """One sentence for each of these rows of an earlier file that shows an image of the release."""
        if not rows:
            return []
        side = self._facts.protection.resolution
        if self._grids is None:
            self._grids = Grids(self._ours.pixels, np.arange(self._facts.data.images), side)
        levels = file.levels + self._facts.protection.rho_u_levels
        found = find_near(Grids(theirs.pixels, np.array(rows), side), self._grids, levels, first_only=True)
        how = "with other noise" if file.levels else "clean"
        return [
            f"row {near.other} is published {how} as row {near.one} of {file.name} at {file.commit[:12]}, at most "
            f"{near.distance} levels away"
            for near in found
        ]
