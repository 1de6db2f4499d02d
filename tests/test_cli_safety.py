"""What must never happen: an owner's files deleted, clean pixels or private facts published, a cost not told."""

import base64
import json
import os
import signal
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from rem_release.models.build import Centred
from tests.command_line import draw, draw_classes, run, snapshot, start, succeed, write_recipe

ENCODED = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(90)).decode()


def test_the_demo_never_deletes_images_of_the_owner(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    succeed("protect", photographs, "--out", tmp_path / "holiday", "--recipe", recipe)
    for split in ("train", "test"):
        draw_classes(tmp_path / "holiday-photographs" / split)
    before = snapshot(tmp_path)
    result = run("demo", "--out", tmp_path / "holiday", "--overwrite")
    assert result.code == 2
    assert "was not made by the demo" in result.err
    assert snapshot(tmp_path) == before


def test_a_demo_that_was_killed_early_can_be_started_again(tmp_path: Path) -> None:
    process = start("demo", "--out", tmp_path / "d")
    marker = tmp_path / "d-photographs/train/camera"
    while not marker.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (tmp_path / "d").exists()
    assert "--overwrite" in run("demo", "--out", tmp_path / "d").err
    (tmp_path / "d-photographs/notes.txt").write_text("mine")
    again = start("demo", "--out", tmp_path / "d", "--overwrite")
    while not (tmp_path / "d/private/status.json").exists():
        assert again.poll() is None
        time.sleep(0.05)
    again.kill()
    again.wait()
    assert (tmp_path / "d-photographs/notes.txt").read_text() == "mine"
    assert len(list((tmp_path / "d-photographs").rglob("*.png"))) == 2600


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (pa.array([[[[7] * 3] * 8] * 16] * 4), "more than 256 numbers in row 0"),
        (pa.array([[0.5] * 300] * 4), "more than 256 numbers in row 0"),
        (pa.array(["a", "b", "data:image/png;base64," + "A" * 99, "c"]), "a data URI in row 2"),
        (
            pa.array([["note", base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(90)).decode()]] * 4),
            "an encoded image in row 0",
        ),
    ],
)
def test_images_in_plain_columns_are_refused(tmp_path: Path, recipe: Path, values: pa.Array, what: str) -> None:
    pngs = []
    for index in range(4):
        draw(tmp_path / "p.png", index)
        pngs.append((tmp_path / "p.png").read_bytes())
    table = pa.table({"image": pngs, "label": ["a", "b", "a", "b"], "extra": values})
    pq.write_table(table, tmp_path / "s.parquet")
    result = run("protect", tmp_path / "s.parquet", "--out", tmp_path / "run", "--recipe", recipe)
    assert result.code == 2
    assert f"column 'extra' ({what})" in result.err
    assert "--drop-column extra" in result.err
    succeed("protect", tmp_path / "s.parquet", "--out", tmp_path / "run", "--recipe", recipe, "--drop-column", "extra")


def test_descriptions_are_no_images_and_their_publication_is_said(tmp_path: Path, recipe: Path) -> None:
    pngs = []
    for index in range(4):
        draw(tmp_path / "p.png", index)
        pngs.append((tmp_path / "p.png").read_bytes())
    boxes = pa.array([[[1.0, 2.0, 3.0, 4.0]] * 5] * 4)
    columns = {"image": pngs, "label": [0, 1, 0, 1], "boxes": boxes, "note": ["/9j", "data:", "ward 3", None]}
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    result = succeed("protect", tmp_path / "s.parquet", "--out", tmp_path / "run", "--recipe", recipe)
    assert "published as they are: the columns boxes, note" in result.err
    succeed("verify", tmp_path / "run")


def test_nothing_published_tells_which_rows_are_protected(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    parts = ("--fraction", "0.5", "--release-unprotected")
    succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, *parts)
    release = tmp_path / "run/release"
    assert not (release / "figures/protected.png").exists()
    assert "figures/protected.png" not in (release / "README.md").read_text()
    assert "worst_row" not in (release / "protection.json").read_text()
    succeed("verify", tmp_path / "run")


def test_the_cost_is_all_that_the_source_model_computed(
    tmp_path: Path, photographs: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted where gradients leave the network, over a whole protect."""
    counted: list[int] = []
    forward = Centred.forward

    def count(self: nn.Module, images: torch.Tensor) -> torch.Tensor:
        logits = forward(self, images)  # type: ignore[arg-type]
        if logits.requires_grad:
            logits.register_hook(lambda gradient: counted.append(len(gradient)))
        return logits

    monkeypatch.setattr(Centred, "forward", count)
    cost = succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, "--json").json["cost"]
    assert sum(counted) == cost["training_gradients"] + cost["noise_gradients"]


def test_random_noise_is_not_said_to_have_an_adversary(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    result = succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, "--method", "random")
    assert "rho_a" not in result.out
    protection = json.loads((tmp_path / "run/release/protection.json").read_bytes())["protection"]
    assert (protection["rho_a"], protection["steps"], protection["source_model"]) == ("0", 0, None)
    succeed("verify", tmp_path / "run")


def test_a_terminated_command_cleans_up_and_says_so(tmp_path: Path) -> None:
    """A Parquet source is unpacked into a temporary folder, clean pixels and all."""
    image = tmp_path / "p.png"
    rows = []
    for index in range(40):
        draw(image, index)
        rows.append(image.read_bytes())
    pq.write_table(pa.table({"image": rows, "label": [0, 1] * 20}), tmp_path / "s.parquet")
    slow = write_recipe(tmp_path / "slow.yaml", generator__steps=100_000)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = start(
        *("protect", tmp_path / "s.parquet", "--out", tmp_path / "run", "--recipe", slow),
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    while not (tmp_path / "run/private/checkpoints").exists():
        assert process.poll() is None
        time.sleep(0.05)
    assert any(scratch.iterdir())
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert not [path for path in scratch.rglob("*") if path.suffix == ".arrow"]
    status = json.loads((tmp_path / "run/private/status.json").read_bytes())
    assert (status["state"], status["exit_code"]) == ("failed", 143)


def test_processes_that_do_not_know_of_each_other_are_refused(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    env = {**os.environ, "WORLD_SIZE": "2", "RANK": "0", "ACCELERATE_USE_CPU": "false"}
    process = start("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, env=env)
    _, err = process.communicate()
    assert process.returncode == 2
    assert "ACCELERATE_USE_CPU=true" in err
    assert not (tmp_path / "run").exists()
