"""Labels for images that have none: groups of similar appearance."""

import warnings
from dataclasses import replace

import datasets
import numpy as np
import pyarrow as pa
import scipy
import torch
import torch.nn.functional as F

from rem_release.data.array_file import StoredImages
from rem_release.data.sources.source import Source
from rem_release.errors import InputError

_THUMBNAIL = 8
_ITERATIONS = 30


def cluster_images(images: torch.Tensor | StoredImages, count: int, seed: int) -> np.ndarray:
    """Group images by k-means on standardised 8 x 8 colour thumbnails.

    Args:
        images: uint8 [K, 3, R, R].
        count: clusters asked for; empty ones are dropped.
        seed: of the first centres.

    Returns:
        int64 [K], cluster of each image, numbered in order of first appearance.

    Raises:
        InputError: fewer than two clusters come out.
    """
    features = _describe_appearance(images)
    count = min(count, len(np.unique(features, axis=0)))
    if count < 2:
        raise InputError("clustering needs at least two different-looking images and two clusters; add images")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*clusters is empty")
        rng = np.random.default_rng(seed)
        _, found = scipy.cluster.vq.kmeans2(features, count, iter=_ITERATIONS, minit="++", rng=rng)
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    if len(first) < 2:
        raise InputError("the images look too alike to be clustered: only one cluster came out; use class folders")
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _describe_appearance(images: torch.Tensor | StoredImages) -> np.ndarray:
    """float32 [K, 192]: thumbnails, each colour of each pixel standardised over the images."""
    thumbnails = [
        F.interpolate(images[batch].float(), (_THUMBNAIL, _THUMBNAIL), mode="bilinear", antialias=True).flatten(1)
        for batch in torch.arange(len(images)).split(1024)
    ]
    features = torch.cat(thumbnails).double()
    spread = features.std(dim=0, correction=0)
    return ((features - features.mean(dim=0)) / torch.where(spread > 1e-9, spread, 1.0)).float().numpy()


def label_by_clusters(
    source: Source, rows: np.ndarray, images: torch.Tensor | StoredImages, count: int, seed: int
) -> Source:
    """Give a source opened with `label_from="clusters"` its label column.

    Args:
        source: the source without labels.
        rows: int64 [K], the readable rows; the others get no label.
        images: uint8 [K, 3, R, R], their images.
        count: clusters asked for; fewer come out where some stay empty.
        seed: of the clustering.

    Returns:
        The source with a ClassLabel column `cluster-0`, `cluster-1`, ... behind its other columns.

    Raises:
        InputError: fewer than two clusters come out.
    """
    class_ids = np.full(len(source), -1, np.int64)
    class_ids[rows] = cluster_images(images, count, seed)
    classes = [f"cluster-{number}" for number in range(int(class_ids.max()) + 1)]
    column = pa.array(class_ids, pa.int64(), mask=class_ids < 0)
    dataset = source.dataset.add_column(source.label_column, column, feature=datasets.ClassLabel(names=classes))
    return replace(source, dataset=dataset, classes=classes, class_ids=class_ids)
