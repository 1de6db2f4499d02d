"""What a GPU's memory holds: images that fit, a batch of everything else, and nothing that is done with."""

import gc
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rem_release.audit.victim import _measure_attack, build_victim, name_classes, train_victim
from rem_release.commands.audit_plan import _seconds_per_pass
from rem_release.data import array_file
from rem_release.data.array_file import ArrayFile, StoredImages, to_device
from rem_release.methods import METHODS
from rem_release.methods.maker import make_image_set
from rem_release.methods.min_max_maker import MinMaxMaker
from rem_release.methods.probe import probe_gradients
from rem_release.threats.images import TestImages, TrainingImages
from rem_release.threats.kinds.orthogonal.projection import project_out
from rem_release.threats.threat import parse_threat
from rem_release.training.memory import measure_peak
from rem_release.training.precision import Precision
from rem_release.training.runtime import start
from rem_release.verdict.plan import Task
from rem_release.verdict.recipe import parse_architecture
from tests.audits import read_recipe
from tests.gpu import CPU, GPU, on_gpu
from tests.test_methods import recipe_of

pytestmark = on_gpu

MIB = 2**20
SIDE = 64


def draw(count: int) -> Tensor:
    """Images of random colours: uint8 [count, 3, 64, 64], on the CPU."""
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def peak_of(work: Callable[[], object]) -> int:
    """Bytes that tensors took beside those that were there, at most. The first call of anything also gets workspaces
    from the libraries, which stay: call it once before."""
    gc.collect()
    before = torch.cuda.memory_allocated(GPU)
    _, peak = measure_peak(GPU, work)
    assert peak is not None
    return peak - before


@pytest.fixture
def stored(tmp_path: Path) -> tuple[StoredImages, Tensor]:
    """48 MiB of images on disk: three pieces; and the same in memory."""
    in_memory = draw(4096)
    file = ArrayFile(tmp_path / "images.npy", tuple(in_memory.shape), np.uint8, new=True)
    file.write(0, in_memory.numpy())
    file.flush()
    return StoredImages(file, torch.arange(len(in_memory))), in_memory


def test_images_that_fit_are_brought_to_the_gpu(stored: tuple[StoredImages, Tensor]) -> None:
    images, in_memory = stored
    found: list[Tensor | StoredImages] = []
    peak = peak_of(lambda: found.append(to_device(images, GPU)))
    (near,) = found
    assert isinstance(near, Tensor)
    assert near.is_cuda
    assert torch.equal(near.cpu(), in_memory)
    assert peak <= 48 * MIB + 32 * MIB, "the images, and at most two pieces of 16 MiB"


def test_images_that_would_take_too_much_stay_on_disk_and_are_read_batch_by_batch(
    stored: tuple[StoredImages, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, in_memory = stored
    monkeypatch.setattr(array_file, "_SHARE_OF_GPU", 0.0)
    assert to_device(images, GPU) is images
    chosen = torch.tensor([4000, 3, 17], device=GPU)
    batch = images[chosen]
    assert batch.is_cuda
    assert torch.equal(batch.cpu(), in_memory[chosen.cpu()])
    near = to_device(in_memory, GPU)
    assert isinstance(near, Tensor)
    assert near.is_cuda, "what memory holds is small"


def test_what_torch_keeps_without_need_is_free() -> None:
    """1 GiB that was used and is not any more. Others on the card may take or give some meanwhile: 256 MiB."""
    torch.cuda.empty_cache()
    before, driver = array_file._free_bytes(GPU), torch.cuda.mem_get_info(GPU)[0]
    torch.empty(1024 * MIB, dtype=torch.uint8, device=GPU)
    assert torch.cuda.mem_get_info(GPU)[0] <= driver - 768 * MIB, "the driver counts it as taken"
    assert abs(array_file._free_bytes(GPU) - before) <= 256 * MIB
    torch.cuda.empty_cache()


def test_the_peak_is_what_tensors_took() -> None:
    """Two of 64 MiB at once; torch rounds up to 2 MiB."""

    def work() -> None:
        one = torch.zeros(64 * MIB, dtype=torch.uint8, device=GPU)
        torch.zeros_like(one)

    peak = peak_of(work)
    assert 128 * MIB <= peak <= 132 * MIB
    assert measure_peak(CPU, lambda: 7) == (7, None)


def make_task(threat: str) -> Task:
    return Task(parse_architecture("small_vgg"), parse_threat(threat), "clean", 0)


def learnt(count: int) -> TrainingImages:
    return TrainingImages(draw(count).to(GPU), torch.arange(count, device=GPU) % 4, 4)


def test_the_attack_at_the_end_takes_a_batch_of_memory(tmp_path: Path) -> None:
    """Of 512 images 16 at a time are 1/32 of the activations; a quarter leaves room for what does not grow."""
    task, recipe, images = make_task("pgd(radius=8/255)"), read_recipe(tmp_path), learnt(512)
    model = build_victim(task, 4, SIDE).to(GPU)
    attack = partial(_measure_attack, model, task, recipe, images, 1)
    attack(512)
    small, large = peak_of(lambda: attack(16)), peak_of(lambda: attack(512))
    assert small < large / 4
    # float32 means of losses over other batches, of which the gain is a difference
    assert attack(16) == pytest.approx(attack(512), rel=1e-2, abs=1e-4)


def test_a_test_set_is_transformed_a_batch_at_a_time() -> None:
    """All of it would be 197 MB in float32 after the projection, beside what the projection itself takes."""
    images = draw(4000).to(GPU)
    directions = torch.linalg.qr(torch.randn(3 * SIDE * SIDE, 4, device=GPU))[0]
    tests = TestImages(images, (partial(project_out, Q=directions),))
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4)).to(GPU)
    found = name_classes(model, tests)
    whole = project_out(images.float() / 255, directions)
    with torch.no_grad():
        expected = model(whole).argmax(1).cpu().numpy()
    assert (found == expected).mean() >= 0.999, "but for ties of float32 in batches of other sizes"
    del whole
    assert peak_of(lambda: name_classes(model, tests)) < 4000 * 3 * SIDE * SIDE * 4


def test_a_victim_that_diverged_leaves_the_gpu(tmp_path: Path) -> None:
    """Not a byte more than before; an ordinary victim comes first, for the libraries' workspaces."""
    accelerator, images = start(), learnt(64)
    tests = (draw(32).to(GPU), torch.arange(32, device=GPU) % 4)

    def run(**changes: object) -> bool:
        recipe = read_recipe(tmp_path, victim__least_steps=4, victim__batch_size=16, **changes)
        return train_victim(accelerator, make_task("standard"), recipe, images, 64, *tests).model is None

    assert not run()
    gc.collect()
    before = torch.cuda.memory_allocated(GPU)
    assert run(victim__learning_rate=1.0e38)
    assert torch.cuda.memory_allocated(GPU) <= before


def test_a_plan_of_one_draw_foresees_the_memory_of_the_training() -> None:
    """ResNet-18 in batches of four: its gradients take as much as its weights, and so does their momentum. Steps of PGD
    alone have neither. The libraries may choose other workspaces: 10 %."""
    recipe = recipe_of("rem")
    noise = METHODS["em"].adopt(recipe.noise)
    recipe = replace(recipe, noise=noise, generator=replace(recipe.generator, model="resnet18"))
    count = 8
    keys, sizes = torch.arange(count), torch.full((count, 2), SIDE)
    in_memory = make_image_set(draw(count), torch.arange(count) % 3, keys, sizes, GPU)
    recipe = replace(recipe, data=replace(recipe.data, resolution=SIDE))

    def make() -> MinMaxMaker:
        maker = recipe.noise.build(recipe.set_for(3, 0), start())
        assert isinstance(maker, MinMaxMaker)
        return maker

    def train(maker: MinMaxMaker) -> None:
        maker.train(in_memory, None, lambda name: nullcontext(lambda done, total: None))

    train(make())
    trained, rehearsed, spent = make(), make(), make()
    most = peak_of(lambda: train(trained))
    assert peak_of(lambda: probe_gradients(rehearsed, in_memory, trains=True)) == pytest.approx(most, rel=0.1)
    weights = sum(parameter.numel() * 4 for parameter in spent.model.parameters())
    assert peak_of(lambda: probe_gradients(spent, in_memory, trains=False)) < most - weights


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_the_probe_of_an_audit_foresees_the_memory_of_a_victim(precision: Precision, tmp_path: Path) -> None:
    """In the recipe's precision: a step of ordinary training. The images of a batch come on top, and the libraries may
    choose other workspaces: 20 %."""
    recipe = read_recipe(tmp_path, victim__least_steps=4, victim__batch_size=32, victim__precision=precision)
    images, task, accelerator = learnt(32), make_task("standard"), start()
    holdout, target = SimpleNamespace(train_rows=range(32)), SimpleNamespace(classes=["a", "b", "c", "d"])
    setup = SimpleNamespace(recipe_of=lambda task: recipe, holdout=holdout, target=target, resolution=SIDE)
    runner = SimpleNamespace(setup=setup, accelerator=accelerator)
    tests = (draw(32).to(GPU), torch.arange(32, device=GPU) % 4)
    train_victim(accelerator, task, recipe, images, 32, *tests)
    most = peak_of(lambda: train_victim(accelerator, task, recipe, images, 32, *tests))
    found = peak_of(lambda: _seconds_per_pass(runner, task))  # type: ignore[arg-type]
    assert found == pytest.approx(most, rel=0.2)
