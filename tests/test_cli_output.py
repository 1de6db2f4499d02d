"""What the commands say, that the same seed gives the same bytes, and that damage to a release is named."""

import gc
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rem_release.data.in_order import thread_count
from rem_release.recipe_files import recipe_names
from tests.command_line import (
    draw,
    draw_classes,
    list_parameters,
    read_status,
    released,
    run,
    same_release,
    snapshot,
    succeed,
    write_recipe,
)

FILES = [
    "README.md",
    "protection.json",
    "data/train-00000-of-00001.parquet",
    "figures/noise.png",
    "figures/protected.png",
]

# --- help


HELP = """
import sys
from rem_release.cli import main

asked = ([], ["protect"], ["verify"], ["audit"], ["card"], ["push"], ["demo"], ["bench"], ["reproduce"], ["recipes"])
asked += (["recipes", "show"],)
for arguments in (*([*words, "--help"] for words in asked), ["--no-such-option"]):
    sys.argv = ["rem-release", *arguments]
    try:
        main()
    except SystemExit as stop:
        print(arguments, stop.code)
heavy = {"torch", "torchvision", "datasets", "accelerate", "huggingface_hub", "numpy", "pyarrow", "PIL"}
print("loaded:", sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_help_loads_nothing_heavy(process_env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP], env={**os.environ, **process_env}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded: []"
    codes = re.findall(r"^\[.*\] (\d)$", done.stdout, re.MULTILINE)
    assert codes == ["0"] * 11 + ["2"]


CONTRACT = {
    "protect": [
        *("source", "--out", "--recipe", "--method", "--rho-u", "--rho-a", "--split", "--layout", "--image-column"),
        *("--label-column", "--label-from", "--drop-column", "--fraction", "--release-unprotected", "--reserve"),
        *("--max-shard-size", "--max-side", "--skip-bad", "--generator", "--set", "--seed", "--plan", "--resume"),
        *("--overwrite", "--json"),
    ],
    "verify": ["RUN|RELEASE|REPO[@REV]", "--clean", "--json"],
    "audit": [
        *("RUN|PROTECTED", "--clean", "--holdout", "--recipe", "--set", "--out", "--split", "--image-column"),
        *("--label-column", "--rho-u", "--plan", "--resume", "--json"),
    ],
    "card": ["RUN", "--card-field", "--card-fields", "--json"],
    "push": [
        *("RUN", "NAMESPACE/NAME", "--clean", "--public", "--private", "--gated", "--tag", "--keep-column"),
        *("--publish-clean-split", "--card-field", "--card-fields", "--dry-run", "--allow-uncertified", "--yes"),
        "--json",
    ],
    "demo": ["--out", "--overwrite", "--json"],
    "bench": ["--json"],
    "reproduce": ["TABLE|FIGURE", "--scale", "--dataset", "--data", "--out", "--plan", "--resume", "--json"],
    "recipes list": ["--json"],
    "recipes show": ["name", "--json"],
    "recipes check": ["file", "--json"],
}
"""Every command with its arguments and options: nothing else may be there, and nothing of it may go, unnoticed."""


def test_the_commands_are_those_of_the_contract_and_so_are_their_options() -> None:
    assert {command: sorted(names) for command, names in list_parameters().items()} == {
        command: sorted(names) for command, names in CONTRACT.items()
    }


@pytest.mark.parametrize("command", CONTRACT)
def test_help_names_everything_of_the_contract(command: str) -> None:
    *group, name = command.split()
    assert re.search(rf"^  {name}\b", succeed(*group, "--help").out, re.MULTILINE)
    text = succeed(*command.split(), "--help").out
    for parameter in CONTRACT[command]:
        assert re.search(rf"(?<![\w-]){re.escape(parameter)}(?![\w-])", text), parameter


def test_no_arguments_is_usage() -> None:
    assert run().code == 2
    assert run("recipes").code == 2


# --- results


def test_json_is_one_object_and_text_says_the_same(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    options = ("protect", photographs, "--recipe", recipe)
    text = succeed(*options, "--out", tmp_path / "text")
    document = succeed(*options, "--out", tmp_path / "json", "--json").json
    assert document["run"] == str(tmp_path / "json")
    assert document["release"] == str(tmp_path / "json" / "release")
    assert document["digest"] in text.out
    assert (document["images"], document["protected"], document["classes"]) == (8, 8, 2)
    assert document["audited"] is False
    assert "Not audited yet" in text.out
    assert str(tmp_path / "text" / "release") in text.out
    spent = document["cost"]["training_gradients"] + document["cost"]["noise_gradients"]
    # K_u · J · (K_a + 1) = 4 for the noise, K_a + 1 = 2 more a training step; 2 steps of 8, then 8 images, 2 grey
    assert spent == 2 * 8 * 6 + (8 + 2) * 4
    assert f"Cost: {spent} sample gradient evaluations" in text.out
    assert re.search(r"^Training the noise generator: 2 of 2", text.err, re.MULTILINE)


def test_every_command_prints_one_json_object(run_copy: Path, recipe: Path) -> None:
    assert succeed("verify", run_copy, "--json").json["passed"] is True
    assert succeed("card", run_copy, "--json").json["card"] == str(run_copy / "release" / "README.md")
    assert list(succeed("recipes", "list", "--json").json["recipes"]) == recipe_names()
    assert succeed("recipes", "show", "rem-cifar10", "--json").json["yaml"].startswith("#")
    assert succeed("recipes", "check", recipe, "--json").json["recipe"]["noise"]["rho_u"] == "8/255"
    (run_copy / "release" / "README.md").write_text("# Mine\n")
    failed = run("verify", run_copy, "--json")
    assert failed.code == 1
    assert failed.json["passed"] is False
    assert failed.err.splitlines()[-1].startswith("error: ")


def test_recipes_list_show_and_check(recipe: Path) -> None:
    listed = succeed("recipes", "list").out.splitlines()
    assert [line.split()[0] for line in listed] == recipe_names()
    for name in recipe_names():
        heart = "tiers:" if name.startswith("audit-") else "noise:"
        assert heart in succeed("recipes", "show", name).out
        assert succeed("recipes", "check", name).out.startswith(f"{name} is valid; sha256 ")
    assert "is valid" in succeed("recipes", "check", recipe).out


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--fraction", "0.6", "--reserve", "0.25"),
        ("--method", "em"),
        ("--method", "sem", "--set", "noise.eot.samples=2"),
        ("--method", "random"),
        ("--set", "generator.batch_size=3"),
    ],
    ids=" ".join,
)
def test_a_plan_writes_nothing_and_its_cost_is_what_the_run_spends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photographs: Path, recipe: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    everything = ("protect", photographs, "--out", "run", "--recipe", recipe, *options)
    before = snapshot(tmp_path)
    plan = succeed(*everything, "--plan", "--json").json
    text = succeed(*everything, "--plan").out
    assert snapshot(tmp_path) == before
    done = succeed(*everything, "--json").json
    assert plan["cost"] == done["cost"]
    for key in ("images", "protected", "classes", "skipped"):
        assert plan[key] == done[key]
    assert plan["reserved"] + plan["images"] <= 8
    assert f"{sum(plan['cost'].values()):,} sample gradient evaluations" in text
    assert "Nothing was written" in text
    assert plan["threads"] == thread_count(), "the photographs are small"
    assert re.search(rf"with {plan['threads']} threads? at work", text)
    assert plan["device_memory_bytes"] is None, "this is a CPU"
    assert "Device:" not in text
    for word in ("Images:", "Classes:", "Memory:", "Output:", "Time:"):
        assert word in text


def test_a_plan_with_a_generator_costs_no_training(tmp_path: Path, photographs: Path, finished_run: Path) -> None:
    everything = ("protect", photographs, "--out", tmp_path / "run", "--generator", finished_run, "--json")
    plan = succeed(*everything, "--plan").json
    assert plan["cost"] == succeed(*everything).json["cost"]
    assert plan["cost"]["training_gradients"] == 0


def test_clean_pixels_in_temporary_files_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Path
) -> None:
    """Tables are unpacked to a private temporary folder, which goes when the command ends, well or not."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    source = tmp_path / "source"
    lines = []
    for index in range(4):
        draw(source / f"{index}.png", index)
        lines.append(f"{index}.png,{'ab'[index % 2]}\n")
    (source / "metadata.csv").write_text("file_name,label\n" + "".join(lines))
    options = ("protect", source, "--out", tmp_path / "run", "--recipe", recipe)
    succeed(*options)
    succeed("verify", tmp_path / "run")
    assert run(*options, "--label-column", "kind").code == 2
    (source / "1.png").write_bytes(b"x")
    assert run(*options, "--overwrite").code == 2
    gc.collect()
    assert not list((tmp_path / "temporary").iterdir())


# --- the same bytes


def test_the_same_seed_gives_the_same_bytes_anywhere_and_another_seed_others(
    tmp_path: Path, photographs: Path, recipe: Path, finished_run: Path
) -> None:
    options = ("protect", photographs, "--recipe", recipe)
    other_place = tmp_path / "deep" / "er ü"
    succeed(*options, "--out", other_place)
    assert same_release(finished_run, other_place)
    seeded = succeed(*options, "--out", tmp_path / "seeded", "--seed", "1", "--json").json
    facts = json.loads((finished_run / "release" / "protection.json").read_bytes())
    assert seeded["digest"] != facts["digest"]
    assert len(released(tmp_path / "seeded" / "release")) == 8


def test_the_release_names_no_path_and_no_file(finished_run: Path, photographs: Path) -> None:
    secrets = [str(finished_run.parent), str(photographs), photographs.name, "0.png", "private"]
    for name, content in snapshot(finished_run / "release").items():
        for secret in secrets:
            if name.endswith(".parquet") and secret == "0.png":
                continue  # 000000000.png is opaque
            assert content is None or secret.encode() not in content, (name, secret)


def test_files_added_to_the_source_in_another_order_change_nothing(
    tmp_path: Path, recipe: Path, finished_run: Path
) -> None:
    """`photographs` once more, its files created the other way round."""
    source = tmp_path / "source"
    for number, name in ((1, "dog"), (0, "cat")):
        for index in (3, 1, 2, 0):
            draw(source / name / f"{index}.png", 100 * number + index)
    succeed("protect", source, "--out", tmp_path / "run", "--recipe", recipe)
    assert same_release(tmp_path / "run", finished_run)


def test_a_name_of_the_recipe_that_is_a_path_is_not_published(tmp_path: Path, photographs: Path) -> None:
    mine = write_recipe(tmp_path / "mine.yaml")
    succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", mine)
    facts = json.loads((tmp_path / "run" / "release" / "protection.json").read_bytes())
    assert facts["recipe_name"] == "mine"
    assert str(tmp_path).encode() not in (tmp_path / "run" / "release" / "protection.json").read_bytes()


# --- a finished run


def test_status_of_a_finished_run(finished_run: Path) -> None:
    assert read_status(finished_run) == {"state": "done", "exit_code": 0, "message": ""}


def test_a_finished_run_resumes_to_itself(run_copy: Path, photographs: Path, recipe: Path) -> None:
    before = snapshot(run_copy)
    result = succeed("protect", photographs, "--out", run_copy, "--recipe", recipe, "--resume", "--json")
    assert "complete already" in result.err
    assert result.json["images"] == 8
    assert snapshot(run_copy) == before


def test_a_diverging_training_is_a_known_failure(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    result = run("protect", photographs, "--out", out, "--recipe", recipe, "--set", "generator.learning_rate=1.0e+38")
    assert (result.code, result.out) == (1, "")
    message = result.err.splitlines()[-1]
    assert message.startswith("error: the training loss is ")
    assert "--set generator.learning_rate=" in message
    assert read_status(out) == {"state": "failed", "exit_code": 1, "message": message.removeprefix("error: ")}
    assert not (out / "release").exists()
    assert "--resume" in run("verify", out).err


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full, a disk that is full")
def test_a_full_disk_is_a_known_failure(recipe: Path, process_env: dict[str, str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rem_release", "recipes", "list", "--json"],
            env={**os.environ, **process_env},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert re.fullmatch(r"error: No space left on device.*\n", done.stderr)


def test_card_renders_to_the_same_bytes(run_copy: Path) -> None:
    before = snapshot(run_copy)
    result = succeed("card", run_copy)
    assert str(run_copy / "release" / "README.md") in result.out
    assert snapshot(run_copy) == before
    (run_copy / "release" / "README.md").write_text("# Mine\n")
    succeed("card", run_copy)
    assert snapshot(run_copy) == before
    facts = run_copy / "release" / "protection.json"
    facts.write_bytes(facts.read_bytes().replace(b'"images": 8', b'"images": 9'))
    result = run("card", run_copy)
    assert result.code == 1
    assert "protection.json" in result.err


# --- damage


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_and_its_file_named(run_copy: Path, photographs: Path, name: str) -> None:
    path = run_copy / "release" / name
    whole = path.read_bytes()
    chosen = random.Random(name)
    places = [0, 8 * len(whole) - 1, *(chosen.randrange(8 * len(whole)) for _ in range(4))]
    for place in places:
        broken = bytearray(whole)
        broken[place // 8] ^= 1 << place % 8
        path.write_bytes(broken)
        for arguments in ((run_copy,), (run_copy / "release", "--clean", photographs)):
            result = run("verify", *arguments)
            assert result.code == 1, (name, place)
            assert name.rpartition("/")[2] in result.err.splitlines()[-1]
    path.write_bytes(whole)
    succeed("verify", run_copy)


def test_files_that_come_or_go_are_named(run_copy: Path) -> None:
    release = run_copy / "release"
    for name in ("extra.txt", ".hidden", "data/extra.parquet", "figures/clean.png"):
        (release / name).write_bytes(b"x")
        result = run("verify", run_copy)
        assert result.code == 1
        assert name in result.err
        (release / name).unlink()
    for name in FILES:
        (release / name).rename(run_copy / "kept")
        result = run("verify", run_copy)
        assert result.code == 1
        assert name in result.err
        (run_copy / "kept").rename(release / name)
    succeed("verify", run_copy)


def test_verify_of_a_run_follows_a_source_that_the_owner_changes(tmp_path: Path, recipe: Path) -> None:
    source = draw_classes(tmp_path / "source")
    first, second = sorted((source / "cat").iterdir())[:2]
    run_folder = tmp_path / "run"
    succeed("protect", source, "--out", run_folder, "--recipe", recipe)
    draw(source / "ape" / "new.png", 97, (8, 8))
    draw(source / "cat" / "0 new.png", 98, (8, 8))
    assert "unknown" not in succeed("verify", run_folder).out
    kept = first.read_bytes()
    draw(first, 99, (8, 8))
    result = run("verify", run_folder)
    assert result.code == 1
    failed = [line for line in result.out.splitlines() if line.startswith("FAILED")]
    assert failed == [f"FAILED  originals: row 0 is not compared: original cat/{first.name} changed since the run"]
    first.write_bytes(kept)
    second.unlink()
    result = run("verify", run_folder)
    failed = [line for line in result.out.splitlines() if line.startswith("FAILED")]
    assert failed == [f"FAILED  originals: row 1 is not compared: original cat/{second.name} is missing since the run"]


def test_a_new_album_that_numbers_the_albums_anew_leaves_verify_of_the_run_sound(tmp_path: Path, recipe: Path) -> None:
    source = draw_classes(tmp_path / "source")
    succeed("protect", source, "--out", tmp_path / "run", "--recipe", recipe, "--label-from", "albums")
    draw(source / "ape" / "new.png", 97, (8, 8))
    assert "unknown" not in succeed("verify", tmp_path / "run").out


def test_verify_without_the_originals_says_what_it_could_not_check(tmp_path: Path, recipe: Path) -> None:
    source = draw_classes(tmp_path / "source")
    succeed("protect", source, "--out", tmp_path / "run", "--recipe", recipe)
    source.rename(tmp_path / "moved")
    result = succeed("verify", tmp_path / "run")
    assert "the originals are not where they were" in result.err
    unknown = [line.split()[1] for line in result.out.splitlines() if line.startswith("unknown")]
    assert {"originals:", "budget:", "noise:", "imperceptibility:"} <= set(unknown)
    assert "give the originals with --clean" in result.out.splitlines()[-1]
    result = succeed("verify", tmp_path / "run", "--clean", tmp_path / "moved")
    assert "unknown" not in result.out
    words: dict[str, Any] = {line.split()[1]: line for line in result.out.splitlines() if line.startswith("ok")}
    assert "by the record in private/" in words["originals:"]
    assert re.search(r"^PSNR \d+\.\d+ dB .*SSIM 0\.\d+", result.out, re.MULTILINE)
    assert re.search(r"^Worst pixel: row \d+, x \d+, y \d+, channel \d: [+-]\d levels", result.out, re.MULTILINE)
