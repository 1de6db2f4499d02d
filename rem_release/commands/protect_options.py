"""What the command line said to protect."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets.utils.py_utils import convert_file_size_to_int

from rem_release.data.shards import SHARD_BYTES
from rem_release.data.sources.rows import SourceOptions
from rem_release.errors import InputError
from rem_release.recipe import Recipe
from rem_release.release.run_folder import RUN_FORMAT


def read_shard_size(text: str) -> int:
    """Bytes that `500MB` or `1GB` means, as `datasets` reads it.

    Raises:
        InputError: it is no size.
    """
    try:
        size = convert_file_size_to_int(text.replace(" ", ""))
    except ValueError:
        size = 0
    if size < 1:
        raise InputError(f"--max-shard-size {text}: write a size such as 500MB or 1GB")
    return size


@dataclass(frozen=True, kw_only=True)
class ProtectOptions:
    """What the command line said."""

    source: SourceOptions
    out: Path
    recipe: Recipe
    recipe_name: str
    seed: int | None = None
    """None: a secret one, see `commands.seed`"""
    fraction: float = 1.0
    release_unprotected: bool = False
    reserve: float = 0.0
    max_side: int | None = None
    skip_bad: bool = False
    shard_bytes: int = SHARD_BYTES
    generator: Path | None = None
    plan: bool = False
    resume: bool = False
    overwrite: bool = False

    @property
    def known_seed(self) -> int:
        """The seed, once it is chosen."""
        assert self.seed is not None
        return self.seed

    def deciding(self) -> dict[str, Any]:
        """All that decides the result, the seed included: what a resumed run must have in common with the first."""
        return {
            "format": RUN_FORMAT,
            "source": asdict(self.source),
            "recipe": self.recipe.to_dict(),
            "recipe_name": self.recipe_name,
            "seed": self.known_seed,
            "fraction": self.fraction,
            "release_unprotected": self.release_unprotected,
            "reserve": self.reserve,
            "max_side": self.max_side,
            "skip_bad": self.skip_bad,
            "shard_bytes": self.shard_bytes,
            "generator": str(self.generator.resolve()) if self.generator else None,
        }
