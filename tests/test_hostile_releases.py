"""Releases that somebody made to exhaust whoever verifies them: refused in one line, with little memory."""

import base64
import io
import json
import os
import struct
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rem_release.release.canonical import seal
from rem_release.release.documents import FACTS, describe_files, read_facts
from rem_release.release.facts import data_digest
from tests.loopback_hub import LoopbackHub

SHARD = "data/train-00000-of-00001.parquet"
MAX_MEGABYTES = 400
"""more than a process takes that verifies a small sound release"""
SOUND = Path(__file__).with_name("release_0_2_0")
VERIFY = """
import json, resource, sys, time
from tests.command_line import run
from tests.memory import peak_of

assert run("verify", sys.argv[1]).code == 0
for line in sys.stdin:
    most = int(time.process_time()) + 120  # seconds; instead of a test without an end
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
    result, peak = peak_of(lambda: run("verify", *json.loads(line)))
    print(json.dumps([result.code, result.out, result.err, peak // 1_000_000]), flush=True)
"""


@cache
def start(env: tuple[tuple[str, str], ...] = ()) -> "subprocess.Popen[str]":
    """A process that verifies what it is told to; it has verified a sound release, and lives as long as the tests."""
    return subprocess.Popen(
        [sys.executable, "-c", VERIFY, str(SOUND)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **dict(env)},
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def verify(*arguments: object, env: dict[str, str] | None = None) -> str:
    """What verify says in a process of its own; it must fail as a release that is not what it says."""
    process = start(tuple((env or {}).items()))
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
    process.stdin.flush()
    code, out, err, megabytes = json.loads(process.stdout.readline())
    assert code == 1, (out, err)
    assert "Traceback" not in err
    assert megabytes < MAX_MEGABYTES
    return str(out + err)


def reseal(release: Path, rows: int, **data: Any) -> None:
    """Facts that fit the files as they are now, and so many rows of the first class."""
    files = describe_files(release)
    facts = read_facts(release)
    counts = {"images": rows, "protected": rows, "class_counts": [rows, 0], "split_images": {"train": rows}}
    stated = facts.data.model_copy(update={**counts, "resized_noise": 0, **data})
    changed = facts.model_copy(update={"files": files, "digest": data_digest(files), "data": stated})
    (release / FACTS).write_bytes(seal(changed.model_dump(mode="json")))


def write_rows(release: Path, images: list[dict[str, Any] | None], **options: Any) -> None:
    """A data file of these images, all of the first class."""
    schema = pq.read_schema(release / SHARD)
    columns = [pa.array(images, schema.field("image").type), pa.array([0] * len(images), schema.field("label").type)]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), release / SHARD, **options)


def pack(width: int, height: int) -> bytes:
    """A black PNG, packed as small as it goes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packer, packed = zlib.compressobj(9), io.BytesIO()
    line = bytes(1 + 3 * width)
    for _ in range(height):
        packed.write(packer.compress(line))
    packed.write(packer.flush())
    chunks = ((b"IHDR", header), (b"IDAT", packed.getvalue()), (b"IEND", b""))
    frame = struct.Struct(">I")
    framed = (frame.pack(len(body)) + kind + body + frame.pack(zlib.crc32(kind + body)) for kind, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_images_that_unpack_to_gigabytes(run_copy: Path) -> None:
    """64 million pixels in a fifth of a megabyte, forty times; the facts say so."""
    release, side = run_copy / "release", 8_000
    png = pack(side, side)
    images = [{"bytes": png, "path": f"{row:09d}.png"} for row in range(40)]
    write_rows(release, images, use_dictionary=["label"], write_statistics=["label"])
    assert (release / SHARD).stat().st_size < 10_000_000
    reseal(release, 40, smallest=(side, side), largest=(side, side))
    assert "announces 8000 x 8000 pixels in " in verify(release)


def test_images_above_the_largest_of_the_facts(run_copy: Path) -> None:
    release = run_copy / "release"
    png = pack(3000, 3000)
    images = [{"bytes": png, "path": f"{row:09d}.png"} for row in range(40)]
    write_rows(release, images, use_dictionary=["label"], write_statistics=["label"])
    reseal(release, 40)
    assert "announces 3000 x 3000 pixels, more than the largest image" in verify(release)


@pytest.mark.parametrize("options", [{"use_dictionary": True}, {"compression": "zstd"}, {"compression": "gzip"}])
def test_one_large_image_that_many_rows_show(run_copy: Path, options: dict[str, Any]) -> None:
    """A few kilobytes that say a hundred times: the same hundred megabytes."""
    release = run_copy / "release"
    write_rows(
        release, [{"bytes": bytes(30_000_000), "path": "000000000.png"}] * 8, write_statistics=["label"], **options
    )
    reseal(release, 8)
    assert "file bytes: " in verify(release)


def test_text_that_many_rows_show(run_copy: Path) -> None:
    release, rows = run_copy / "release", 4000
    facts = read_facts(release)
    features = json.loads(facts.data.features) | {"note": {"dtype": "string", "_type": "Value"}}
    schema = pq.read_schema(release / SHARD)
    note = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    schema = schema.append(pa.field("note", pa.string())).with_metadata(note)
    png = pack(8, 8)
    columns = [
        pa.array([{"bytes": png, "path": f"{row:09d}.png"} for row in range(rows)], schema.field("image").type),
        pa.array([0] * rows, schema.field("label").type),
        pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * 900_000])),
    ]
    fields = [*list(schema)[:2], pa.field("note", columns[2].type)]
    table = pa.Table.from_arrays(columns, schema=pa.schema(fields))
    arrow = {"ARROW:schema": base64.b64encode(schema.serialize().to_pybytes()).decode()}
    options: dict[str, Any] = {"store_schema": False, "use_dictionary": ["note"], "write_statistics": ["label"]}
    with pq.ParquetWriter(release / SHARD, table.schema, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({**arrow, "huggingface": note[b"huggingface"].decode()})
    assert (release / SHARD).stat().st_size < 1_000_000
    reseal(release, rows, columns=["image", "label", "note"], features=json.dumps(features))
    assert "which is too much" in verify(release)


def test_millions_of_rows_in_a_few_bytes(run_copy: Path) -> None:
    release, rows = run_copy / "release", 4_000_000
    write_rows(release, [None] * rows, use_dictionary=["label"], write_statistics=["label"])
    assert (release / SHARD).stat().st_size < 100_000
    reseal(release, rows)
    assert "more rows than its bytes can hold" in verify(release)


@pytest.mark.parametrize("name", ["protection.json", "README.md"])
def test_documents_without_end(run_copy: Path, name: str) -> None:
    with (run_copy / "release" / name).open("r+b") as file:
        file.truncate(5_000_000_000)
    assert f"{name} has 5,000,000,000 bytes" in verify(run_copy / "release")


def test_facts_that_list_files_without_end(run_copy: Path) -> None:
    """Forty thousand data files that are not there."""
    release = run_copy / "release"
    facts, count = read_facts(release), 40_000
    file = facts.files[SHARD]
    names = [f"data/train-{index:05d}-of-{count:05d}.parquet" for index in range(count)]
    changed = facts.model_copy(update={"files": {**facts.files, **dict.fromkeys(names, file)}})
    (release / FACTS).write_bytes(seal(changed.model_dump(mode="json")))
    assert (release / FACTS).stat().st_size < 8_000_000
    assert "facts" in verify(release)


def test_a_repository_that_is_larger_than_it_says_is_not_downloaded(
    run_copy: Path, tmp_path: Path, process_env: dict[str, str]
) -> None:
    release = run_copy / "release"
    with LoopbackHub(tmp_path / "hub") as hub:
        env = {**process_env, **hub.environment(tmp_path / "home")}
        names = [path.relative_to(release).as_posix() for path in release.rglob("*") if path.is_file()]
        files = {name: (release / name).read_bytes() for name in names}
        hub.create_repo("owner/large").plant({**files, SHARD: files[SHARD] + bytes(3_000_000)})
        said = verify("owner/large", env=env)
        assert f"{SHARD} has 3,003," in said
        assert "was not downloaded" in said
        assert not any("resolve" in request.path and SHARD in request.path for request in hub.requests)
