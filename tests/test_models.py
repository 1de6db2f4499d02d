"""The networks: known sizes, forms by resolution, centring, and initial weights by seed."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models as torchvision_models
from torchvision.models import resnet18

from rem_release.models import MODELS, ONE_SIZE, build_model
from rem_release.models.residual import SqueezedBlock
from rem_release.models.wide_resnet import PreActivationBlock

KNOWN = {
    ("vgg16", 32): (14_728_266, 0.3132),
    ("resnet18", 32): (11_173_962, 0.5554),
    ("resnet50", 32): (23_520_842, 1.298),
    ("densenet121", 32): (6_956_298 + 2 * 64, 0.888),  # torchvision's has a BatchNorm after the stem
    ("wide_resnet34_10", 32): (46_160_474, 6.66),
    ("mobilenet_v2", 32): (2_236_682, 0.088),
    ("senet18", 32): (11_173_962 + 2 * sum(c * c // 8 + c // 16 + c for c in (64, 128, 256, 512)), 0.5555),
    ("vit_small", 32): (3_195_146, 0.218),
    ("vit_small", 224): (22_050_664, 4.6),
    ("senet18", 224): (11_778_592, 1.814),
}
"""Published parameter counts (10 classes at 32, 1,000 at 224) and billions of multiply-adds of an image."""
TORCHVISION = {"vgg16": "VGG16_BN", "resnet18": "ResNet18", "resnet50": "ResNet50", "densenet121": "DenseNet121"}
TORCHVISION["mobilenet_v2"] = "MobileNet_V2"


def build_empty(name, classes, resolution):
    """A network of shapes without values, in eval mode."""
    with torch.device("meta"):
        return build_model(name, classes, resolution, 0).eval()


def count_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model, resolution):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty((1, 3, resolution, resolution), device="meta"))
    return counter.get_total_flops() / 2


def random_images(count, resolution):
    return torch.rand((count, 3, resolution, resolution), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "resolution"), KNOWN)
def test_sizes_are_the_published_ones(name, resolution):
    parameters, billions = KNOWN[name, resolution]
    model = build_empty(name, 10 if resolution == 32 else 1000, resolution)
    assert count_parameters(model) == parameters
    assert count_multiply_adds(model, resolution) == pytest.approx(billions * 1e9, rel=0.01)


@pytest.mark.parametrize("name", TORCHVISION)
def test_large_forms_are_the_networks_of_torchvisions_weights(name):
    weights = getattr(torchvision_models, f"{TORCHVISION[name]}_Weights").IMAGENET1K_V1.meta
    model = build_empty(name, 1000, 224)
    assert count_parameters(model) == weights["num_params"]
    assert count_multiply_adds(model, 224) == pytest.approx(weights["_ops"] * 1e9, rel=0.01)


def test_the_small_networks_are_cheap():
    """Their prices at 32 × 32 as their docstrings say; the two new ones cost less than half of small_resnet."""
    prices = {name: count_multiply_adds(build_empty(name, 10, 32), 32) / 1e6 for name in MODELS if "small_" in name}
    assert prices == pytest.approx({"small_resnet": 3.1, "small_vgg": 1.3, "small_mobilenet": 0.7}, abs=0.05)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("resolution", [8, 30, 48, 65, 100])
def test_images_of_any_size_give_logits(name, resolution):
    images = torch.empty((2, 3, resolution, resolution), device="meta")
    for classes in (2, 1000):
        assert build_empty(name, classes, resolution)(images).shape == (2, classes)


@pytest.mark.parametrize("name", MODELS)
def test_weights_belong_to_a_form_except_where_said_otherwise(name):
    def shapes(resolution):
        return {key: tensor.shape for key, tensor in build_empty(name, 10, resolution).state_dict().items()}

    for one, other in ((24, 32), (48, 64), (80, 224)):
        assert (shapes(one) == shapes(other)) is (name not in ONE_SIZE)


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


@pytest.mark.parametrize("name", ["resnet18", "senet18"])
@pytest.mark.parametrize("resolution", [32, 64])
def test_small_images_get_the_cifar_stem(name, resolution):
    model, r = build_model(name, 10, resolution, 0), resolution
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


@pytest.mark.parametrize(
    ("name", "key", "values"),
    [
        ("resnet18", "conv1.weight", [-0.02053918, -0.01483024, 0.03968704, -0.01732641]),
        ("resnet18", "fc.bias", [-0.01522035, -0.01921803, -0.01195172]),
        ("small_resnet", "stem.0.weight", [0.01344169, -0.11593071, 0.06128061, 0.06038709]),
        ("small_resnet", "head.bias", [0.04827867, -0.04314543, -0.04731323]),
    ],
)
def test_source_models_start_from_the_weights_they_always_had(name, key, values):
    """A release's bytes depend on them: taken at seed 7, 10 classes, 32 × 32, when there were these two networks."""
    tensor = build_model(name, 10, 32, 7).network.state_dict()[key]
    torch.testing.assert_close(tensor.flatten()[: len(values)], torch.tensor(values), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_network_on_centred_images(name):
    model = build_model(name, 7, 8, 0).eval()
    images = random_images(2, 8)
    with torch.no_grad():
        logits = model(images)
        assert logits.shape == (2, 7)
        assert torch.equal(logits, model.network(images - 0.5))
        assert not torch.equal(logits, model.network(images))


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_alone_decides_the_weights_and_the_global_state_is_left_alone(name):
    before = torch.get_rng_state()
    one = build_model(name, 4, 8, 3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        same = build_model(name, 4, 8, 3).state_dict()
    other = build_model(name, 4, 8, 4).state_dict()
    assert all(torch.equal(one[key], same[key]) for key in one)
    drawn = [key for key, tensor in one.items() if tensor.dim() in (2, 4)]
    assert drawn
    assert not any(torch.equal(one[key], other[key]) for key in drawn)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("resolution", [8, 9])
def test_a_new_network_sees_every_pixel(name, resolution):
    """Each input pixel reaches some logit, at the edges too, so that PGD works from the first step on."""
    model = build_model(name, 3, resolution, 0).eval()
    images = random_images(1, resolution).requires_grad_()
    (gradient,) = torch.autograd.grad((model(images) * torch.tensor([1.0, -2.0, 0.5])).sum(), images)
    assert (gradient != 0).any(dim=1).all()


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_trained_and_in_eval_mode_is_a_function_of_one_image(name):
    model = build_model(name, 3, 8, 0).train()
    images = random_images(4, 8)
    F.cross_entropy(model(images), torch.tensor([0, 1, 2, 0])).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        together = model(images)
        assert torch.equal(model(images), together)
        torch.testing.assert_close(model(images[2:3]), together[2:3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["small_resnet", "small_vgg", "small_mobilenet", "linear_probe", "two_layer_probe"])
def test_small_networks_and_probes_learn_random_labels_of_a_few_images(name):
    model = build_model(name, 4, 8, 0)
    images, labels = random_images(16, 8), torch.arange(16) % 4
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    assert (model.eval()(images).argmax(1) == labels).all()


def test_the_wide_network_activates_before_its_convolutions():
    """A block whose branch is silent hands its input on, negative values and all; a 1×1 shortcut is activated too."""
    same, wider = PreActivationBlock(4, 4, 1).eval(), PreActivationBlock(4, 8, 2).eval()
    x = torch.randn((2, 4, 5, 5), generator=torch.Generator().manual_seed(0))
    for block in (same, wider):
        nn.init.zeros_(block.conv2.weight)
    assert torch.equal(same(x), x)
    torch.testing.assert_close(wider(x), wider.shortcut(F.relu(wider.bn1(x))))


def test_squeezing_weighs_the_branch_and_not_the_shortcut():
    """With zero weights every channel is weighed by sigmoid(0) = 1/2."""
    block = SqueezedBlock(16, 16).eval()
    for parameter in block.squeeze.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn((2, 16, 5, 5), generator=torch.Generator().manual_seed(0))
    branch = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    torch.testing.assert_close(block(x), F.relu(branch / 2 + x))


@pytest.mark.parametrize("resolution", [8, 64, 70])
def test_the_transformer_knows_whole_patches(resolution):
    network = build_model("vit_small", 3, resolution, 0).network
    patch, side = network.conv_proj.kernel_size[0], network.image_size
    assert side % patch == 0
    assert side - patch < resolution <= side
    assert network.seq_length == (side // patch) ** 2 + 1


def test_mobilenets_two_forms_differ_in_two_strides():
    def strides(resolution):
        modules = build_empty("mobilenet_v2", 3, resolution).modules()
        return [module.stride[0] for module in modules if isinstance(module, nn.Conv2d)]

    small, large = strides(32), strides(224)
    assert (large.count(2), small.count(2)) == (5, 3)
    assert [at for at, stride in enumerate(large) if stride == 2][2:] == [
        at for at, stride in enumerate(small) if stride == 2
    ]


def test_an_unknown_model_is_refused():
    with pytest.raises(KeyError, match="resnet19"):
        build_model("resnet19", 3, 32, 0)
