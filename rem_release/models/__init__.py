"""Networks: `build_model(name, classes, resolution, seed)`. They take [0, 1] and centre inside (paper A.2)."""

from rem_release.models.build import MODELS, ONE_SIZE, build_model, import_networks

__all__ = ["MODELS", "ONE_SIZE", "build_model", "import_networks"]
