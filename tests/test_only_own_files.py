"""Nothing that is not ours is deleted: folders that only look like runs, files among ours, and what links lead to."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rem_release.errors import InputError
from rem_release.release.deletion import PRIVATE, RELEASE, delete_own, require_own
from tests.audit_commands import protect, write_inputs
from tests.audits import QUICK, write_audit_recipe
from tests.command_line import draw, draw_classes, run, same_release, snapshot, start, succeed
from tests.pushes import certify, leave_copy


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `write_inputs`; and `quick.yaml`. Not to be changed."""
    folder = write_inputs(tmp_path_factory.mktemp("inputs"))
    write_audit_recipe(folder / "quick.yaml", **QUICK)
    return folder


def refuse(mine: Path, *arguments: object, at_once: bool = True) -> str:
    """The command is refused in one line, and everything in `mine` stays as it was; returns the line.

    Not at once: only when it has read, which it says.
    """
    before = snapshot(mine)
    result = run(*arguments)
    assert snapshot(mine) == before
    assert result.code == 2, result
    *warnings, line = result.err.splitlines()
    assert not at_once or all(warning.startswith("warning: ") for warning in warnings), result.err
    assert line.startswith("error: ")
    return line


# --- folders that only look like a run


LOOKS: list[dict[str, str]] = [
    {"private/status.json": "{}"},
    {"private/push.json": "{}"},
    {"private/push.json": '{"pushes": []}', "private/status.json": '{"state": "done"}'},
    {"private/options.json": "{}"},
    {"private/options.json": '{"source": "me", "recipe": "cake"}'},
    {"private/options.json": "[" * 100_000},
]


@pytest.mark.parametrize("files", LOOKS, ids=range(len(LOOKS)))
def test_a_folder_that_only_looks_like_a_run_is_left_alone(
    tmp_path: Path, photographs: Path, recipe: Path, files: dict[str, str]
) -> None:
    out = tmp_path / "mine"
    mine = {"release/thesis.txt": "dear", "private/diary.txt": "dear", "audit/cat.png": "dear"}
    for name, text in (files | mine).items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)
    for option in ("--overwrite", "--resume"):
        line = refuse(out, "protect", photographs, "--out", out, "--recipe", recipe, option)
        assert "not empty and not a run" in line or "options.json is damaged" in line
    assert "is not a run" in refuse(tmp_path, "demo", "--out", out, "--overwrite")
    assert "is not a run folder" in refuse(
        tmp_path, "protect", photographs, "--out", tmp_path / "new", "--generator", out
    )


def test_an_attack_on_a_command_as_it_is_started(
    tmp_path: Path, run_copy: Path, photographs: Path, recipe: Path, process_env: dict[str, str]
) -> None:
    """As a process of its own; below, commands run in this one."""
    source = Path(shutil.copytree(photographs, tmp_path / "source"))
    (run_copy / "audit").mkdir()
    shutil.move(source / "cat", run_copy / "audit/cat")
    (source / "cat").symlink_to(run_copy / "audit/cat")
    before = snapshot(tmp_path)
    process = start("protect", source, "--out", run_copy, "--recipe", recipe, "--overwrite", env=process_env)
    out, err = process.communicate()
    assert snapshot(tmp_path) == before
    assert (process.returncode, out, err.count("\n")) == (2, "", 1), err
    assert "lies in" in err


# --- originals that lie in the run


CHAIN = ("chain", "link of a folder", "link of files", "run in the way")


@pytest.mark.parametrize("place", ["audit/mine", "release/mine", "private/mine", "private/reserve/data", "mine"])
@pytest.mark.parametrize("how", CHAIN)
def test_originals_in_the_run_are_refused_before_anything_is_deleted(
    tmp_path: Path, run_copy: Path, recipe: Path, place: str, how: str
) -> None:
    source = draw_classes(tmp_path / "source")
    inside = run_copy / place / "cat"
    inside.parent.mkdir(parents=True, exist_ok=True)
    (source / "cat").rename(inside)
    if how == "link of files":
        (source / "cat").mkdir()
        for image in inside.iterdir():
            (source / "cat" / image.name).symlink_to(image)
    elif how == "chain":
        (tmp_path / "first").symlink_to(inside.parent)
        (tmp_path / "second").symlink_to(tmp_path / "first" / "cat")
        (source / "cat").symlink_to(os.path.relpath(tmp_path / "second", source))
    elif how == "run in the way":  # RUN is a link, and the source leads through it
        (tmp_path / "other").symlink_to(run_copy)
        (source / "cat").symlink_to(tmp_path / "other" / place / "cat")
    else:
        (source / "cat").symlink_to(inside)
    line = refuse(tmp_path, "protect", source, "--out", run_copy, "--recipe", recipe, "--overwrite")
    assert f"the source: {source / 'cat' / '0.png'} lies in {run_copy}, or leads there" in line


def write_metadata(source: Path, inside: Path) -> None:
    draw_classes(inside)
    source.mkdir()
    (source / "images").symlink_to(inside)
    names = [f"images/{name}/{index}.png" for name in ("cat", "dog") for index in range(4)]
    rows = "".join(f"{name},{name.split('/')[1]}\n" for name in names)
    (source / "metadata.csv").write_text(f"file_name,label\n{rows}")


def make_table(folder: Path) -> pa.Table:
    pngs = []
    for index in range(8):
        draw(folder / "p.png", index)
        pngs.append((folder / "p.png").read_bytes())
    (folder / "p.png").unlink()
    return pa.table({"image": pngs, "label": ["cat", "dog"] * 4})


def write_parquet(source: Path, inside: Path) -> None:
    inside.mkdir(parents=True)
    pq.write_table(make_table(inside), inside / "train.parquet")
    source.mkdir()
    (source / "train.parquet").symlink_to(inside / "train.parquet")


def write_parquet_of_paths(source: Path, inside: Path) -> None:
    """Cells without bytes, which name files."""
    draw_classes(inside)
    source.mkdir()
    cells = [{"bytes": None, "path": str(path)} for path in sorted(inside.rglob("*.png"))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    table = pa.table({"image": cells, "label": ["cat"] * 4 + ["dog"] * 4}, schema=features.arrow_schema)
    pq.write_table(table, source / "train.parquet")


def write_saved(source: Path, inside: Path) -> None:
    inside.mkdir(parents=True)
    datasets.Dataset(make_table(inside)).save_to_disk(str(source))
    for arrow in source.glob("*.arrow"):
        arrow.rename(inside / arrow.name)
        arrow.symlink_to(inside / arrow.name)


@pytest.mark.parametrize("write", [write_metadata, write_parquet, write_parquet_of_paths, write_saved])
def test_tables_whose_files_lie_in_the_run_are_refused(
    tmp_path: Path, run_copy: Path, recipe: Path, write: Callable[[Path, Path], None]
) -> None:
    write(tmp_path / "source", run_copy / "audit/mine")
    line = refuse(tmp_path, "protect", tmp_path / "source", "--out", run_copy, "--recipe", recipe, "--overwrite")
    assert f"lies in {run_copy}, or leads there" in line


def link_to(file: Path, inside: Path) -> None:
    """Move a file to a place in the run whose name is ours, and leave a link."""
    inside.parent.mkdir(parents=True, exist_ok=True)
    inside.unlink(missing_ok=True)
    file.rename(inside)
    file.symlink_to(inside)


def write_described(source: Path, kind: str) -> None:
    """Images, and a metadata file beside them."""
    draw_classes(source)
    names = [f"{name}/{index}.png" for name in ("cat", "dog") for index in range(4)]
    table = pa.table({"file_name": names, "label": [name[:3] for name in names]})
    if kind == "csv":
        pa.csv.write_csv(table, source / "metadata.csv")
    elif kind == "jsonl":
        (source / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))
    else:
        pq.write_table(table, source / "metadata.parquet")


def write_kept(source: Path, kind: str) -> None:
    """What `datasets` makes: a saved data set, or a repository of Parquet files."""
    source.mkdir()
    data = datasets.Dataset(make_table(source))
    if kind == "saved":
        data.save_to_disk(str(source))
    elif kind == "saved splits":
        datasets.DatasetDict(train=data, test=data).save_to_disk(str(source))
    else:
        (source / "data").mkdir()
        for split in ("train", "test"):
            data.to_parquet(source / f"data/{split}-00000-of-00001.parquet")
        (source / "README.md").write_text("---\npretty_name: Pets\n---\n")


SMALL = "private/skipped.csv"
DESCRIBED = {
    "csv": (write_described, "metadata.csv", SMALL),
    "jsonl": (write_described, "metadata.jsonl", "private/times.json"),
    "parquet metadata": (write_described, "metadata.parquet", "private/rows.parquet"),
    "saved": (write_kept, "state.json", SMALL),
    "saved ": (write_kept, "dataset_info.json", SMALL),
    "saved splits": (write_kept, "dataset_dict.json", SMALL),
    "saved splits ": (write_kept, "train/state.json", SMALL),
    "saved splits  ": (write_kept, "train/dataset_info.json", SMALL),
    "parquet": (write_kept, "README.md", SMALL),
    "parquet of another split": (write_kept, "data/test-00000-of-00001.parquet", "private/rows.parquet"),
}


@pytest.mark.parametrize(
    ("kind", "split"),
    [
        (kind, split)
        for kind in DESCRIBED
        for split in ("train", "test+train")
        if split == "train" or kind.strip() != "saved"  # which is one split
    ],
)
def test_every_file_that_is_read_lies_apart_from_the_run(
    tmp_path: Path, run_copy: Path, recipe: Path, kind: str, split: str
) -> None:
    """Labels, columns and features, too: they would be deleted under a name that is ours."""
    write, name, place = DESCRIBED[kind]
    if split != "train" and write is write_described:
        for one in ("train", "test"):
            write(tmp_path / "source" / one, kind)
        name = f"train/{name}"
    else:
        write(tmp_path / "source", kind.strip())
    link_to(tmp_path / "source" / name, run_copy / place)
    command = ("protect", tmp_path / "source", "--out", run_copy, "--recipe", recipe, "--split", split, "--overwrite")
    line = refuse(tmp_path, *command)
    assert f"the source: {tmp_path / 'source' / name} lies in {run_copy}, or leads there" in line


def test_a_release_is_not_the_source_of_the_run_that_replaces_it(tmp_path: Path, run_copy: Path, recipe: Path) -> None:
    """Its names are ours, so nothing else would stop it."""
    (tmp_path / "source").mkdir()
    shard = next((run_copy / "release/data").glob("*.parquet"))
    (tmp_path / "source/train.parquet").symlink_to(shard)
    line = refuse(tmp_path, "protect", tmp_path / "source", "--out", run_copy, "--recipe", recipe, "--overwrite")
    assert f"lies in {run_copy}, or leads there" in line


def test_hard_links_and_links_elsewhere_are_no_matter(
    tmp_path: Path, run_copy: Path, recipe: Path, photographs: Path
) -> None:
    source = Path(shutil.copytree(photographs, tmp_path / "store"))
    (tmp_path / "source").mkdir()
    (tmp_path / "source/cat").symlink_to(source / "cat")
    shutil.copytree(source / "dog", tmp_path / "source/dog")
    (run_copy / "private/skipped.csv").hardlink_to(source / "cat/0.png")
    before = snapshot(source)
    succeed("protect", tmp_path / "source", "--out", run_copy, "--recipe", recipe, "--overwrite")
    assert snapshot(source) == before


@pytest.mark.parametrize("linked", ["private", "private/generator.safetensors", "private/recipe.json"])
def test_the_generator_of_the_run_that_is_replaced_is_refused(
    tmp_path: Path, run_copy: Path, photographs: Path, linked: str
) -> None:
    other = Path(shutil.copytree(run_copy, tmp_path / "other"))
    shutil.rmtree(other / linked) if (other / linked).is_dir() else (other / linked).unlink()
    (other / linked).symlink_to(run_copy / linked)
    options = ("--out", run_copy, "--generator", other, "--overwrite")
    assert "--generator" in refuse(tmp_path, "protect", photographs, *options)


# --- links in the place of our own folders and files


FOLDERS = ["release", "private", "audit", ".reading", "release/data", "release/figures", "release/clean"]
FOLDERS += ["private/working", "private/staging", "private/writing", "private/checkpoints", "private/reserve"]
FOLDERS += ["private/checkpoints/rows"]
LINKED_FILES = ["private/noise.npy", "private/status.json", "release/README.md", "audit/victims.jsonl"]


def link_away(run: Path, name: str, elsewhere: Path) -> None:
    """Put a link in the place of a file or folder of a run, to one that holds the same, and images of the owner."""
    path = run / name
    if name in LINKED_FILES:
        elsewhere.mkdir()
        (elsewhere / "mine").write_bytes(path.read_bytes() if path.exists() else b"mine")
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(elsewhere / "mine")
        return
    path.mkdir(parents=True, exist_ok=True)
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)
    draw_classes(elsewhere)
    for mine in ("audit-radius.png", "images.npy", "victims.jsonl", "report.html"):
        if not (elsewhere / mine).exists():
            (elsewhere / mine).write_bytes(b"mine")


@pytest.mark.parametrize("name", [*FOLDERS, *LINKED_FILES])
def test_nothing_is_deleted_or_written_through_links_in_a_run(
    tmp_path: Path, run_copy: Path, photographs: Path, recipe: Path, inputs: Path, name: str
) -> None:
    link_away(run_copy, name, tmp_path / "elsewhere")
    protect = ("protect", photographs, "--out", run_copy, "--recipe", recipe)
    for option in ("--overwrite", "--resume"):
        line = refuse(tmp_path, *protect, option)
        assert f"{run_copy / name} is a link" in line
    for command in (("card", run_copy), ("audit", run_copy, "--recipe", inputs / "quick.yaml")):
        assert f"{run_copy / name} is a link" in refuse(tmp_path, *command)
    before = snapshot(tmp_path)
    assert run("push", run_copy, "owner/pets", "--allow-uncertified", "--yes").code == 2
    run("push", run_copy, "owner/pets", "--dry-run")
    assert snapshot(tmp_path) == before


def test_a_run_may_be_a_link_itself(tmp_path: Path, photographs: Path, recipe: Path, finished_run: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    for option in ((), ("--overwrite",)):
        succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, *option)
    assert same_release(tmp_path / "disk", finished_run)
    assert (tmp_path / "run").is_symlink()


# --- files of others among ours


STRANGERS = ["private/notes.txt", "private/old/0.png", "private/reserve/cat.png", "private/working/cat.png"]
STRANGERS += ["private/options.json.bak", "release/cat.png", "release/data/cat.parquet", "release/figures/audit-x.png"]
STRANGERS += ["release/figures/cat.png", "release/clean/cat.png", "release/.git/config", "audit/figures/cat.png"]
STRANGERS += ["audit/notes.txt", ".reading/cat.png", ".release-clean/cat.png", "private/checkpoints/step-mine.json"]
STRANGERS += ["private/checkpoints/rows/cat.npy"]
RESUMED = [".reading/cat.png", "private/working/cat.png", "private/checkpoints/rows/cat.npy"]
"""Where `--resume` of a finished run deletes."""


@pytest.mark.parametrize("name", STRANGERS)
def test_what_we_did_not_write_is_named_and_nothing_is_deleted(
    tmp_path: Path, run_copy: Path, photographs: Path, recipe: Path, name: str
) -> None:
    (run_copy / name).parent.mkdir(parents=True, exist_ok=True)
    (run_copy / name).write_bytes(b"mine")
    protect = ("protect", photographs, "--out", run_copy, "--recipe", recipe)
    line = refuse(tmp_path, *protect, "--overwrite")
    shown = {"private/old/0.png": "private/old/", "audit/figures/cat.png": "audit/figures/"}
    shown["release/.git/config"] = "release/.git/"
    assert line == f"error: {run_copy} holds {shown.get(name, name)}, which rem-release did not write; move it away"
    if name in RESUMED:
        assert name in refuse(tmp_path, *protect, "--resume")
    else:
        succeed(*protect, "--resume")
    assert (run_copy / name).read_bytes() == b"mine"


def test_a_folder_of_another_command_in_an_otherwise_empty_place(
    tmp_path: Path, photographs: Path, recipe: Path
) -> None:
    """`.reading` is all there is, and it holds images of the owner."""
    draw(tmp_path / "run/.reading/cat.png", 0)
    line = refuse(tmp_path, "protect", photographs, "--out", tmp_path / "run", "--recipe", recipe)
    assert "holds .reading/cat.png, which rem-release did not write" in line


@pytest.mark.parametrize("stage", ["staging/cat.png", "staging/data/cat.parquet", "writing/notes.txt", "../release/a"])
def test_what_a_stopped_run_has_besides_is_named_when_it_is_resumed(
    tmp_path: Path, run_copy: Path, photographs: Path, recipe: Path, stage: str
) -> None:
    (run_copy / "private/rows.parquet").unlink()
    path = run_copy / "private" / stage
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    line = refuse(tmp_path, "protect", photographs, "--out", run_copy, "--recipe", recipe, "--resume")
    assert "which rem-release did not write; move it away" in line


def test_checkpoints_of_others_outlive_a_training(
    tmp_path: Path, run_copy: Path, photographs: Path, recipe: Path
) -> None:
    for name in ("rows.parquet", "noise.json"):
        (run_copy / "private" / name).unlink()
    shutil.rmtree(run_copy / "private/checkpoints")
    mine = run_copy / "private/checkpoints/my-best.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    succeed("protect", photographs, "--out", run_copy, "--recipe", recipe, "--resume")
    assert mine.read_bytes() == b"mine"


def test_a_clean_split_in_the_run_is_refused(tmp_path: Path, run_copy: Path) -> None:
    inside, outside = run_copy / "private/reserve", tmp_path / "test"
    draw_classes(inside, count=2, seed=1000)
    outside.mkdir()
    for name in ("cat", "dog"):
        (outside / name).symlink_to(inside / name)
    for place in (inside, outside):
        split = ("--publish-clean-split", f"test={place}")
        line = refuse(tmp_path, "push", run_copy, "owner/pets", *split, "--dry-run")
        assert f"--publish-clean-split test={place}: {place}/cat/0.png lies in {run_copy}, or leads there" in line


# --- audits


def test_an_audit_leaves_folders_of_others_alone(tmp_path: Path, inputs: Path) -> None:
    """Whatever names they have in common."""
    audit = ("audit", inputs / "noisy", "--clean", inputs / "clean", "--holdout", inputs / "test")
    audit = (*audit, "--recipe", inputs / "quick.yaml")
    for number, names in enumerate(
        [
            ["figures/audit-x.png", "thesis.txt"],
            ["report.html"],
            ["report.html", "victims.jsonl", "figures/audit-radius.png"],
            ["audit.json", "report.html"],
        ]
    ):
        out = tmp_path / str(number)
        for name in names:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(b"mine")
        for option in ((), ("--resume",)):
            line = refuse(tmp_path, *audit, "--out", out, *option)
            assert "is not empty and not an audit" in line
        if "victims.jsonl" in names:
            (out / "victims.jsonl").write_bytes(b"")
            assert "not an audit" in refuse(tmp_path, *audit, "--out", out)


def test_an_audit_that_is_made_again_replaces_its_own_files_alone(tmp_path: Path, inputs: Path) -> None:
    out = tmp_path / "audit"
    audit = ("audit", inputs / "noisy", "--clean", inputs / "clean", "--holdout", inputs / "test")
    audit = (*audit, "--recipe", inputs / "quick.yaml", "--out", out)
    assert run(*audit).code == 3
    mine = [out / "thesis.txt", out / "figures/audit-x.png", out / "figures/.audit-y.png.partial"]
    for path in mine:
        path.write_bytes(b"mine")
    assert run(*audit).code == 3
    assert {path.read_bytes() for path in mine} == {b"mine"}
    (out / "report.html").unlink()
    (out / "victims.jsonl").write_bytes(b"")  # killed as it began anew
    assert "go on with --resume" in refuse(tmp_path, *audit)
    assert run(*audit, "--resume").code == 3
    shutil.move(out / "figures", tmp_path / "figures")
    (out / "figures").symlink_to(tmp_path / "figures")
    assert f"{out / 'figures'} is a link" in refuse(tmp_path, *audit)


def test_an_audit_of_a_run_takes_nothing_of_others_into_the_release(tmp_path: Path, inputs: Path) -> None:
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    (location / "release/figures/audit-x.png").write_bytes(b"mine")
    audit = ("audit", location, "--holdout", inputs / "test", "--recipe", inputs / "quick.yaml")
    assert "holds release/figures/audit-x.png, which rem-release did not write" in refuse(tmp_path, *audit)
    (location / "release/figures/audit-x.png").unlink()
    draw_classes(location / "audit/test")
    audit = ("audit", location, "--holdout", location / "audit/test", "--recipe", inputs / "quick.yaml")
    assert "overlap" in refuse(tmp_path, *audit)


SOURCES = ["--clean", "--holdout", "PROTECTED"]


@pytest.mark.parametrize("option", SOURCES)
@pytest.mark.parametrize("how", ["an image", "labels"])
def test_sources_of_an_audit_of_a_copy_lie_apart_from_it(tmp_path: Path, inputs: Path, option: str, how: str) -> None:
    """An audit that is made again writes over its own files, and a source may lead to one by a link."""
    places = {"--clean": "clean", "--holdout": "test", "PROTECTED": "noisy"}
    places = {name: Path(shutil.copytree(inputs / folder, tmp_path / folder)) for name, folder in places.items()}
    audit = ("audit", places["PROTECTED"], "--clean", places["--clean"], "--holdout", places["--holdout"])
    audit = (*audit, "--recipe", inputs / "quick.yaml", "--out", tmp_path / "out")
    assert run(*audit).code == 3
    source, name = places[option], "report.html"
    if how == "labels":
        images = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.png"))
        rows = "".join(f"{image},{image.split('/')[-2]}\n" for image in images)
        (source / "metadata.csv").write_text(f"file_name,label\n{rows}")
        linked = source / "metadata.csv"
    else:
        linked, name = next(source.rglob("*.png")), "figures/audit-radius.png"
    link_to(linked, tmp_path / "out" / name)
    line = refuse(tmp_path, *audit, at_once=False)
    shown = source if option == "PROTECTED" else f"{option} {source}"
    assert f"{shown}: {linked} lies in {tmp_path / 'out'}, or leads there" in line


@pytest.mark.parametrize("option", ["--clean", "--holdout", None])
@pytest.mark.parametrize("name", ["audit/report.html", "release/figures/audit-radius.png"])
def test_sources_of_an_audit_of_a_run_lie_apart_from_it(
    tmp_path: Path, inputs: Path, option: str | None, name: str
) -> None:
    """None: the originals that the run remembers."""
    folders = {folder: Path(shutil.copytree(inputs / folder, tmp_path / folder)) for folder in ("test", "clean")}
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    options = json.loads((location / "private/options.json").read_bytes())
    options["source"]["source"] = str(folders["clean"])
    (location / "private/options.json").write_text(json.dumps(options))
    audit = ("audit", location, "--holdout", folders["test"], "--recipe", inputs / "quick.yaml")
    audit = (*audit, "--clean", folders["clean"]) if option == "--clean" else audit
    assert run(*audit).code == 3
    source = folders["test" if option == "--holdout" else "clean"]
    linked = next(source.rglob("*.png"))
    link_to(linked, location / name)
    line = refuse(tmp_path, *audit, at_once=False)
    shown = f"{option} {source}" if option else "the originals"
    assert f"{shown}: {linked} lies in {(location / name).parent}, or leads there" in line


def test_the_reserve_of_a_run_may_be_what_its_audit_tests_on(tmp_path: Path, inputs: Path) -> None:
    """It lies in the run, and nothing there is deleted."""
    out = tmp_path / "run"
    protect(inputs / "clean", out, "--reserve", "0.5")
    before = snapshot(out / "private/reserve")
    (reserve,) = (out / "private/reserve/data").iterdir()
    assert run("audit", out, "--holdout", reserve, "--recipe", inputs / "quick.yaml").code == 3
    assert snapshot(out / "private/reserve") == before


# --- the demo


def test_the_demo_deletes_its_own_patches_alone(tmp_path: Path) -> None:
    patches = tmp_path / "d-photographs"
    mark = "Made by rem-release demo, which may delete this folder.\n"
    for name, text in ((".made-by-rem-release-demo", mark), ("train/cat/0000.png", "ours"), ("train/me/a.png", "x")):
        (patches / name).parent.mkdir(parents=True, exist_ok=True)
        (patches / name).write_text(text)
    demo = ("demo", "--out", tmp_path / "d", "--overwrite")
    line = refuse(tmp_path, *demo)
    assert "holds train/me/, which rem-release did not write" in line
    shutil.rmtree(patches / "train/me")
    shutil.move(patches / "train/cat", tmp_path / "cat")
    (patches / "train/cat").symlink_to(tmp_path / "cat")
    assert "is a link" in refuse(tmp_path, *demo)
    (patches / "train/cat").unlink()
    (patches / ".made-by-rem-release-demo").write_text("by me")
    assert "was not made by the demo" in refuse(tmp_path, *demo)


# --- everything that a run holds in its life is known


def test_a_run_after_a_full_life_is_replaced(tmp_path: Path, photographs: Path, recipe: Path, inputs: Path) -> None:
    """Albums, a reserve, skipped files, a clean split, an audit; and what a push and a run leave that are killed."""
    source = Path(shutil.copytree(photographs, tmp_path / "source"))
    (source / "cat/bad.png").write_bytes(b"bad")
    out = tmp_path / "run"
    options = ("--out", out, "--recipe", recipe, "--label-from", "albums", "--skip-bad", "--reserve", "0.25")
    succeed("protect", source, *options)
    certify(out)
    (out / "audit/.report.html.partial").write_bytes(b"")
    (out / "release/clean").mkdir()
    for name in ("release/clean/test-00000-of-00001.parquet", ".release-clean/clean/.test-00000.partial"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"")
    left = leave_copy(out)
    (left / "release/link").symlink_to(source)
    for name in ("working/.index.npz.partial", "writing/shard-train-00000.npz", "staging/data/.train-00000.partial"):
        (out / "private" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / "private" / name).write_bytes(b"")
    (out / "private/push.json").write_text('{"pushes": []}')
    (out / "private/published-0123456789ab.parquet").write_bytes(b"")
    for place in ("release", "private", "audit"):
        assert (out / place).is_dir()
    succeed("protect", source, *options, "--overwrite")
    assert not (out / "audit").exists()
    assert not (out / ".release-clean").exists()
    assert (out / "private/push.json").read_text() == '{"pushes": []}'
    assert (out / "private/published-0123456789ab.parquet").exists()
    assert not {path.name for path in (out / "private").iterdir()} & {"working", "writing", "staging", left.name}
    assert (source / "cat/bad.png").exists()


# --- the deletion itself

OURS = ["README.md", "data/train-00000-of-00001.parquet", "data/.train-00000.partial", ".README.md.partial"]
OURS += ["figures/protected.png", "figures/.audit-radius.png.partial", "clean/a.b-12345-of-99999.parquet"]
THEIRS = ["readme.md", "README.md.partial", "data/x.parquet", "data/README.md", "figures/x.png", "other/README.md"]
THEIRS += ["data/train-00000-of-00001.parquet.bak", "data/more/train-00000-of-00001.parquet", ".partial", "..partial"]


@settings(max_examples=60)
@given(
    ours=st.sets(st.sampled_from(OURS)),
    theirs=st.sets(st.sampled_from(THEIRS)),
    links=st.sets(st.sampled_from([*OURS, "data", "figures", "clean"])),
    linked_to=st.sampled_from(["folder", "folder/mine", "nowhere"]),
)
def test_any_mixture_is_deleted_whole_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory, ours: set[str], theirs: set[str], links: set[str], linked_to: str
) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / "folder").mkdir()
    (root / "folder/mine").write_bytes(b"mine")
    for name in sorted(links):
        if not (root / "release" / name).parent.is_symlink():
            (root / "release" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "release" / name).symlink_to(root / linked_to)
    made_links = [path for path in (root / "release").rglob("*") if path.is_symlink()]
    for name in sorted(ours | theirs):
        if not any(link == root / "release" / name or link in (root / "release" / name).parents for link in made_links):
            (root / "release" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "release" / name).write_bytes(b"x")
    before = snapshot(root)
    mixed = made_links or [name for name in theirs if (root / "release" / name).exists()]
    if mixed:
        for act in (require_own, delete_own):
            with pytest.raises(InputError, match=r"is a link|did not write"):
                act(root, "release", RELEASE)
            assert snapshot(root) == before
    else:
        delete_own(root, "release", RELEASE)
        assert not (root / "release").exists()
        assert (root / "folder/mine").read_bytes() == b"mine"


def test_a_kept_file_stays_and_the_last_go_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rem_release.release import deletion

    removed: list[str] = []
    remove = deletion._remove

    def note(name: str, *rest: Any, **more: Any) -> None:
        removed.append(name)
        remove(name, *rest, **more)

    monkeypatch.setattr(deletion, "_remove", note)
    (tmp_path / "private/checkpoints").mkdir(parents=True)
    for name in ("a/..", "options.json", "status.json", "noise.npy", "push.json", "checkpoints/step-00000001.json"):
        if not name.endswith(".."):
            (tmp_path / "private" / name).write_bytes(b"")
    last = ("status.json", "options.json")
    delete_own(tmp_path, "private", PRIVATE, keep=r"push\.json", last=last)
    assert removed == ["step-00000001.json", "checkpoints", "noise.npy", *last]
    assert [path.name for path in (tmp_path / "private").iterdir()] == ["push.json"]
