"""What this run has published before: its receipts, and which images were published in which form.

`private/push.json` holds every receipt, the newest last; `private/published-<digest>.parquet` the images of each.
Both outlive `protect --overwrite`, as what is out stays out. Not seen: images that other runs published, and
originals that were shrunk to another size in between.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.atomic_files import written_atomically
from rem_release.data.images.decoding import BadImage
from rem_release.data.images.pixels import pixel_hash
from rem_release.data.images.png_writing import decode_released
from rem_release.data.in_order import map_in_order
from rem_release.data.shards import ReleasedRow, iterate_rows
from rem_release.errors import InputError
from rem_release.release.facts import Facts
from rem_release.release.private_record import read_row_map
from rem_release.release.run_folder import RunFolder
from rem_release.verification.report import Check, Faults

_NAME = "earlier pushes"
_ADVICE = (
    "two versions of an image average the noise away. Publish the same bytes again, or first delete that repository "
    "there and then its entry in {}"
)
_COLUMNS = ("clean_sha256", "released_sha256")
ImageHashes = tuple[str, str]
"""(hash of the original's pixels, sha256 of the released file)"""


def read_receipts(run: RunFolder) -> list[dict[str, Any]]:
    """Every receipt of a run, the newest last; a document that is one single receipt counts as a list of one.

    Raises:
        InputError: the record is damaged.
    """
    if not run.receipt.is_file():
        return []
    document = run.read_json(run.receipt)
    receipts = document.get("pushes", [document]) if isinstance(document, dict) else None
    if not isinstance(receipts, list) or not all(_is_receipt(one) for one in receipts):
        raise InputError(f"{run.receipt} is damaged: it is not a list of pushes; restore it, it says what is published")
    return receipts


def _is_receipt(one: Any) -> bool:
    return isinstance(one, dict) and all(isinstance(one.get(key), str) for key in ("repo", "url", "digest"))


def keep_receipt(run: RunFolder, receipt: dict[str, Any]) -> None:
    """Add a receipt, or one of a push that begins, whose `commit` is None until the push has ended.

    Raises:
        InputError: the record is damaged.
    """
    run.private.mkdir(mode=0o700, exist_ok=True)
    same = {key: receipt[key] for key in ("url", "digest")} | {"commit": None}
    others = [one for one in read_receipts(run) if {key: one.get(key) for key in same} != same]
    run.write_json(run.receipt, {"pushes": [*others, receipt | {"source": read_source(run)}]})


def read_source(run: RunFolder) -> str | None:
    """The source of a run as it was given; None where the run does not say."""
    source = run.read_options().get("source")
    return source.get("source") if isinstance(source, dict) else None


def keep_images(run: RunFolder, release: Path, facts: Facts) -> None:
    """Note which images are about to be published, beside those that were published with the same data before.

    Args:
        run: the run; without its record of rows nothing is noted.
        release: the folder.
        facts: of it.

    Raises:
        InputError: the record is damaged.
    """
    if not run.rows.is_file():
        return
    path = run.published(facts.digest)
    images = sorted({*(_read_images(path) or []), *_list_images(run, release, facts)})
    with written_atomically(path) as temporary:
        pq.write_table(pa.table([pa.array(values) for values in zip(*images, strict=True)], _COLUMNS), temporary)


def _read_images(path: Path) -> list[ImageHashes] | None:
    """What a push noted; None where it noted nothing.

    Raises:
        InputError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        columns = [pq.read_table(path, columns=[name]).column(0).to_pylist() for name in _COLUMNS]
    except (pa.ArrowException, OSError, KeyError, IndexError) as error:
        raise InputError(
            f"{path} is damaged: {str(error).splitlines()[0]}; restore it, it says what is published"
        ) from None
    return list(zip(*columns, strict=True))


def _list_images(run: RunFolder, release: Path, facts: Facts) -> Iterator[ImageHashes]:
    """The images of a release, those of a clean split included, which are their own originals."""
    column = facts.data.image_column
    records = read_row_map(run.rows)
    if len(records) != facts.data.images:
        raise InputError(f"{run.rows} is of another release: it records {len(records)} rows, not {facts.data.images}")
    names = sorted(name for name, file in facts.files.items() if file.rows is not None)
    protected = [release / name for name in names if name.startswith("data/")]
    for row in iterate_rows(protected, [], column):
        yield records[row.number].clean_sha256, hashlib.sha256(row.png or b"").hexdigest()
    clean = [release / name for name in names if not name.startswith("data/")]
    yield from map_in_order(_hash_clean, iterate_rows(clean, [], column))


def _hash_clean(row: ReleasedRow) -> ImageHashes:
    png = row.png or b""
    return pixel_hash(decode_released(png)), hashlib.sha256(png).hexdigest()


def check_earlier_pushes(run: RunFolder, release: Path, facts: Facts, url: str) -> Check:
    """Whether this run has published one of these images in another form, and in another repository.

    The repository that is pushed to is looked at itself, by `check_second_noise`. Where a receipt does not say which
    images it is about, another release of the same source counts as one of the same images.

    Args:
        run: the run.
        release: the folder; its files have been verified.
        facts: of it.
        url: of the repository that is pushed to.

    Raises:
        InputError: a record of the run is damaged.
    """
    latest = {(one["url"], one["digest"]): one for one in read_receipts(run) if one["url"].lower() != url.lower()}
    if not latest:
        return Check(_NAME, True, "this run has published nothing elsewhere")
    try:
        mine = set(_list_images(run, release, facts)) if run.rows.is_file() else None
    except BadImage as error:
        return Check(_NAME, False, f"an image of the clean split cannot be read: {error}")
    faults, unknown = Faults(), []
    for receipt in latest.values():
        where = f"{receipt['url']} (digest {receipt['digest'][:12]})"
        theirs = _read_images(run.published(receipt["digest"]))
        if mine is not None and theirs is not None:
            if count := _count_other_forms(mine, theirs):
                faults.add(f"{count} of these images are published in another form, or were being sent, at {where}")
        elif receipt["digest"] != facts.digest and receipt.get("source") in (None, ""):
            unknown.append(where)
        elif receipt["digest"] != facts.digest and receipt["source"] == read_source(run):
            faults.add(f"{where} holds another release of the same source, and its images are not on record")
    return _conclude(faults, unknown, len(latest), run.receipt)


def _count_other_forms(mine: set[ImageHashes], theirs: Iterable[ImageHashes]) -> int:
    """How many originals are among both, released otherwise."""
    originals = {clean for clean, _ in mine}
    return len({clean for clean, released in theirs if clean in originals and (clean, released) not in mine})


def _conclude(faults: Faults, unknown: list[str], places: int, record: Path) -> Check:
    if not faults.count and unknown:
        return Check(
            _NAME, None, f"{'; '.join(unknown)}: it is not on record which images were published, nor their source"
        )
    check = faults.conclude(_NAME, f"none of these images is published in another form at {places} other places")
    return check if check.passed else Check(_NAME, False, f"{check.detail}; {_ADVICE.format(record)}")
