"""What an audit found: its circumstances, and the answers of its victims."""

from fractions import Fraction

import numpy as np

from rem_release.audit.ledger import VictimRecord
from rem_release.audit.naming import device_name, versions
from rem_release.audit.runner import VictimRunner
from rem_release.radius import format_radius
from rem_release.release.certificate import AttemptFacts, Circumstances, HoldoutSource, LearnabilityFacts
from rem_release.verdict.evidence import Answers, Evidence, number_clusters
from rem_release.verdict.learnability import bound_learnability
from rem_release.verdict.plan import Row, plan_tasks


def list_records(runner: VictimRunner, rows: list[Row]) -> list[VictimRecord]:
    """The records of all victims of the rows, each once; they are known."""
    records = []
    for task in plan_tasks(rows, runner.setup.is_partial, runner.seeds):
        record = runner.known(task)
        assert record is not None, f"no record of {task.key}"
        records.append(record)
    return records


def gather_evidence(runner: VictimRunner, records: list[VictimRecord]) -> Evidence:
    """The answers of all victims."""
    holdout = runner.setup.holdout
    victims = [
        Answers(
            task=(record.architecture, record.threat, record.trained_on, record.seed),
            finite=record.finite,
            train_accuracy=record.train_accuracy,
            fit=record.fit,
            attack_gain=record.attack_gain,
            steps=np.array(record.steps),
            named=record.named(len(holdout)),
        )
        for record in records
    ]
    return Evidence(
        holdout.labels.astype(np.int32), number_clusters(holdout.clusters), {victim.task: victim for victim in victims}
    )


def describe_circumstances(
    runner: VictimRunner,
    records: list[VictimRecord],
    rho_a: Fraction,
    recipe_name: str,
    attempts: AttemptFacts | None,
) -> Circumstances:
    """What the audit was made of.

    Args:
        runner: in which the victims were trained.
        records: of all victims.
        rho_a: the radius that the adversarial tier covers.
        recipe_name: for the certificate.
        attempts: what the run remembers of earlier audits.
    """
    setup = runner.setup
    target, holdout, recipe = setup.target, setup.holdout, setup.recipe
    return Circumstances(
        digest=target.digest,
        clean_digest=runner.seeds.clean,
        method=target.facts.protection.method if target.facts else None,
        source=target.source_model or recipe.victim.source_model,
        partial=setup.is_partial,
        classes=target.classes,
        images=len(holdout.train_rows),
        rho_u=format_radius(setup.rho_u),
        rho_a=format_radius(rho_a),
        holdout=HoldoutSource(origin=holdout.origin, digest=runner.test_digest, dropped=holdout.dropped),
        learnability=_bound_learnability(runner, records),
        attempts=attempts,
        cached=sum(record.cached for record in records),
        recipe_name=recipe_name,
        recipe=recipe.published(),
        versions=versions(),
        device=device_name(runner.accelerator),
    )


def _bound_learnability(runner: VictimRunner, records: list[VictimRecord]) -> LearnabilityFacts | None:
    asked = runner.setup.recipe.learnability
    for record in records:
        if record.learnability is not None:
            return bound_learnability(record.architecture, record.learnability, asked)
    return None
