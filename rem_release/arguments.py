"""Arguments that several commands share, and how paths are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from rem_release.method_names import list_names


def path_of(name: str) -> Callable[[object], Path]:
    """What reads a path; one that the system cannot use is refused before anything else is looked at."""

    def read(text: object) -> Path:
        from rem_release.paths import check_path

        return check_path(str(text), name)

    return read


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
CardField = Annotated[
    list[str] | None,
    typer.Option(
        "--card-field",
        metavar="KEY=VALUE",
        help="The owner's words on the card: license, contact, about and more. Repeatable; an empty value removes.",
    ),
]
CardFields = Annotated[
    Path | None,
    typer.Option(
        "--card-fields",
        metavar="FILE",
        parser=path_of("--card-fields"),
        help="The same as a YAML file of keys and texts.",
    ),
]
MethodChoice = Annotated[str | None, typer.Option("--method", help=f"{list_names()}.")]
NewRun = Annotated[Path, typer.Option("--out", metavar="RUN", parser=path_of("--out"), help="The run folder to make.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", parser=path_of("RUN"), help="A run folder.")]
