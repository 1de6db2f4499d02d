"""The training loop: order of images, resuming, and what must stop it."""

import os
import signal
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rem_release import __version__
from rem_release.atomic_files import written_atomically
from rem_release.errors import InputError, NonFiniteLossError, RemReleaseError
from rem_release.training.batches import batch_indices
from rem_release.training.checkpoints import Checkpoint, collect, load_weights, restore, save_weights
from rem_release.training.loop import Schedule, ScheduledOptimizer, train, train_together

SCHEDULE = Schedule(steps=9, batch_size=4, learning_rate=0.1, momentum=0.9, weight_decay=5e-4, decay_every=4, decay=0.1)
X = torch.rand((10, 5), generator=torch.Generator().manual_seed(0))
Y = torch.arange(10) % 2


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def loss_of(model, wrapped, indices, step):
    return nn.functional.cross_entropy(wrapped(X[indices]), Y[indices])


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_every_epoch_shows_every_image_once(count, batch_size, seed):
    batch_size = min(batch_size, count)
    steps = 3 * count  # whole epochs: 3 · batch_size of them
    stream = torch.cat([batch_indices(seed, step, count, batch_size) for step in range(steps)])
    epochs = stream.reshape(-1, count)
    assert torch.equal(epochs.sort(1).values, torch.arange(count).expand_as(epochs))
    if count > 20:
        assert not torch.equal(epochs[0], epochs[1])


def test_training_is_plain_sgd_with_momentum_and_decay():
    """A reference written out: v ← μv + g + λθ, θ ← θ − η·v (PyTorch's SGD), η · 0.1 every 4 steps."""
    model, reference = network(), network()
    train(Accelerator(), model, SCHEDULE, len(X), 0, loss_of)
    velocity = [torch.zeros_like(p) for p in reference.parameters()]
    for step in range(SCHEDULE.steps):
        reference.train()
        indices = batch_indices(0, step, len(X), 4)
        gradients = torch.autograd.grad(
            nn.functional.cross_entropy(reference(X[indices]), Y[indices]), list(reference.parameters())
        )
        rate = 0.1 * 0.1 ** (step // 4)
        with torch.no_grad():
            for p, g, v in zip(reference.parameters(), gradients, velocity, strict=True):
                v.mul_(0.9).add_(g + 5e-4 * p)
                p.sub_(rate * v)
    for name, tensor in reference.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, msg=name)


@pytest.mark.parametrize("stop_after", [1, 4, 8])
def test_a_resumed_training_equals_one_that_was_never_stopped(tmp_path, stop_after):
    whole = network()
    train(Accelerator(), whole, SCHEDULE, len(X), 0, loss_of)

    def stop(model, wrapped, indices, step):
        if step == stop_after:
            raise KeyboardInterrupt
        return loss_of(model, wrapped, indices, step)

    path = tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        train(Accelerator(), network(), SCHEDULE, len(X), 0, stop, Checkpoint(path, "same", every_seconds=0))
    seen = []

    def count(model, wrapped, indices, step):
        seen.append(step)
        return loss_of(model, wrapped, indices, step)

    resumed = network(seed=1)
    train(Accelerator(), resumed, SCHEDULE, len(X), 0, count, Checkpoint(path, "same"))
    assert same(state(whole), state(resumed))
    assert seen == list(range(stop_after, 9))


def test_a_finished_training_is_not_repeated(tmp_path):
    model, checkpoint = network(), Checkpoint(tmp_path / "c", "same")
    train(Accelerator(), model, SCHEDULE, len(X), 0, loss_of, checkpoint)

    def refuse(*_):
        raise AssertionError("trained again")

    again = network(seed=1)
    train(Accelerator(), again, SCHEDULE, len(X), 0, refuse, checkpoint)
    assert same(state(model), state(again))


# --- several networks, each with the optimiser that it is given


def rate_of_adam(step):
    return 0.01 / (1 + step)


def train_two(folder=None, stop_after=None, own=None, seed=0, every_seconds=0):
    """The first network by Adam with a learning rate of its own; the second by the schedule, or by `own`."""
    models = {"first": network(seed), "second": network(seed + 1)}
    optimizers = {"first": ScheduledOptimizer(torch.optim.Adam(models["first"].parameters()), rate_of_adam)}
    if own:
        optimizers["slow"] = own.optimizer(models["second"].parameters())

    def loss_of_both(plain, wrapped, indices, step):
        if step == stop_after:
            raise KeyboardInterrupt
        return sum(loss_of(None, each, indices, step) for each in wrapped.values())

    checkpoint = Checkpoint(folder, "same", every_seconds=every_seconds) if folder else None
    train_together(Accelerator(), models, SCHEDULE, len(X), 0, loss_of_both, checkpoint, optimizers=optimizers)
    return {f"{name}.{key}": tensor for name, model in models.items() for key, tensor in state(model).items()}


@pytest.mark.parametrize("own", [None, replace(SCHEDULE, learning_rate=0.02, momentum=0.0, decay_every=2)])
def test_networks_learn_side_by_side_each_by_its_own_optimiser(own):
    """A reference of one network after the other, written out with torch alone."""
    first, second = network(0), network(1)
    of_second = own or SCHEDULE
    optimizers = [
        (first, torch.optim.Adam(first.parameters()), rate_of_adam),
        (
            second,
            torch.optim.SGD(second.parameters(), lr=1, momentum=of_second.momentum, weight_decay=5e-4),
            lambda step: of_second.learning_rate * 0.1 ** (step // of_second.decay_every),
        ),
    ]
    for model, optimizer, rate in optimizers:
        for step in range(SCHEDULE.steps):
            optimizer.param_groups[0]["lr"] = rate(step)
            indices = batch_indices(0, step, len(X), 4)
            optimizer.zero_grad()
            loss_of(model, model, indices, step).backward()
            optimizer.step()
    expected = {f"first.{key}": tensor for key, tensor in first.state_dict().items()}
    expected |= {f"second.{key}": tensor for key, tensor in second.state_dict().items()}
    torch.testing.assert_close(train_two(own=own), expected, rtol=0, atol=0)


@pytest.mark.parametrize("stop_after", [1, 4, 8])
@pytest.mark.parametrize("own", [None, replace(SCHEDULE, learning_rate=0.02, decay_every=2)])
def test_a_training_with_several_optimisers_goes_on_where_it_was_stopped(tmp_path, stop_after, own):
    folder = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        train_two(folder, stop_after, own)
    _, held = Checkpoint(folder, "same").load()
    of_second = "slow" if own else "second"
    assert {"optimizer.first.0.exp_avg", "optimizer.first.0.step", f"optimizer.{of_second}.0.momentum_buffer"} <= set(
        held
    )
    resumed, whole = train_two(folder, own=own, seed=5), train_two(own=own)
    assert resumed.keys() == whole.keys()
    assert same(resumed, whole)


def test_a_checkpoint_of_other_optimisers_is_refused_in_one_line(tmp_path):
    """As of a build that did not name them; the networks stay as they were."""
    model, optimizer = network(), torch.optim.Adam(network().parameters())
    train_with(tmp_path / "c")
    step, held = Checkpoint(tmp_path / "c", "same").load()
    unnamed = {name.replace("optimizer.model.", "optimizer."): tensor for name, tensor in held.items()}
    assert unnamed.keys() != held.keys()
    Checkpoint(tmp_path / "c", "same").save(unnamed, step + 1)
    before = state(model)
    with pytest.raises(InputError, match=r"^the checkpoints are of other networks or optimisers .*--overwrite$"):
        train(Accelerator(), model, SCHEDULE, len(X), 0, loss_of, Checkpoint(tmp_path / "c", "same"))
    assert same(state(model), before)
    wider = {"model": nn.Linear(5, 3)}
    with pytest.raises(InputError, match="of other networks or optimisers"):
        restore({"model.weight": torch.zeros(2, 5), "model.bias": torch.zeros(2)}, wider, {"model": optimizer})


def test_optimisers_that_a_checkpoint_cannot_hold_are_refused():
    model, stranger = network(), network(1)
    fine = SCHEDULE.optimizer(model.parameters())
    for models, own, words in (
        ({"a.b": model}, {}, "'a.b' cannot name"),
        ({"optimizer": model}, {}, "'optimizer' cannot name"),
        ({"model": model}, {"x": SCHEDULE.optimizer(stranger.parameters())}, "x has parameters of no network"),
        ({"model": model}, {"x": fine, "y": fine}, "y has parameters that another one has"),
        ({"one": model, "two": stranger}, {"two": fine}, "two has no parameters of the network two"),
    ):
        with pytest.raises(ValueError, match=words):
            train_together(Accelerator(), models, SCHEDULE, len(X), 0, loss_of, optimizers=own)
    counting = torch.optim.SGD(model.parameters(), lr=1)
    counting.state[next(model.parameters())]["count"] = 3
    with pytest.raises(ValueError, match="the optimiser model keeps count as int"):
        collect({"model": model}, {"model": counting})


def steps_in(folder):
    return sorted(int(path.stem[5:]) for path in folder.glob("step-*.safetensors"))


def train_with(folder, fingerprint="same", warnings=None, **changes):
    """Train to the end; returns the steps that were made."""
    seen = []

    def count(model, wrapped, indices, step):
        seen.append(step)
        return loss_of(model, wrapped, indices, step)

    warn = (warnings if warnings is not None else []).append
    checkpoint = Checkpoint(folder, fingerprint, every_seconds=0, warn=warn, **changes)
    model = network(seed=len(seen))
    train(Accelerator(), model, SCHEDULE, len(X), 0, count, checkpoint)
    return seen, state(model)


def test_the_latest_checkpoints_are_kept_and_nothing_else(tmp_path):
    train_with(tmp_path / "c", kept=3)
    assert steps_in(tmp_path / "c") == [7, 8, 9]
    assert len(list((tmp_path / "c").iterdir())) == 6


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    train_with(tmp_path / "c")
    with pytest.raises(InputError, match=r"belongs to another recipe, seed or set of images; .*--overwrite"):
        train_with(tmp_path / "c", "other")


@pytest.mark.parametrize("harm", ["cut", "flipped", "lost", "note"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path, harm):
    _, whole = train_with(tmp_path / "c")
    path = tmp_path / "c" / "step-00000009.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    {
        "cut": lambda: path.write_bytes(path.read_bytes()[:-100]),
        "flipped": lambda: path.write_bytes(bytes(data)),
        "lost": path.unlink,
        "note": lambda: path.with_suffix(".json").write_text("{"),
    }[harm]()
    warnings = []
    seen, after = train_with(tmp_path / "c", warnings=warnings)
    assert seen == [8]
    assert same(whole, after)
    assert len(warnings) == 1
    assert f"{path} is damaged" in warnings[0]
    assert "of step 8" in warnings[0]


def test_checkpoints_that_are_all_damaged_are_refused(tmp_path):
    train_with(tmp_path / "c")
    for path in (tmp_path / "c").glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"step-00000009\.safetensors is damaged"):
        train_with(tmp_path / "c")


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    train_with(tmp_path / "c")
    for note in (tmp_path / "c").glob("*.json"):
        note.write_text(note.read_text().replace(__version__, "0.0.1"))
    with pytest.raises(InputError, match=rf"written by version 0\.0\.1 and this is {__version__}"):
        train_with(tmp_path / "c")


def test_a_checkpoint_that_a_kill_cut_off_does_not_count(tmp_path):
    """The state is there and its note is not: it was being written. What it left goes, and nothing else."""
    folder = tmp_path / "c"
    train_with(folder, phase="clean_model")
    of_others = {path: path.read_bytes() for path in folder.iterdir()}
    train_with(folder)
    (folder / "step-00000009.json").unlink()
    with written_atomically(folder / "step-00000099.safetensors") as left:
        left.write_bytes(b"half")
    (folder / "step-00000099.safetensors").rename(left)
    warnings = []
    assert train_with(folder, warnings=warnings)[0] == [8]
    assert warnings == []
    assert steps_in(folder) == [8, 9]
    assert not left.exists()
    assert len(of_others) == 4
    assert all(path.read_bytes() == data for path, data in of_others.items())


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_lets_the_step_end_and_its_state_is_saved(tmp_path, number, error):
    """A checkpoint is not due for an hour, and yet nothing is lost."""
    whole = network()
    train(Accelerator(), whole, SCHEDULE, len(X), 0, loss_of)
    handlers = [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]
    seen = []

    def interrupted(model, wrapped, indices, step):
        seen.append(step)
        if seen == list(range(5)):
            os.kill(os.getpid(), number)
        return loss_of(model, wrapped, indices, step)

    model = network()
    checkpoint = Checkpoint(tmp_path / "c", "same", every_seconds=3600)
    with pytest.raises(error) as stopped:
        train(Accelerator(), model, SCHEDULE, len(X), 0, interrupted, checkpoint)
    assert getattr(stopped.value, "code", None) == (143 if number == signal.SIGTERM else None)
    assert max(steps_in(tmp_path / "c")) == 5
    assert [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)] == handlers
    train(Accelerator(), model, SCHEDULE, len(X), 0, interrupted, Checkpoint(tmp_path / "c", "same"))
    assert seen == list(range(9))
    assert same(state(whole), state(model))


def test_a_second_signal_does_not_wait(tmp_path):
    def interrupted(model, wrapped, indices, step):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second signal waited")

    with pytest.raises(KeyboardInterrupt):
        train(Accelerator(), network(), SCHEDULE, len(X), 0, interrupted, Checkpoint(tmp_path / "c", "same"))


def test_a_loss_that_is_not_finite_stops_before_it_updates():
    model = network()
    before = {}

    def break_at_3(model, wrapped, indices, step):
        if step == 3:
            before.update({name: p.detach().clone() for name, p in model.named_parameters()})
            return loss_of(model, wrapped, indices, step) * float("nan")
        return loss_of(model, wrapped, indices, step)

    with pytest.raises(RemReleaseError, match=r"nan at step 3"):
        train(Accelerator(), model, SCHEDULE, len(X), 0, break_at_3)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_weights_survive_a_file_and_bad_files_are_named(tmp_path):
    path, model = tmp_path / "w.safetensors", network()
    save_weights(path, model)
    other = network(seed=1)
    load_weights(path, other)
    assert same(state(model), state(other))
    with pytest.raises(InputError, match="cannot use the generator"):
        load_weights(path, nn.Linear(3, 3))
    with pytest.raises(InputError, match="cannot use the generator"):
        load_weights(tmp_path / "absent", model)


@pytest.mark.parametrize("error", [NonFiniteLossError, KeyboardInterrupt, torch.OutOfMemoryError])
def test_accelerate_forgets_the_network_of_a_training_that_fails(error):
    def fail(model, wrapped, indices, step):
        raise error("no")

    accelerator = Accelerator()
    with pytest.raises(error):
        train(accelerator, network(), SCHEDULE, len(X), 0, fail)
    assert not accelerator._models
    assert not accelerator._optimizers
