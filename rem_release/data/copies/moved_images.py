"""The search for copies whose pixels lie elsewhere: with a border, cropped, shifted or mirrored.

Both images are cut to the part that they would share, for each of some eighty ways in which one can be the other
moved by up to an eighth of its side, and are the same if these parts look the same (`find_alike`), in their detail too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rem_release.data.copies.near_images import Grids, NearPair

_FARTHEST = 8
"""part of the side that a copy may have moved"""
_BLOCKS, _FEW_BLOCKS = 8, 4
_ALIKE = 5.0
"""levels, root mean square, that the means of blocks may differ"""
_DETAIL = 0.5
"""correlation of what is left when these means are taken away"""
_FLAT = 1.5
"""levels, root mean square, of which an image has less where nothing is left"""
_PIECE = 2048

Edges = tuple[float, float, float, float]
"""pixels of the coarse grid to cut at the left, right, top and bottom"""


@dataclass(frozen=True)
class _Move:
    """What is to be cut from an image, and from the one that it may be a copy of."""

    one: Edges
    other: Edges
    is_mirrored: bool = False


def find_moved(ones: Grids, others: Grids) -> Iterator[NearPair]:
    """Find copies that were moved.

    Args:
        ones: the images that are asked about.
        others: those that they may be copies of, on the same working grid.

    Yields:
        The first of `others` that is found for each of `ones` that has one; the distance is the root mean square of the
        means of 8 x 8 blocks in levels, rounded up.
    """
    left = torch.arange(len(ones))
    for move in _list_moves(ones.side):
        if not len(left) or not len(others):
            return
        asked = torch.cat(
            [_average(ones.images(piece), move.one, _FEW_BLOCKS, move.is_mirrored) for piece in _cut_up(left)]
        )
        found: dict[int, NearPair] = {}
        for there in _cut_up(torch.arange(len(others))):
            means = _average(others.images(there), move.other, _FEW_BLOCKS)
            near = torch.cdist(asked, means) <= _ALIKE * means.shape[1] ** 0.5
            for one, other in near.nonzero().tolist():
                place, candidate = left[one], there[other]
                if int(place) not in found and (level := _compare(ones, place, others, candidate, move)) is not None:
                    found[int(place)] = NearPair(int(ones.rows[place]), int(others.rows[candidate]), level)
        yield from found.values()
        left = torch.tensor([place for place in left.tolist() if place not in found], dtype=torch.int64)


def _compare(ones: Grids, one: Tensor, others: Grids, other: Tensor, move: _Move) -> int | None:
    """How far apart two images are that were cut, in levels; None where they are not the same."""
    images, candidates = ones.images(one[None]), others.images(other[None])
    side = ones.side
    blocks = min(_BLOCKS, side // 2)
    rough = torch.cat(
        [
            _average(images, move.one, blocks, move.is_mirrored),
            _average(candidates, move.other, blocks),
        ]
    )
    level = float((rough[0] - rough[1]).square().mean().sqrt())
    if level > _ALIKE:
        return None
    fine = torch.cat(
        [
            _average(images, move.one, side, move.is_mirrored),
            _average(candidates, move.other, side),
        ]
    )
    smooth = F.interpolate(rough.view(2, 3, blocks, blocks), (side, side), mode="bilinear")
    detail = fine - smooth.flatten(1)
    if bool((detail.square().mean(1).sqrt() < _FLAT).all()):  # what has no detail has to fit the better
        return int(np.ceil(level)) if level <= _FLAT else None
    likeness = float(F.cosine_similarity(detail[0], detail[1], dim=0))
    return int(np.ceil(level)) if likeness >= _DETAIL else None


def _list_moves(side: int) -> Iterator[_Move]:
    """A border around or on the image, or at one side; a cut all around or at one side; a shift; the mirror image.

    Args:
        side: of the coarse grid.
    """
    most = max(1, side // _FARTHEST)
    whole, around = (0.0, 0.0, 0.0, 0.0), [(step / 2,) * 4 for step in range(1, 2 * most + 1)]
    single = [_at_edge(edge, step) for edge in range(4) for step in range(1, most + 1)]
    ways = [((step, 0.0), (0.0, step)) for step in map(float, range(1, most + 1))]
    diagonal = [(*x, *y) for way in ways for x in way for y in way]
    yield _Move(around[-1], around[-1])
    for cut in chain(around, single):
        yield _Move(cut, whole)
        yield _Move(whole, cut)
    for left, right, top, bottom in chain(single, diagonal):
        yield _Move((left, right, top, bottom), (right, left, bottom, top))
    for cut in around:  # less one more pixel, where what is left of a border would outweigh the rest
        yield _Move((cut[0] + 1 - 2 * cut[0] / side,) * 4, (1.0,) * 4)
    for cut in (whole, *around[1::2]):
        yield _Move(cut, whole, is_mirrored=True)


def _at_edge(edge: int, step: int) -> Edges:
    left, right, top, bottom = (float(step * (edge == at)) for at in range(4))
    return left, right, top, bottom


def _cut_up(places: Tensor) -> tuple[Tensor, ...]:
    return places.split(_PIECE)


def _average(images: Tensor, edges: Edges, blocks: int, is_mirrored: bool = False) -> Tensor:
    """float32 [n, 3 · blocks²], means of blocks of images, uint8 [n, 3, S, S], whose edges are cut."""
    left, right, top, bottom = edges
    side = images.shape[-1]
    across, down = _share(side, left, side - right, blocks), _share(side, top, side - bottom, blocks)
    values = images.float()
    return (down @ (values.flip(-1) if is_mirrored else values) @ across.T).flatten(1)


def _share(side: int, first: float, end: float, blocks: int) -> Tensor:
    """float32 [blocks, side]: the part of each block, between two places, that each pixel is."""
    width = (end - first) / blocks
    starts = first + width * torch.arange(blocks)[:, None]
    pixels = torch.arange(side)[None]
    overlap = torch.minimum(starts + width, pixels + 1) - torch.maximum(starts, pixels)
    return overlap.clamp(min=0) / width
