"""`rem-release audit`: the order of its stages."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from accelerate import Accelerator

from rem_release.audit.attempts import note_attempt, sketch
from rem_release.audit.findings import describe_circumstances, gather_evidence, list_records
from rem_release.audit.inputs.holdout import choose_holdout, keep_holdout
from rem_release.audit.inputs.released_rows import keep_pairs
from rem_release.audit.inputs.target import Target, open_target
from rem_release.audit.ledger import Ledger, baseline_folder
from rem_release.audit.naming import agreed_code
from rem_release.audit.parallel import train_victims
from rem_release.audit.publish import AuditFolder, publish_audit, write_answers
from rem_release.audit.runner import VictimRunner
from rem_release.audit.setup import AuditSetup
from rem_release.commands.audit_checks import (
    check_rows,
    check_victims,
    open_cache,
    require_disk,
    require_images,
    require_room,
)
from rem_release.commands.audit_plan import show_plan
from rem_release.commands.audit_summary import describe_target, summarise_audit
from rem_release.console import Console
from rem_release.data.sources.source import Source
from rem_release.errors import FellShortError
from rem_release.paths import check_path
from rem_release.radius import format_radius
from rem_release.recipe_files import hash_document
from rem_release.release.certificate import Certificate
from rem_release.release.documents import require_current
from rem_release.release.run_status import entered
from rem_release.release.separate import check_files_separate, check_separate
from rem_release.training.runtime import require_agreement
from rem_release.verdict.certify import certify
from rem_release.verdict.plan import Row, plan_rows, plan_tasks
from rem_release.verdict.recipe import AuditRecipe

_STAND_IN_RHO_U = Fraction(8, 255)
"""of the random control where nothing carries noise"""


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What the command line said; the recipe with its precision resolved."""

    target: Path
    clean: str | None
    holdout: str | None
    recipe: AuditRecipe
    recipe_name: str
    out: Path | None = None
    split: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    rho_u: Fraction | None = None
    plan: bool = False
    resume: bool = False


def audit(options: AuditOptions, console: Console, accelerator: Accelerator) -> Certificate | None:
    """Play the attacker on a protected copy, and write report, verdict and certificate.

    Returns:
        The certificate; None for a plan.

    Raises:
        InputError: bad input, see `open_target` and `choose_holdout`; too few test images; an audit that
            was stopped and is not resumed. Nothing is written then.
        VerificationError: the release is damaged.
        RemReleaseError: the temporary folder is too small for what victims train on. Nothing is written then.
        FellShortError: a required tier fell short, or was not tested; everything is written nevertheless.
    """
    folder = AuditFolder.of(options.target, options.out)
    _require_separate(folder, options)
    if accelerator.is_main_process and not options.plan:
        folder.claim(resume=options.resume)
    accelerator.wait_for_everyone()
    setup, rows, rho_a = _prepare(options, folder, accelerator.num_processes, console)
    known = Ledger(folder.victims if options.resume else None, baseline_folder(), writes=False)
    runner = VictimRunner(setup, known, accelerator)
    if options.plan:
        show_plan(runner, rows, console)
        return None
    require_disk(runner, rows)
    cache = open_cache()
    with _recorded(folder) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            folder.open(resume=options.resume)
        accelerator.wait_for_everyone()
        runner.ledger = Ledger(folder.victims, cache, writes=accelerator.is_main_process)
        facts = {"images or recipe": runner.names.fingerprint(), "precision": setup.recipe.victim.precision}
        require_agreement(accelerator, {**facts, "code": agreed_code()})
        if accelerator.is_main_process:
            keep_pairs(folder.run, setup.target.pairs)
            keep_holdout(folder.run, setup.holdout, runner.test_digest)
        certificate = _audit(runner, rows, rho_a, folder, options, console)
        accelerator.wait_for_everyone()
        if not certificate.passed:
            raise FellShortError(f"{certificate.summary[0]} See {folder.report}")
    return certificate


def _prepare(
    options: AuditOptions, folder: AuditFolder, processes: int, console: Console
) -> tuple[AuditSetup, list[Row], Fraction]:
    """Read what is audited and refuse what cannot be, before anything is written: the setup, its rows, and rho_a."""
    recipe = options.recipe
    with console.stage("Reading") as report:
        target = open_target(
            options.target,
            options.clean,
            recipe.victim.resolution,
            options.rho_u,
            split=options.split,
            image_column=options.image_column,
            label_column=options.label_column,
            progress=report,
        )
    for source, name in ((target.copy, f"{options.target}"), (target.originals, _name("--clean", options.clean))):
        _require_files_separate(folder, source, name)
    if target.run and target.facts:
        require_current(target.facts, options.target)
    console.note(describe_target(target))
    rho_u = target.rho_u or _STAND_IN_RHO_U
    rho_a = target.rho_a or rho_u / 2
    if not target.changed.any():
        console.warn(f"nothing in {options.target} differs from the originals: this audits unprotected images")
    if target.measured and target.measured > rho_u:
        console.warn(
            f"images in {options.target} differ from the originals by up to {format_radius(target.measured)}, more "
            f"than --rho-u {format_radius(rho_u)}: random noise and adversaries of that size are weaker than the noise"
        )
    if target.rho_a is None:
        console.warn(f"the release names no rho_a; its adversarial tier is tested up to {format_radius(rho_a)}")
    rows = plan_rows(recipe, target.source_model, rho_a)
    check_rows(rows, recipe, options.recipe_name, console)
    with console.stage("Comparing test images with the release") as report:
        share, overlap = recipe.holdout.share, recipe.holdout.overlap
        holdout = choose_holdout(target, options.holdout, target.run, share, overlap, progress=report)
    _require_files_separate(folder, holdout.source, _name("--holdout", options.holdout))
    require_images(holdout, target.classes, recipe)
    resolution = recipe.victim.resolution or target.resolution
    setup = AuditSetup(target=target, holdout=holdout, recipe=recipe, resolution=resolution, rho_u=rho_u)
    require_room(rows, setup)
    check_victims(rows, setup, processes)
    return setup, rows, rho_a


def _audit(
    runner: VictimRunner,
    rows: list[Row],
    rho_a: Fraction,
    folder: AuditFolder,
    options: AuditOptions,
    console: Console,
) -> Certificate:
    is_main, recipe = runner.accelerator.is_main_process, hash_document(options.recipe.published())
    attempts = note_attempt(
        folder.run,
        runner.seeds,
        recipe,
        sketch(runner.setup.target.pairs.clean_hashes),
        runner.names.made_on(),
        writes=is_main,
    )
    _train(runner, rows, console)
    records = list_records(runner, rows)
    given = describe_circumstances(runner, records, rho_a, options.recipe_name, attempts)
    evidence = gather_evidence(runner, records)
    answers = write_answers(folder, evidence) if is_main else ""
    certificate = certify(given, evidence, answers)
    if is_main:
        curves = [record.curve() for record in records]
        publish_audit(folder, certificate, curves, _title(runner.setup.target, options.target))
        summarise_audit(certificate, folder, console)
    return certificate


def _train(runner: VictimRunner, rows: list[Row], console: Console) -> None:
    """Train every victim of the rows that is not known yet."""
    tasks = plan_tasks(rows, runner.setup.is_partial, runner.seeds)
    known = sum(runner.known(task) is not None for task in tasks)
    if known:
        console.note(f"{known} of {len(tasks)} victims are known already")
    with console.stage(f"Training {len(tasks)} victims") as report:
        train_victims(runner, tasks, report)


def _require_separate(folder: AuditFolder, options: AuditOptions) -> None:
    """Refuse a folder inside the originals or the test images, which would read it as a class, and the reverse."""
    for name, source in (("--clean", options.clean), ("--holdout", options.holdout)):
        if source and (path := check_path(source, name)).exists():
            check_separate(folder.path, path, name)


def _require_files_separate(folder: AuditFolder, source: Source | None, name: str) -> None:
    """Refuse a source that leads to what an audit writes over, by links."""
    if source:
        for place in (folder.path, folder.certificate.parent / "figures"):
            check_files_separate(place, source, name)


def _name(option: str, location: str | None) -> str:
    return f"{option} {location}" if location else "the originals"


def _recorded(folder: AuditFolder) -> AbstractContextManager[None]:
    """The folder for this command alone, and the status of the run, where there is one."""
    return folder.run.adopted() if folder.run else entered(folder.path)


def _title(target: Target, location: Path) -> str:
    chosen = target.facts.owner.pretty_name if target.facts else None
    return chosen or location.resolve().name
