"""Pushes in tests: runs that are ready to be published, and the receipt."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.audit.publish import AuditFolder, publish_audit, write_answers
from rem_release.data.shards import ShardWriter
from rem_release.release.documents import describe_files, read_facts, write_documents
from rem_release.release.facts import data_digest
from rem_release.release.schema import read_features
from rem_release.verdict.certify import certify as make_again
from tests.certificates import make_curves
from tests.evidence import answer, describe_release

MARKER = ".rem-release-copy"
MARKED = "A copy of a release, made by rem-release push, which may delete this folder.\n"


def leave_copy(run: Path, name: str = "push-0123456789abcdef0123456789abcdef") -> Path:
    """Put into `private/` what a push leaves there that is killed."""
    left = run / "private" / name
    shutil.copytree(run / "release", left / "release")
    (left / MARKER).write_text(MARKED)
    return left


def certify(run: Path, passed: bool = True) -> Path:
    """Put a certificate on a run as if it had been audited, with answers, figures, curves and report."""
    given = describe_release(read_facts(run / "release"))
    evidence = answer(given, {"protected": 1.05 / len(given.classes) if passed else 0.9})
    folder = AuditFolder.of(run, None)
    folder.open(resume=False)
    certificate = make_again(given, evidence, write_answers(folder, evidence))
    assert certificate.passed == passed
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


def read_receipt(run: Path) -> dict[str, Any]:
    """`private/push.json`."""
    return json.loads((run / "private" / "push.json").read_bytes())
