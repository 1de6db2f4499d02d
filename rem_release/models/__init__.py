"""Networks: `build_model(name, classes, resolution)`. They take [0, 1] and centre inside (paper A.2)."""

from rem_release.models.build import MODELS, build_model

__all__ = ["MODELS", "build_model"]
