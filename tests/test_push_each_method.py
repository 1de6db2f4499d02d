"""A release of every method is verified, audited, and let onto a Hub as uncertified; its card there says what it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rem_release.methods import METHODS
from rem_release.release.certificate import read_certificate
from tests.audits import QUICK, write_audit_recipe
from tests.command_line import run, snapshot, succeed
from tests.forks import Forks
from tests.gratings import draw_gratings, write_classes
from tests.loopback_hub import LoopbackHub

TRAINED = ("--set", "generator.model=small_resnet", "--set", "generator.steps=3")
MADE = {
    "em": ("--recipe", "em-cifar10", *TRAINED),
    "rem": ("--recipe", "rem-cifar10", *TRAINED, "--set", "noise.eot.samples=1"),
    "sem": ("--recipe", "sem-cifar10", *TRAINED, "--set", "noise.eot.samples=1"),
    "tap": ("--recipe", "tap-cifar10", *TRAINED, "--set", "noise.steps=3", "--set", "noise.step_size=6/255"),
    "ntga": ("--recipe", "ntga-cifar10", "--set", "noise.block_size=60", "--set", "noise.steps=1"),
    "lsp": ("--recipe", "lsp-cifar10", "--set", "noise.patch=4"),
    "pil": ("--recipe", "pil-cifar10", "--set", "noise.training_steps=50"),
    "classwise": ("--recipe", "classwise-cifar10"),
    "random": ("--method", "random"),
}
SAYS = {
    "em": ("Huang et al., ICLR 2021", "huang2021unlearnable", "| Expectation over transformation | none, J = 1 |"),
    "rem": ("Fu et al., ICLR 2022", "fu2022robust", "| Adversary steps | K_a = 10 of"),
    "sem": ("fu2022robust",),
    "tap": ("Fowl et al., NeurIPS 2021", "fowl2021adversarial", "| Targets of the noise |"),
    "ntga": (
        "Yuan and Wu, ICML 2021",
        "yuan2021neural",
        "| Images of a block | 60, validated on others: 10000 at most |",
    ),
    "lsp": (
        "yu2022availability",
        "| Side of a patch of one colour, in pixels of the working resolution | 4 |",
        "| Spread of a class, as a part of its distance from zero | 0.4 |",
    ),
    "pil": (
        "liu2026perturbation",
        "| Noise steps | K_u = 30 of α_u = ",
        "| Training steps of the surrogate, a linear classifier without bias on clean pixels | 50 |",
    ),
    "classwise": ("All images of a class carry **one noise**.", "huang2021unlearnable"),
    "random": (),
}
WITHOUT_MODEL = ("ntga", "lsp", "pil", "classwise", "random")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, process_env: dict[str, str]) -> Iterator[tuple[LoopbackHub, Forks]]:
    folder = tmp_path_factory.mktemp("hub")
    with LoopbackHub(folder / "hub") as server:
        env = process_env | server.environment(folder / "home", xet=False)
        with Forks(env, folder / "forks") as forks:
            yield server, forks


def test_no_method_is_left_out() -> None:
    assert set(MADE) == set(SAYS) == set(METHODS)


@pytest.mark.parametrize("method", MADE)
def test_it_goes_through_the_gate(method: str, hub: tuple[LoopbackHub, Forks], tmp_path: Path) -> None:
    server, forks = hub
    clean = write_classes(tmp_path / "clean", draw_gratings(30, seed=0))
    test = write_classes(tmp_path / "test", draw_gratings(20, seed=1))
    out = tmp_path / "run"
    succeed("protect", clean, "--out", out, "--set", "data.resolution=16", "--rho-u", "16/255", *MADE[method])
    succeed("verify", out, "--clean", clean)
    recipe = write_audit_recipe(tmp_path / "audit.yaml", **QUICK)
    assert run("audit", out, "--holdout", test, "--recipe", recipe).code == 3
    certificate = read_certificate(out / "release/audit.json")
    is_control = method == "random"
    assert ("a control" in " ".join(certificate.summary)) == is_control
    refused = forks.run("push", out, f"owner/{method}")
    assert refused.code == 3
    assert server.repo(f"owner/{method}") is None
    pushed = forks.run("push", out, f"owner/{method}", "--allow-uncertified", "--yes")
    assert pushed.code == 0, pushed.err
    repo = server.repo(f"owner/{method}")
    assert repo is not None
    shards = snapshot(out / "release/data")
    assert {name: repo.tree()[f"data/{name}"].data for name in shards} == shards
    card = (repo.tree()["README.md"].data or b"").decode()
    assert "**NOT CERTIFIED**" in card
    missing = [words for words in SAYS[method] if words not in card]
    assert not missing
    assert ("Source model" in card) == (method not in WITHOUT_MODEL)
