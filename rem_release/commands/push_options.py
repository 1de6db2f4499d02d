"""What the command line said to push."""

from dataclasses import dataclass
from pathlib import Path

from rem_release.hub.settings import Gating


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """What the command line said."""

    run: Path
    repo_id: str
    clean: str | None = None
    public: bool | None = None
    """None: private where the repository is new, else as it is"""
    gated: Gating | None = None
    tag: str | None = None
    keep_columns: tuple[str, ...] = ()
    clean_split: str | None = None
    card_fields: tuple[str, ...] = ()
    card_file: Path | None = None
    dry_run: bool = False
    allow_uncertified: bool = False
    yes: bool = False
