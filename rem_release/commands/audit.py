"""`rem-release audit`: the order of its stages."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

from accelerate import Accelerator

from rem_release.audit.certify import Auditor
from rem_release.audit.holdout import choose_holdout
from rem_release.audit.laboratory import Bench, Laboratory
from rem_release.audit.ledger import Ledger, baseline_folder
from rem_release.audit.plan import Row, plan_rows, plan_tasks
from rem_release.audit.publish import AuditFolder, publish_audit
from rem_release.audit.recipe import AuditRecipe
from rem_release.audit.statistics import images_needed
from rem_release.audit.target import Target, open_target
from rem_release.commands.audit_plan import show_plan
from rem_release.commands.audit_summary import describe_target, summarise_audit
from rem_release.console import Console, Report
from rem_release.errors import FellShortError, InputError
from rem_release.radius import format_radius
from rem_release.release.certificate import TIERS, Certificate
from rem_release.release.run_folder import RunFolder

_STAND_IN_RHO_U = Fraction(8, 255)
"""of the random control where nothing carries noise"""


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What the command line said."""

    target: Path
    clean: str | None
    holdout: str | None
    recipe: AuditRecipe
    recipe_name: str
    out: Path | None = None
    plan: bool = False
    resume: bool = False


def audit(options: AuditOptions, console: Console, accelerator: Accelerator) -> Certificate | None:
    """Play the thief on a protected copy, and write report, verdict and certificate.

    Returns:
        The certificate; None for a plan.

    Raises:
        InputError: bad input, see `open_target` and `choose_holdout`; too few test images; an audit that was stopped
            and is not resumed.
        VerificationError: the release is damaged.
        FellShortError: a required tier fell short, or was not tested; everything is written nevertheless.
    """
    folder = AuditFolder.of(options.target, options.out)
    if not options.plan:
        folder.claim(resume=options.resume)
    with _recorded(folder, options):
        certificate = _audit(options, folder, console, accelerator)
        accelerator.wait_for_everyone()
        if certificate is not None and not certificate.passed:
            raise FellShortError(f"{certificate.summary[0]} See {folder.report}")
    return certificate


def _audit(
    options: AuditOptions, folder: AuditFolder, console: Console, accelerator: Accelerator
) -> Certificate | None:
    recipe = options.recipe
    with console.stage("Reading") as report:
        target = open_target(options.target, options.clean, recipe.victim.resolution, progress=report)
    console.note(describe_target(target))
    rho_u = target.rho_u or _STAND_IN_RHO_U
    rho_a = target.rho_a or rho_u / 2
    if not target.changed.any():
        console.warn(f"nothing in {options.target} differs from the originals: this audits unprotected images")
    if target.rho_a is None:
        console.warn(f"the release names no rho_a; its adversarial tier is tested up to {format_radius(rho_a)}")
    rows = plan_rows(recipe, target.source_model, rho_a)
    if not rows:
        raise InputError(f"recipe {options.recipe_name} has no threats in any tier; nothing would be audited")
    with console.stage("Comparing test images with the release") as report:
        share, overlap = recipe.holdout.share, recipe.holdout.overlap
        holdout = choose_holdout(target, options.holdout, target.run, share, overlap, progress=report)
    _require_images(len(holdout), rows, recipe)
    resolution = recipe.victim.resolution or target.resolution
    bench = Bench(target=target, holdout=holdout, recipe=recipe, resolution=resolution, rho_u=rho_u)
    if not options.plan and accelerator.is_main_process:
        folder.open(resume=options.resume)
    accelerator.wait_for_everyone()
    ledger = Ledger(folder.victims, baseline_folder(), writes=accelerator.is_main_process and not options.plan)
    laboratory = Laboratory(bench, ledger, accelerator)
    auditor = Auditor(laboratory, options.recipe_name, rho_a)
    if options.plan:
        show_plan(laboratory, rows, console)
        return None
    rows = _run(laboratory, auditor, rows, console)
    certificate = auditor.certify(rows)
    if accelerator.is_main_process:
        curves = [record.curve() for record in auditor.records(rows)]
        publish_audit(folder, certificate, curves, _title(target, options.target))
        summarise_audit(certificate, folder, console)
    return certificate


def _run(laboratory: Laboratory, auditor: Auditor, rows: list[Row], console: Console) -> list[Row]:
    """Train every victim of the rows, then more seeds of each tier's worst rows. Returns the rows as they ended."""
    _train(laboratory, rows, console, "Training")
    if auditor.recipe.seeds.worst_rows:
        rows = auditor.choose_seeds(rows)
        _train(laboratory, rows, console, "Training more seeds of the worst rows,")
    return rows


def _train(laboratory: Laboratory, rows: list[Row], console: Console, words: str) -> None:
    tasks = plan_tasks(rows, laboratory.is_partial)
    known = sum(laboratory.known(task) is not None for task in tasks)
    if known:
        console.note(f"{known} of {len(tasks)} victims are known already")
    total = len(tasks) * laboratory.bench.recipe.victim.steps
    with console.stage(f"{words} {len(tasks)} victims") as report:
        for number, task in enumerate(tasks):
            laboratory.make(task, partial(_report_step, report, number, total))


def _report_step(report: Report, finished: int, total: int, step: int, steps: int) -> None:
    report(finished * steps + step, total)


def _require_images(found: int, rows: list[Row], recipe: AuditRecipe) -> None:
    """Refuse a holdout from which accuracy cannot be known as well as the recipe asks."""
    statistics = recipe.statistics
    most = max(sum(row.tier == tier for row in rows) for tier in TIERS)
    needed = images_needed(statistics.half_width, statistics.confidence, most)
    if found < needed:
        raise InputError(
            f"{found} test images are too few: accuracy to within {statistics.half_width:.1%} for the {most} rows of "
            f"a tier takes {needed}; give more with --holdout, or ask for less with --set statistics.half_width=..."
        )


def _recorded(folder: AuditFolder, options: AuditOptions) -> AbstractContextManager[None]:
    if folder.run is None or options.plan:
        return nullcontext()
    return RunFolder(folder.run.path).adopted()


def _title(target: Target, location: Path) -> str:
    chosen = target.facts.owner.pretty_name if target.facts else None
    return chosen or location.resolve().name
