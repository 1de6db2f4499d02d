"""What all pages have in common: opening, title and notes as Markdown, CSV whose every line names its origin, JSON."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rem_release.atomic_files import write_atomically
from rem_release.release.canonical import canonical_bytes
from rem_release.reproduce.paper import Cell, Dataset, Figure, Table
from rem_release.reproduce.results import Measured
from rem_release.reproduce.scale import Scale

MIN_FIT = 90.0
"""percent: where clean victims fit their own training images worse than this, training is at fault, not the noise"""
_DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet100": "ImageNet subset"}


@dataclass(frozen=True, kw_only=True)
class Page:
    """A table or figure at a scale, whatever it shows."""

    name: str
    """of the files: table1"""
    paper: Table | Figure
    scale: Scale
    dataset: Dataset
    images: str
    """how many, from where, in which format"""
    opening: Sequence[str]
    """the first lines, as Markdown: scale, images, what was cut"""

    def network(self, cell: Cell) -> str:
        """The one that is trained."""
        return self.scale.networks.get(cell.architecture, cell.architecture)

    def write(
        self,
        folder: Path,
        body: Sequence[str],
        notes: Sequence[str],
        document: Mapping[str, Any],
        fields: Sequence[str] = (),
        lines: Sequence[Sequence[Any]] = (),
    ) -> str:
        """Write NAME.md, NAME.json and, where there are fields, NAME.csv.

        Args:
            folder: it exists.
            body: paragraphs, as Markdown.
            notes: what a reader must know besides what the paper's reader must.
            document: more keys of the JSON.
            fields: heads of the CSV, after those of data set, scale and images.
            lines: as many values each.

        Returns:
            The Markdown.
        """
        said = [f"- {note}" for note in (*self.paper.says, *notes)]
        parts = [
            *self.opening[:1],
            f"# {_DATASETS[self.dataset]}: {self.paper.title}",
            *self.opening[1:],
            *body,
            *(["\n".join(said)] if said else []),
        ]
        text = "\n\n".join(parts) + "\n"
        told = {
            **{"name": self.name, "kind": self.paper.kind, "title": self.paper.title, "dataset": self.dataset},
            **{"scale": self.scale.name, "images": self.images, "opening": list(self.opening)},
            **{"says": list(self.paper.says), "notes": list(notes)},
        }
        write_atomically(folder / f"{self.name}.md", text.encode())
        write_atomically(folder / f"{self.name}.json", canonical_bytes({**told, **document}))
        if fields:
            stream = io.StringIO()
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["dataset", "scale", "images", *fields])
            writer.writerows([self.dataset, self.scale.name, self.images, *line] for line in lines)
            write_atomically(folder / f"{self.name}.csv", stream.getvalue().encode())
        return text

    def about(self, seen: Mapping[Cell, Measured]) -> list[str]:
        """Notes on the victims that are shown: their networks and seeds, and whether clean ones learnt their images."""
        if not seen:
            return ["No victim was trained to the end."]
        stands_for: dict[str, dict[str, None]] = {}
        for cell in seen:
            if self.network(cell) != cell.architecture:
                stands_for.setdefault(self.network(cell), {})[cell.architecture] = None
        about = [f"{network} was trained in place of {', '.join(names)}." for network, names in stands_for.items()]
        counts = sorted({len(ours.accuracies) for ours in seen.values()})
        means = "± is their standard deviation (n − 1)" if counts[-1] > 1 else "one has no spread"
        about.append(f"Seeds of each of our figures: {' or '.join(map(str, counts))}; {means}.")
        if (fit := lowest_clean_fit(seen)) is None:
            return [*about, "No clean victim was trained: what training reaches here without noise is not known."]
        warning = warn_of_fit(seen)
        fits = f"Clean victims fit their training images to {fit:.1f} % or more."
        return [*about, f"**{warning}**" if warning else fits]


def lowest_clean_fit(seen: Mapping[Cell, Measured]) -> float | None:
    """In percent with one digit behind the point; None without clean victims."""
    clean = [min(ours.fit) for cell, ours in seen.items() if cell.arm.method == "clean"]
    return round(min(clean), 1) if clean else None


def warn_of_fit(seen: Mapping[Cell, Measured]) -> str | None:
    """A sentence where a clean victim fits its own images badly."""
    fit = lowest_clean_fit(seen)
    if fit is None or fit >= MIN_FIT:
        return None
    return (
        f"Warning: a clean victim fits its training images to only {fit:.1f} %, less than {MIN_FIT:.0f} %. "
        "It is not trained to the end, so these figures say little about noise."
    )


def align(lines: Sequence[Sequence[str]], heads: int) -> str:
    """A Markdown table whose text, too, is in columns: the first `heads` to the left, figures to the right.

    Args:
        lines: the head and at least one more, all of one length.
        heads: how many columns are words.
    """
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width if place < heads else f"{'-' * (width - 1)}:" for place, width in enumerate(widths)]
    padded = [
        [cell.ljust(width) if place < heads else cell.rjust(width) for place, (cell, width) in enumerate(pairs)]
        for pairs in (list(zip(line, widths, strict=True)) for line in cells)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])
