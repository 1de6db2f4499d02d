"""Assembles the certificate from what the victims learnt."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from rem_release.audit.calls import parse_calls, write_call
from rem_release.audit.curves import TrainedOn
from rem_release.audit.laboratory import Laboratory, device_name, versions
from rem_release.audit.learnability import learnability_bound
from rem_release.audit.ledger import VictimRecord
from rem_release.audit.parts import PARTS, Pgd
from rem_release.audit.plan import Row, Task, plan_tasks, trained_on
from rem_release.audit.recipe import AuditRecipe
from rem_release.audit.statistics import effective_images, half_width
from rem_release.audit.summary import summarise
from rem_release.audit.threats import Threat, parse_threat
from rem_release.audit.verdict import Found, Judge, rank_rows
from rem_release.radius import format_radius
from rem_release.recipe_files import hash_document
from rem_release.release.canonical import sha256_file
from rem_release.release.certificate import (
    TIERS,
    Certificate,
    HoldoutFacts,
    LearnabilityFacts,
    RowFacts,
)

_NEVER_COVERED = (
    "Diffusion purification of the images (AVATAR and its kin): published tests recover most of the accuracy with it.",
    "Self-supervised pretraining on the images, and other training without labels.",
    "People, and models that were trained on other images: the pictures stay recognisable to both.",
    "Victims that see the pictures at other sizes than those tested, or through another resizing.",
    "Networks, training budgets and methods that are not in the tables.",
)


@dataclass(frozen=True)
class Auditor:
    """Turns rows and records into facts.

    Attributes:
        laboratory: gives the records.
        recipe_name: for the certificate.
        rho_a: the radius that the adversarial tier covers.
    """

    laboratory: Laboratory
    recipe_name: str
    rho_a: Fraction

    @property
    def recipe(self) -> AuditRecipe:
        """The audit recipe."""
        return self.laboratory.bench.recipe

    @property
    def source(self) -> str:
        """The source network: what the release names, else what the recipe puts in its place."""
        return self.laboratory.bench.target.source_model or self.recipe.victim.source_model

    @property
    def judge(self) -> Judge:
        """What judges rows and tiers."""
        bench = self.laboratory.bench
        return Judge(self.recipe, bench.holdout.labels, len(bench.target.classes), self.rho_a)

    def judge_rows(self, rows: list[Row]) -> list[RowFacts]:
        """The facts of rows whose victims are all known."""
        return self.judge.judge_rows([self._gather(row) for row in rows])

    def choose_seeds(self, rows: list[Row]) -> list[Row]:
        """The same rows with more seeds for the worst: of each tier the valid ones with the highest bounds."""
        facts, seeds = self.judge_rows(rows), self.recipe.seeds
        valid = [[index for index in rank_rows(facts, tier) if facts[index].valid] for tier in TIERS]
        worst = {index for indices in valid for index in indices[: seeds.worst_rows]}
        return [replace(row, seeds=seeds.worst) if index in worst else row for index, row in enumerate(rows)]

    def certify(self, rows: list[Row]) -> Certificate:
        """The certificate over all rows."""
        bench, statistics = self.laboratory.bench, self.recipe.statistics
        facts = self.judge_rows(rows)
        tiers = [self.judge.judge_tier(tier, facts) for tier in TIERS]
        passed = all(tier.outcome == "passed" for tier in tiers if tier.required) and any(t.required for t in tiers)
        most = max((sum(row.tier == tier for row in facts) for tier in TIERS), default=1)
        holdout, published = bench.holdout, _publish(self.recipe)
        return Certificate(
            digest=bench.target.digest,
            passed=passed,
            summary=summarise(passed, tiers, facts, self.recipe, self.source),
            tiers=tiers,
            rows=facts,
            classes=bench.target.classes,
            chance=self.judge.chance,
            images=len(holdout.train_rows),
            rho_u=format_radius(bench.rho_u),
            rho_a=format_radius(self.rho_a),
            holdout=HoldoutFacts(
                origin=holdout.origin,
                images=len(holdout),
                dropped=holdout.dropped,
                majority=float(np.bincount(holdout.labels).max() / len(holdout)),
                digest=self.laboratory.test_set(Threat()).digest,
                half_width=half_width(effective_images(holdout.labels), statistics.confidence, max(most, 1)),
            ),
            learnability=self._bound_learnability(rows),
            confidence=statistics.confidence,
            resamples=statistics.resamples,
            recipe_name=self.recipe_name,
            recipe=published,
            recipe_sha256=hash_document(published),
            versions=versions(),
            device=device_name(self.laboratory.accelerator),
            not_covered=self._list_not_covered(facts),
        )

    def records(self, rows: list[Row]) -> list[VictimRecord]:
        """All records of the rows, each once."""
        return [self._record(task) for task in plan_tasks(rows, self.laboratory.is_partial)]

    def _gather(self, row: Row) -> Found:
        def victims(kind: TrainedOn) -> list[VictimRecord]:
            return [self._record(row.task(kind, seed)) for seed in range(row.seeds)]

        has_floor = "clean part" in trained_on(row, self.laboratory.is_partial)
        return Found(
            row=row,
            protected=victims("protected"),
            clean=victims("clean"),
            random=victims("random"),
            floor=victims("clean part") if has_floor else None,
            reference=[self._record(row.reference(seed)) for seed in range(row.seeds)],
        )

    def _record(self, task: Task) -> VictimRecord:
        record = self.laboratory.known(task)
        assert record is not None, f"no record of {task.name}"
        return record

    def _bound_learnability(self, rows: list[Row]) -> LearnabilityFacts | None:
        asked = self.recipe.learnability
        for record in self.records(rows):
            if record.learnability is not None:
                bound = learnability_bound(np.array(record.learnability), asked.q, asked.sigma, asked.eta)
                return LearnabilityFacts(
                    architecture=record.architecture,
                    samples=len(record.learnability),
                    sigma=asked.sigma,
                    q=asked.q,
                    eta=asked.eta,
                    bound=bound,
                )
        return None

    def _list_not_covered(self, rows: list[RowFacts]) -> list[str]:
        found = [f"The {tier} tier: the recipe does not test it." for tier in TIERS if not _has(rows, tier)]
        if not any("pretrained" in row.architecture for row in rows):
            found.append("A pretrained backbone that is fine-tuned on the images.")
        threats = [parse_threat(row.threat) for row in rows if row.valid]
        tried = {type(part) for threat in threats for part in threat.parts}
        untried = [name for name, part in PARTS.items() if part not in tried]
        if untried:
            found.append(f"Threats that were not tried, or gave no valid row: {', '.join(untried)}.")
        attacks = [part for threat in threats if (part := threat.find(Pgd))]
        if not any(part.norm == "linf" and part.size > self.rho_a for part in attacks):
            found.append("Adversarial training at radii above ρ_a, which published tests found to undo such noise.")
        if not {"l1", "l2"} <= {part.norm for part in attacks}:
            found.append("Adversarial training in both of the norms L1 and L2.")
        if self.laboratory.bench.holdout.origin != "given":
            found.append("Test images from elsewhere: these come from the same source as the release.")
        return [*found, *_NEVER_COVERED]


def _has(rows: list[RowFacts], tier: str) -> bool:
    return any(row.tier == tier for row in rows)


def _publish(recipe: AuditRecipe) -> dict[str, Any]:
    """The recipe as the certificate shows it: a weights file by its name and hash, not by its place on a machine."""
    document = recipe.to_dict()
    for tier in document["tiers"].values():
        tier["architectures"] = [_without_path(text) for text in tier["architectures"]]
    return document


def _without_path(text: str) -> str:
    ((name, parameters),) = parse_calls(text)
    if "weights" not in parameters:
        return text
    path = Path(parameters["weights"])
    return write_call(name, parameters | {"weights": f"{path.name} sha256:{sha256_file(path)}"})
