"""Backbones from a file of weights: what is taken from it, what is new, and what is refused."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import densenet121, mobilenet_v2, resnet18, resnet50
from torchvision.transforms.v2.functional import normalize, resize

from rem_release.errors import InputError
from rem_release.models import MODELS, build_model
from rem_release.training import pretrained
from rem_release.training.pretrained import build_pretrained

IMAGES = torch.rand((2, 3, 20, 20), generator=torch.Generator().manual_seed(0))


def make(builder, *args, seed=11, **kwargs):
    """A network whose weights no default and no seed of a test gives again."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = builder(*args, **kwargs)
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                if name.endswith("running_mean"):
                    tensor.normal_(std=0.1)
                elif name.endswith("running_var"):
                    tensor.uniform_(0.5, 2)
    return network.eval()


def make_ours(name, classes, resolution):
    return make(lambda: build_model(name, classes, resolution, 11).network)


def write(path, state):
    """The state dict of a network, or one given, as the path's suffix says."""
    state = state.state_dict() if isinstance(state, nn.Module) else state
    (save_file if path.suffix == ".safetensors" else torch.save)(state, path)
    return path


def refuse(name, path, resize=72, classes=3):
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        build_pretrained(name, classes, path, resize, 0)
    message = str(caught.value)
    assert "\n" not in message
    return message


def reference_logits(network, head, images, side):
    """torchvision's own way: resize, normalise, then its network with another head."""
    owner, _, last = head.rpartition(".")
    setattr(network.get_submodule(owner), last, nn.Identity())
    resized = resize(images, [side, side], antialias=True)
    return network(normalize(resized, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    ("name", "builder", "head"), [("resnet18", resnet18, "fc"), ("mobilenet_v2", mobilenet_v2, "classifier.1")]
)
@pytest.mark.parametrize("size", [20, 72, 100])
def test_logits_are_torchvisions_with_a_new_head(tmp_path, suffix, name, builder, head, size):
    original = make(builder)
    model = build_pretrained(name, 5, write(tmp_path / f"weights{suffix}", original), 72, 3).eval()
    images = torch.rand((2, 3, size, size), generator=torch.Generator().manual_seed(0))
    new_head = model.network.get_submodule(head)
    assert new_head.out_features == 5
    with torch.no_grad():
        expected = new_head(reference_logits(original, head, images, 72))
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        *(("small_resnet", "head"), ("small_vgg", "classifier"), ("small_mobilenet", "head"), ("senet18", "fc")),
        *(("densenet121", "classifier"), ("vit_small", "heads.head"), ("two_layer_probe", "3")),
    ],
)
def test_all_but_the_head_comes_from_the_file(tmp_path, name, head):
    original = make_ours(name, 4, 32)
    path = write(tmp_path / "weights.safetensors", original)
    before = torch.get_rng_state()
    model = build_pretrained(name, 4, path, 32, 3)
    assert torch.equal(torch.get_rng_state(), before)
    old, new = original.state_dict(), model.network.state_dict()
    fresh = build_model(name, 4, 32, 3).network.state_dict()
    other = build_pretrained(name, 4, path, 32, 4).network.state_dict()
    changed = {key for key in old if not torch.equal(old[key], new[key])}
    assert f"{head}.weight" in changed
    assert changed <= {f"{head}.weight", f"{head}.bias"}
    assert all(torch.equal(new[key], fresh[key]) for key in changed)
    assert not torch.equal(new[f"{head}.weight"], other[f"{head}.weight"])


@pytest.mark.parametrize("name", ["resnet18", "vgg16"])
def test_a_network_of_small_images_keeps_its_form_at_any_size(tmp_path, name):
    path = write(tmp_path / "weights.safetensors", make_ours(name, 100, 32))
    for side in (32, 80):
        model = build_pretrained(name, 3, path, side, 0).eval()
        assert model(IMAGES).shape == (2, 3)
        assert {key: t.shape for key, t in model.network.state_dict().items()} == {
            key: t.shape for key, t in build_model(name, 3, 32, 0).network.state_dict().items()
        }


def test_a_network_of_large_images_keeps_its_form_at_a_small_size(tmp_path):
    model = build_pretrained("resnet18", 3, write(tmp_path / "weights.pth", make(resnet18)), 48, 0)
    assert model.network.conv1.kernel_size == (7, 7)
    assert model(IMAGES).shape == (2, 3)


@pytest.mark.parametrize(("side", "stride"), [(32, 1), (72, 2)])
def test_where_both_forms_fit_the_size_decides(tmp_path, side, stride):
    model = build_pretrained("mobilenet_v2", 3, write(tmp_path / "weights.pth", make(mobilenet_v2)), side, 0)
    assert model.network.features[0][0].stride == (stride, stride)


def test_files_of_the_first_torchvision_are_read(tmp_path):
    """They name a dense layer's parts norm.1, not norm1, and do not count batches."""
    original = make(densenet121)
    state = {
        key.replace("norm1", "norm.1")
        .replace("norm2", "norm.2")
        .replace("conv1", "conv.1")
        .replace("conv2", "conv.2"): t
        for key, t in original.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    model = build_pretrained("densenet121", 3, write(tmp_path / "weights.pth", state), 72, 0).eval()
    with torch.no_grad():
        expected = model.network.classifier(reference_logits(original, "classifier", IMAGES, 72))
        torch.testing.assert_close(model(IMAGES), expected, rtol=1e-4, atol=1e-5)


def test_half_precision_is_read_as_single(tmp_path):
    state = {
        key: t.half() if t.is_floating_point() else t
        for key, t in make_ours("small_resnet", 3, 32).state_dict().items()
    }
    network = build_pretrained("small_resnet", 3, write(tmp_path / "weights.safetensors", state), 32, 0).network
    assert network.stem[0].weight.dtype == torch.float32
    assert torch.equal(network.stem[0].weight, state["stem.0.weight"].float())


def test_the_gradient_of_every_pixel_comes_through(tmp_path):
    model = build_pretrained("small_vgg", 3, write(tmp_path / "w.pth", make_ours("small_vgg", 3, 32)), 48, 0).eval()
    images = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((model(images) * torch.tensor([1.0, -2.0, 0.5])).sum(), images)
    assert (gradient != 0).any(dim=1).all()


def test_mixed_precision_does_not_round_the_images(tmp_path):
    model = build_pretrained("small_vgg", 3, write(tmp_path / "w.pth", make_ours("small_vgg", 3, 32)), 48, 0).eval()
    seen = []
    model.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(IMAGES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(IMAGES).dtype == torch.bfloat16
    assert torch.equal(seen[0], seen[1])


def test_the_normalisation_is_no_part_of_the_weights(tmp_path):
    model = build_pretrained("small_vgg", 3, write(tmp_path / "w.pth", make_ours("small_vgg", 3, 32)), 48, 0)
    assert {key.removeprefix("network.") for key in model.state_dict()} == set(model.network.state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_missing_file_and_a_folder_are_refused(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    assert f"no file of weights {path}" in refuse("resnet18", path)
    path.mkdir()
    assert f"no file of weights {path}" in refuse("resnet18", path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".legacy.pth"])
@pytest.mark.parametrize("kept", [0.0, 0.0001, 0.3, 0.999])
def test_a_file_cut_short_is_refused(tmp_path, suffix, kept):
    path, state = tmp_path / f"weights{suffix}", make_ours("small_resnet", 3, 32).state_dict()
    if suffix == ".legacy.pth":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        write(path, state)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert f"{path} is damaged" in refuse("small_resnet", path)


@pytest.mark.parametrize("content", [b"not weights at all", b"\x80\x02garbage", b"PK\x03\x04garbage"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_something_else_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    assert f"{path} is damaged" in refuse("resnet18", path)


class Trap:
    """What a pickle would run when it is opened."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, new_format):
    path, marker = tmp_path / "weights.pth", tmp_path / "ran"
    state = {**make_ours("small_resnet", 3, 32).state_dict(), "trap": Trap(marker)}
    torch.save(state, path, _use_new_zipfile_serialization=new_format)
    message = refuse("small_resnet", path)
    assert f"{path} holds code (" in message
    assert "mkdir), which was not run" in message
    assert not marker.exists()


def test_a_whole_pickled_network_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(2, 2), path)
    assert "holds code (torch.nn.modules.linear.Linear), which was not run" in refuse("resnet18", path)


@pytest.mark.parametrize(
    "content", [{"state_dict": {"conv1.weight": torch.zeros(1)}}, [torch.zeros(1)], torch.zeros(1)]
)
def test_other_things_than_a_state_dict_are_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    assert f"{path} holds more than a network's tensors" in refuse("resnet18", path)


@pytest.mark.parametrize(
    ("name", "of", "fault"),
    [
        ("resnet18", resnet50, "layer1.0.conv1.weight is [64, 64, 1, 1] there and [64, 64, 3, 3] in the network"),
        ("resnet18", lambda: make_ours("resnet50", 3, 32), "layer1.0.conv1.weight is [64, 64, 1, 1] there"),
        ("resnet18", mobilenet_v2, "it has no conv1.weight"),
        ("senet18", resnet18, "it has no layer1.0.squeeze.fc1.weight"),
        ("resnet18", lambda: make_ours("senet18", 3, 80), "the network has no layer1.0.squeeze.fc1.bias"),
        ("vit_small", lambda: make_ours("vit_small", 3, 28), "encoder.pos_embedding is [1, 50, 256] there"),
    ],
)
def test_weights_of_another_network_are_refused_by_the_first_key(tmp_path, name, of, fault):
    path = write(tmp_path / "weights.safetensors", of())
    message = refuse(name, path, resize=32 if name == "vit_small" else 72)
    assert f"{path} does not fit {name}: {fault}" in message
    assert ("image size" in message) is (name == "vit_small")


def test_a_head_of_the_file_may_have_any_size_or_be_missing(tmp_path):
    state = make_ours("small_resnet", 1000, 32).state_dict()
    with_head = build_pretrained("small_resnet", 3, write(tmp_path / "with.safetensors", state), 32, 0)
    bare = {key: tensor for key, tensor in state.items() if not key.startswith("head.")}
    without = build_pretrained("small_resnet", 3, write(tmp_path / "without.safetensors", bare), 32, 0)
    for key, tensor in with_head.state_dict().items():
        assert torch.equal(tensor, without.state_dict()[key])


def test_a_probe_with_nothing_but_a_head_is_refused(tmp_path):
    path = write(tmp_path / "weights.safetensors", make_ours("linear_probe", 3, 32))
    assert "linear_probe is nothing but a classifier head" in refuse("linear_probe", path, resize=32)


def test_an_unknown_network_is_refused_with_the_names(tmp_path):
    message = refuse("resnet19", Path("weights.pth"))
    assert "no network 'resnet19'" in message
    assert all(name in message for name in MODELS)


def test_the_matrix_of_a_size_is_built_once(tmp_path, monkeypatch):
    """It is built on the host, for which a GPU would wait at every batch."""
    built, build = [], pretrained.interpolation_matrix

    def note(source, target):
        built.append((source, target))
        return build(source, target)

    monkeypatch.setattr(pretrained, "interpolation_matrix", note)
    pretrained._matrix.cache_clear()
    model = pretrained.Enlarged(nn.Identity(), 24)
    first = model(IMAGES)
    assert torch.equal(model(IMAGES), first)
    assert built == [(20, 24)]
    model(IMAGES[..., :9, :9])
    model(IMAGES.double())
    assert built == [(20, 24), (9, 24), (20, 24)]
