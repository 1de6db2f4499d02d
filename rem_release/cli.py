"""The command line: its arguments. Nothing heavy is imported before it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rem_release.arguments import CardField, CardFields, Json, MethodChoice, NewRun, Run, path_of
from rem_release.errors import InputError

if TYPE_CHECKING:
    from rem_release.console import Console
    from rem_release.recipe import Recipe

app = typer.Typer(
    help="Publish images that people can look at and models cannot learn from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
recipes_app = typer.Typer(help="The shipped recipes, and your own.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipes")


@app.command()
def protect(
    source: Annotated[
        str, typer.Argument(help="Class folders, a folder with metadata, Parquet, save_to_disk, or a Hub id.")
    ],
    out: NewRun,
    recipe: Annotated[str | None, typer.Option(help="Name of a shipped recipe, or a YAML file. [quickstart]")] = None,
    method: MethodChoice = None,
    rho_u: Annotated[str | None, typer.Option(help="Largest change of a pixel: 8/255, 0.0314 or 8px.")] = None,
    rho_a: Annotated[str | None, typer.Option(help="Adversarial radius that the noise is made to withstand.")] = None,
    split: Annotated[str, typer.Option(help="Split to protect; several with a +: train+validation.")] = "train",
    layout: Annotated[
        str | None, typer.Option(help="What the folders at the top of SOURCE are: splits or classes.")
    ] = None,
    image_column: Annotated[str, typer.Option(help="Column of the images.")] = "image",
    label_column: Annotated[str, typer.Option(help="Column of the labels.")] = "label",
    label_from: Annotated[str | None, typer.Option(help="albums or clusters, for images without labels.")] = None,
    drop_column: Annotated[
        list[str] | None, typer.Option(help="A column to leave out of the release. Repeatable.")
    ] = None,
    fraction: Annotated[float, typer.Option(help="Share of the images that gets noise.")] = 1.0,
    release_unprotected: Annotated[
        bool, typer.Option("--release-unprotected", help="Release the rest as it is.")
    ] = False,
    reserve: Annotated[float, typer.Option(help="Share of each class kept back, clean, for audits.")] = 0.0,
    max_shard_size: Annotated[str, typer.Option(help="Approximate largest size of a data file.")] = "500MB",
    max_side: Annotated[int | None, typer.Option(help="Shrink released images to this longer side.", min=1)] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out files that cannot be read, and list them.")
    ] = False,
    generator: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            parser=path_of("--generator"),
            help="Run whose trained generator is used instead of a new one.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe key.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides every random choice. [a new secret one]", min=0, max=2**63 - 1)
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would take, and stop.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run.")] = False,
    as_json: Json = False,
) -> None:
    """Add noise to a dataset and write its release: data, card and facts."""
    if resume and overwrite:
        raise InputError("--resume goes on and --overwrite starts again; give one of them")
    _check_choice("--label-from", label_from, ("albums", "clusters"))
    _check_choice("--layout", layout, ("splits", "classes"))
    if generator and (given := _given(recipe=recipe, method=method, rho_u=rho_u, rho_a=rho_a, set=settings)):
        raise InputError(f"{given} has no effect with --generator, whose own recipe applies; leave it out")
    console = _console(as_json)
    chosen, name = _read_recipe(recipe, method, rho_u, rho_a, settings)
    for warning in chosen.noise.warn():
        console.warn(warning)
    from rem_release.commands import protect as command
    from rem_release.commands.protect_options import ProtectOptions, read_shard_size
    from rem_release.data.sources.source import SourceOptions
    from rem_release.training import runtime
    from rem_release.training.memory import memory_watched

    accelerator = runtime.start()
    options = ProtectOptions(
        source=SourceOptions(
            source=source,
            split=split,
            layout=layout,  # type: ignore[arg-type]
            image_column=image_column,
            label_column=label_column,
            label_from=label_from,  # type: ignore[arg-type]
            drop_columns=tuple(drop_column or ()),
        ),
        out=out,
        recipe=chosen,
        recipe_name=name,
        seed=seed,
        fraction=fraction,
        release_unprotected=release_unprotected,
        reserve=reserve,
        max_side=max_side,
        skip_bad=skip_bad,
        shard_bytes=read_shard_size(max_shard_size),
        generator=generator,
        plan=plan,
        resume=resume,
        overwrite=overwrite,
    )
    batch_size = chosen.generator.batch_size if chosen.generator else 0
    with memory_watched("generator.batch_size", batch_size), _disk_named(out):
        command.protect(options, _console(as_json, silent=not accelerator.is_main_process), accelerator)


@app.command()
def verify(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|RELEASE|REPO[@REV]", help="A run folder, a release folder, or NAMESPACE/NAME on the Hub."
        ),
    ],
    clean: Annotated[str | None, typer.Option(help="The originals, to compare row by row.")] = None,
    as_json: Json = False,
) -> None:
    """Prove from the released bytes that the card is true."""
    from rem_release.commands import verify as command

    command.verify(target, clean, _console(as_json))


@app.command()
def audit(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|PROTECTED",
            parser=path_of("RUN|PROTECTED"),
            help="A run folder, a release, or any protected copy.",
        ),
    ],
    clean: Annotated[str | None, typer.Option(help="The originals. A run remembers its own.")] = None,
    holdout: Annotated[
        str | None, typer.Option(help="Clean test images. [the run's reserve, else some rows held out]")
    ] = None,
    recipe: Annotated[str, typer.Option(help="Name of a shipped audit recipe, or a YAML file.")] = "audit-quick",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe key.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            parser=path_of("--out"),
            help="Folder of the audit where the target is not a run. [NAME-audit]",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of a copy that is no release, and of its originals. [train]")
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="Their column of images. [image]")] = None,
    label_column: Annotated[str | None, typer.Option(help="Their column of labels. [label]")] = None,
    rho_u: Annotated[
        str | None, typer.Option(help="Largest change of a pixel in such a copy: 8/255. [the largest change]")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what the audit would take, and stop.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an audit that was stopped.")] = False,
    as_json: Json = False,
) -> None:
    """Play the attacker: train models on the protected images, and certify what they learn."""
    from rem_release.recipe_changes import read_radius
    from rem_release.verdict.recipe import load_audit_recipe, name_recipe

    radius = read_radius("--rho-u", rho_u)
    chosen = load_audit_recipe(recipe, _read_settings(settings))
    from rem_release.commands import audit as command
    from rem_release.commands.precision import resolve_victims
    from rem_release.training import runtime
    from rem_release.training.memory import memory_watched

    accelerator = runtime.start()
    chosen = resolve_victims(chosen, accelerator)
    options = command.AuditOptions(
        target=target,
        clean=clean,
        holdout=holdout,
        recipe=chosen,
        recipe_name=name_recipe(recipe, chosen),
        out=out,
        split=split,
        image_column=image_column,
        label_column=label_column,
        rho_u=radius,
        plan=plan,
        resume=resume,
    )
    with memory_watched("victim.batch_size", chosen.victim.batch_size), _disk_named(out or target):
        command.audit(options, _console(as_json, silent=not accelerator.is_main_process), accelerator)


@app.command()
def card(
    run: Run,
    card_field: CardField = None,
    card_fields: CardFields = None,
    as_json: Json = False,
) -> None:
    """Put the owner's words on the card, and render README.md again from the facts."""
    from rem_release.commands import card as command

    command.render(run, card_field or [], card_fields, _console(as_json))


@app.command()
def push(
    run: Run,
    repo: Annotated[str, typer.Argument(metavar="NAMESPACE/NAME", help="The dataset on the Hub.")],
    clean: Annotated[str | None, typer.Option(help="The originals. A run remembers its own.")] = None,
    public: Annotated[
        bool | None, typer.Option("--public/--private", help="[private where it is new, else as it is]")
    ] = None,
    gated: Annotated[
        str | None, typer.Option(help="auto: visitors consent; manual: you grant access one by one; no: neither.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Name of this version. [v1, v2, ...]")] = None,
    keep_column: Annotated[
        list[str] | None,
        typer.Option(
            help="A column to publish although it looks like paths, EXIF or embeddings, or holds much. Repeatable."
        ),
    ] = None,
    publish_clean_split: Annotated[
        str | None,
        typer.Option(metavar="NAME[=SOURCE]", help="Publish this split of the source without noise, to test on."),
    ] = None,
    card_field: CardField = None,
    card_fields: CardFields = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be sent and what the gate says; ask no network.")
    ] = False,
    allow_uncertified: Annotated[
        bool, typer.Option("--allow-uncertified", help="Publish without a certificate that passed; the card says so.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm --public and --allow-uncertified beforehand.")] = False,
    as_json: Json = False,
) -> None:
    """Publish exactly the audited bytes on the Hugging Face Hub, if the gate lets them, and prove it."""
    _check_choice("--gated", gated, ("auto", "manual", "no"))
    from rem_release.commands import push as command
    from rem_release.commands.push_options import PushOptions

    options = PushOptions(
        run=run,
        repo_id=repo,
        clean=clean,
        public=public,
        gated=gated,  # type: ignore[arg-type]
        tag=tag,
        keep_columns=tuple(keep_column or ()),
        clean_split=publish_clean_split,
        card_fields=tuple(card_field or ()),
        card_file=card_fields,
        dry_run=dry_run,
        allow_uncertified=allow_uncertified,
        yes=yes,
    )
    command.push(options, _console(as_json))


@app.command()
def demo(
    out: NewRun = Path("runs/demo"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run.")] = False,
    as_json: Json = False,
) -> None:
    """Protect, verify and audit real photographs that are at hand, offline, in minutes."""
    from rem_release.commands import demo as command

    command.run_demo(out, overwrite, _console(as_json))


@app.command()
def bench(as_json: Json = False) -> None:
    """Measure what this machine does in a second, beside a plain reference, in two or three minutes."""
    from rem_release.bench.bench import bench as measure
    from rem_release.training import runtime

    measure(_console(as_json), runtime.start())


@app.command()
def reproduce(
    name: Annotated[str, typer.Argument(metavar="TABLE|FIGURE", help="Of the paper: table1, ..., figure8.")],
    scale: Annotated[
        str, typer.Option(help="smoke, quick, card or full: how much of the paper's work is done.")
    ] = "quick",
    dataset: Annotated[
        str | None, typer.Option(help="Whose rows: cifar10, cifar100 or imagenet100. [the figure's, else cifar10]")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="A local copy of it, or any images. [the Hub's]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            parser=path_of("--out"),
            help="Folder of the runs, shared by all tables of a scale. [runs/reproduce-SCALE-DATASET]",
        ),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would take, and stop.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue what was stopped.")] = False,
    as_json: Json = False,
) -> None:
    """Run a table or figure of the REM paper, and show its figures beside ours."""
    _check_choice("--dataset", dataset, ("cifar10", "cifar100", "imagenet100"))
    from rem_release.reproduce.reproduce import ReproduceOptions
    from rem_release.reproduce.reproduce import reproduce as command
    from rem_release.training import runtime

    accelerator = runtime.start()
    options = ReproduceOptions(
        name=name,
        scale=scale,
        dataset=dataset,  # type: ignore[arg-type]
        data=data,
        out=out,
        plan=plan,
        resume=resume,
    )
    command(options, _console(as_json, silent=not accelerator.is_main_process), accelerator)


@recipes_app.command("list")
def recipes_list(as_json: Json = False) -> None:
    """Name the shipped recipes."""
    from rem_release.commands import recipes as command

    command.list_recipes(_console(as_json))


@recipes_app.command("show")
def recipes_show(name: str, as_json: Json = False) -> None:
    """Print a recipe."""
    from rem_release.commands import recipes as command

    command.show_recipe(name, _console(as_json))


@recipes_app.command("check")
def recipes_check(file: str, as_json: Json = False) -> None:
    """Validate a recipe file."""
    from rem_release.commands import recipes as command

    command.check_recipe(file, _console(as_json))


def _read_recipe(
    recipe: str | None, method: str | None, rho_u: str | None, rho_a: str | None, settings: list[str] | None
) -> "tuple[Recipe, str]":
    """The recipe with everything that the command line changes in it; the last word is --set's."""
    from rem_release.method_names import FILES
    from rem_release.recipe_changes import load_changed

    name = recipe or "quickstart"
    _check_choice("--method", method, tuple(FILES))
    return load_changed(name, method, rho_u, rho_a, _read_settings(settings)), Path(name).stem


def _read_settings(settings: list[str] | None) -> dict[str, str]:
    """Dotted key → YAML value; the last word on a key holds."""
    overrides = {}
    for setting in settings or []:
        key, separator, value = setting.partition("=")
        if not separator:
            raise InputError(f"--set {setting}: write KEY=VALUE, such as --set seeds.grid=3")
        overrides[key.strip()] = value
    return overrides


def _check_choice(option: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise InputError(f"{option} {value}: choose {' or '.join(choices)}")


def _given(**options: object) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name, value in options.items() if value)


def _console(as_json: bool, silent: bool = False) -> "Console":
    from rem_release.console import Console

    return Console(as_json, silent)


@contextmanager
def _disk_named(folder: Path) -> Iterator[None]:
    """Let a failure of the disk that names no file, such as a full one, name the folder of the run."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(folder)
        raise


def main() -> None:
    """Run the command line, and exit."""
    from rem_release.ending import run_to_its_end

    run_to_its_end(app)
