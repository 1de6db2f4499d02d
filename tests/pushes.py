"""Pushes in tests: runs that are ready to be published, and the command against a loopback Hub."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.audit.publish import AuditFolder, publish_audit
from rem_release.data.shards import ShardWriter
from rem_release.release.documents import describe_files, read_facts, write_documents
from rem_release.release.facts import data_digest
from rem_release.release.schema import read_features
from tests.certificates import make_certificate, make_curves, make_row
from tests.command_line import Result, start


def certify(run: Path, passed: bool = True) -> Path:
    """Put a certificate on a run as if it had been audited, with figures, curves and report."""
    facts = read_facts(run / "release")
    count = len(facts.data.classes)
    protected = 1.05 / count if passed else 0.9
    rows = [
        make_row("standard", protected=protected, classes=count),
        make_row(
            *("adversarial", "resnet18", "pgd(radius=4/255)", "adversarial training (L∞, 4/255)", "4/255"),
            protected=protected,
            classes=count,
        ),
    ]
    certificate = make_certificate(
        rows,
        digest=facts.digest,
        classes=facts.data.classes,
        rho_u=facts.protection.rho_u,
        rho_a=facts.protection.rho_a,
        images=facts.data.images,
    )
    assert certificate.passed == passed
    folder = AuditFolder.of(run, None)
    folder.open(resume=False)
    publish_audit(folder, certificate, make_curves(certificate), "pets")
    return run


def cut_into_shards(run: Path, rows: int) -> Path:
    """Write the data files of a run once more, with so many rows in each; a certificate goes."""
    release = run / "release"
    facts = read_facts(release)
    table = pa.concat_tables(pq.read_table(path) for path in sorted((release / "data").glob("*.parquet")))
    shutil.rmtree(release / "data")
    (release / "audit.json").unlink(missing_ok=True)
    column = facts.data.image_column
    with ShardWriter(release, facts.data.split, read_features(facts.data.features), column, 10**9, 10**9) as writer:
        for first in range(0, len(table), rows):
            part = table.slice(first, rows)
            writer.write([image["bytes"] for image in part.column(column).to_pylist()], part.drop_columns(column))
            writer._write_row_group()
            writer._end_shard()
    files = describe_files(release)
    write_documents(release, facts.model_copy(update={"files": files, "digest": data_digest(files)}))
    return run


def push(run: Path, repo: str, env: dict[str, str], *options: object) -> Result:
    """`rem-release push` as a process of its own."""
    process = start("push", run, repo, *options, env=env)
    out, err = process.communicate(timeout=300)
    return Result(process.returncode, out, err)


def read_receipt(run: Path) -> dict[str, Any]:
    """`private/push.json`."""
    return json.loads((run / "private" / "push.json").read_bytes())


def push_many(env: dict[str, str], pushes: list[tuple[object, ...]]) -> list[Result]:
    """Several `rem-release push`, one after the other in one new process, which imports everything only once."""
    lines = [json.dumps([str(argument) for argument in ("push", *arguments)]) for arguments in pushes]
    process = subprocess.run(
        [sys.executable, "-c", _WORKER],
        input="\n".join(lines),
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return [Result(*json.loads(line)) for line in process.stdout.splitlines()]


_WORKER = """
import json, sys
from tests.command_line import run
for line in sys.stdin.read().splitlines():
    result = run(*json.loads(line))
    print(json.dumps([result.code, result.out, result.err]), flush=True)
"""
