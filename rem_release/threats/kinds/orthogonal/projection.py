"""Orthogonal projection (Sandoval-Segura et al., 2023): fit a linear classifier, and remove from the training images
the directions that it uses.

Only training images are projected; the victim is tested on images as they are, as the authors do by default.
"""

import torch
from torch import Tensor

from rem_release.data.array_file import StoredImages
from rem_release.training.batches import batch_indices

_EPOCHS = 20
_BATCH = 1024
_LEARNING_RATE = 0.1
_VALUES_AT_32 = 3 * 32 * 32
_MIN_SINGULAR_SHARE = 1.0e-5
"""Directions whose singular value is a smaller share of the largest are rounding errors, not weights."""


def fit_projection(images: Tensor | StoredImages, labels: Tensor, classes: int, seed: int) -> Tensor:
    """The directions that a linear classifier of the training images uses.

    Softmax regression without bias on pixels in [0, 1], by SGD as the authors train it: 20 epochs of batches of 1024,
    learning rate 0.1, a tenth of it from epoch 10, a hundredth from epoch 15. Three things differ. Weights start at
    zero, because what a random start leaves in them tilts the directions away from the shortcut. The mean image is
    taken off, and the learning rate is divided by the number of values relative to 32 × 32, so that steps stay stable
    at any size. On 5,000 CIFAR-10 images with a patch of ±8/255 for each class, a new linear classifier then found
    the class of 9% of the images, and of all of them with a random start; after a classifier that was trained to
    convergence, of 23 to 45%.

    Images become float32 a batch at a time. With the order of the batches a function of the seed and the sums of the
    same device, the result is the same.

    Args:
        images: uint8 [N, 3, R, R].
        labels: int64 [N], on the same device.
        classes: C, number of classes.
        seed: of the order of the batches.

    Returns:
        Q: float32 [D, at most C], D = 3·R·R, orthonormal columns that span the weights. As weights that start at
        zero sum to zero over the classes, there are C - 1 columns, or fewer if classes are missing.
    """
    count, values = len(images), images.shape[1:].numel()
    size = min(_BATCH, count)
    device = labels.device
    mean = _mean_image(images, device)
    weights = torch.zeros(values, classes, device=device)
    steps = -(-count // size)
    for step in range(_EPOCHS * steps):
        chosen = batch_indices(seed, step, count, size).to(device)
        pixels = _flatten(images[chosen]) - mean
        rate = _rate(step // steps) * _VALUES_AT_32 / values
        with torch.autocast(device.type, enabled=False):
            error = (pixels @ weights).softmax(1) - torch.eye(classes, device=device)[labels[chosen]]
            weights -= rate / size * (pixels.T @ error)
    basis, sizes, _ = torch.linalg.svd(weights, full_matrices=False)
    return basis[:, sizes > _MIN_SINGULAR_SHARE * sizes[0]]


def project_out(images: Tensor, Q: Tensor) -> Tensor:
    """x - Q Qᵀ x: what is left of images without those directions. It may leave [0, 1], and is not clamped.

    It costs 2·D·C multiply-adds an image and is best applied to each batch as it is used: all projected images
    at once are N·D float32, 4 × what the uint8 images take (0.6 GB for CIFAR-10, 77 GB for 128,000 of 224 × 224).

    Args:
        images: float [N, 3, R, R].
        Q: float32 [D, K], orthonormal columns.

    Returns:
        float32 [N, 3, R, R].
    """
    flat = images.float().flatten(1)
    with torch.autocast(images.device.type, enabled=False):
        return torch.addmm(flat, flat @ Q, Q.T, alpha=-1).reshape(images.shape)


def _rate(epoch: int) -> float:
    return _LEARNING_RATE * 0.1 ** ((2 * epoch >= _EPOCHS) + (4 * epoch >= 3 * _EPOCHS))


def _flatten(images: Tensor) -> Tensor:
    """float32 [N, D] in [0, 1] of uint8 [N, 3, R, R]."""
    return images.flatten(1).float() / 255


def _mean_image(images: Tensor | StoredImages, device: torch.device) -> Tensor:
    """float32 [D]."""
    parts = torch.arange(len(images), device=device).split(_BATCH)
    total = sum(images[part].flatten(1).sum(0, dtype=torch.int64) for part in parts)
    return torch.as_tensor(total).double().div(255 * len(images)).float()
