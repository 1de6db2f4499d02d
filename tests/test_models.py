"""The networks: stems by resolution, centring, and initial weights by seed."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from rem_release.models import MODELS, build_model


def feature_maps(network, resolution):
    """Shape of what each stage hands on."""
    shapes = {}
    names = ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4")
    for name in names:
        module = network.get_submodule(name)
        module.register_forward_hook(lambda m, i, output, name=name: shapes.__setitem__(name, tuple(output.shape[1:])))
    with torch.no_grad():
        network.eval()(torch.zeros((1, 3, resolution, resolution)))
    return [shapes[name] for name in names]


@pytest.mark.parametrize("resolution", [32, 64])
def test_small_images_get_the_cifar_stem(resolution):
    model, r = build_model("resnet18", 10, resolution, 0), resolution
    conv = model.network.conv1
    assert (conv.kernel_size, conv.stride, conv.padding, conv.bias) == ((3, 3), (1, 1), (1, 1), None)
    assert feature_maps(model.network, r) == [
        (64, r, r),
        (64, r, r),
        (64, r, r),
        (128, r // 2, r // 2),
        (256, r // 4, r // 4),
        (512, r // 8, r // 8),
    ]


@pytest.mark.parametrize("resolution", [65, 224])
def test_large_images_get_torchvisions_network_unchanged(resolution):
    model = build_model("resnet18", 100, resolution, 5)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        reference = resnet18(num_classes=100)
    ours, theirs = model.network.state_dict(), reference.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert feature_maps(model.network, resolution) == feature_maps(reference, resolution)


def test_the_cifar_stem_is_initialised_like_the_rest():
    """He et al.'s normal by fan-out: variance 2 / (64 · 9), where nn.Conv2d alone would give 1 / (3 · 27)."""
    weight = build_model("resnet18", 10, 32, 0).network.conv1.weight
    assert abs(weight.std() / (2 / (64 * 9)) ** 0.5 - 1) < 0.1  # 1,728 weights: 6 standard deviations


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("resolution", [8, 32, 224])
def test_logits_are_those_of_the_network_on_centred_images(name, resolution):
    model = build_model(name, 7, resolution, 0).eval()
    images = torch.rand((2, 3, resolution, resolution), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(images)
        assert logits.shape == (2, 7)
        assert torch.equal(logits, model.network(images - 0.5))
        assert not torch.equal(logits, model.network(images))


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_alone_decides_the_weights_and_the_global_state_is_left_alone(name):
    before = torch.get_rng_state()
    one = build_model(name, 4, 32, 3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        same = build_model(name, 4, 32, 3).state_dict()
    other = build_model(name, 4, 32, 4).state_dict()
    assert all(torch.equal(one[key], same[key]) for key in one)
    drawn = [key for key, tensor in one.items() if tensor.dim() == 4]
    assert drawn
    assert not any(torch.equal(one[key], other[key]) for key in drawn)


def test_small_resnet_sees_every_pixel():
    """Each input pixel reaches some logit, at the edges too."""
    model = build_model("small_resnet", 3, 8, 0).eval()
    images = torch.full((1, 3, 8, 8), 0.3, requires_grad=True)
    (gradient,) = torch.autograd.grad((model(images) * torch.tensor([1.0, -2.0, 0.5])).sum(), images)
    assert (gradient != 0).all()


def test_an_unknown_model_is_refused():
    with pytest.raises(KeyError, match="resnet50"):
        build_model("resnet50", 3, 32, 0)


def test_every_model_can_be_trained():
    for name in MODELS:
        model = build_model(name, 3, 8, 0).train()
        nn.functional.cross_entropy(model(torch.rand((4, 3, 8, 8))), torch.tensor([0, 1, 2, 0])).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters()), name
