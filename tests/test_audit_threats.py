"""The notation of threats: every name and parameter, canonical names, order, radii in terms of rho_a, refusals."""

import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rem_release.threats.kinds.bit_depth import BitDepth
from rem_release.threats.kinds.cutmix import Cutmix
from rem_release.threats.kinds.cutout import Cutout
from rem_release.threats.kinds.eot import Eot
from rem_release.threats.kinds.fat import Fat
from rem_release.threats.kinds.gaussian import Gaussian
from rem_release.threats.kinds.greyscale import Greyscale
from rem_release.threats.kinds.jpeg import Jpeg
from rem_release.threats.kinds.linear_probe import LinearProbe
from rem_release.threats.kinds.mean import Mean
from rem_release.threats.kinds.median import Median
from rem_release.threats.kinds.mixed import Mixed
from rem_release.threats.kinds.mixup import Mixup
from rem_release.threats.kinds.orthogonal import Orthogonal
from rem_release.threats.kinds.pgd import Pgd
from rem_release.threats.kinds.resized_crop import ResizedCrop
from rem_release.threats.kinds.trades import Trades
from rem_release.threats.kinds.two_layer_probe import TwoLayerProbe
from rem_release.threats.kinds.ueraser import Ueraser
from rem_release.threats.notation import parse_calls
from rem_release.threats.registry import known_parts
from rem_release.threats.threat import Threat, parse_threat

RHO_A = Fraction(4, 255)
EVERY = {
    "standard": ("standard", ()),
    "mean": ("mean", (Mean(),)),
    "mean(on=both)": ("mean(on=both)", (Mean(on="both"),)),
    "median(on=train)": ("median", (Median(),)),
    "gaussian": ("gaussian(sigma=1)", (Gaussian(sigma=1.0),)),
    "gaussian(on=both,sigma=1.50)": ("gaussian(sigma=1.5,on=both)", (Gaussian(sigma=1.5, on="both"),)),
    "greyscale(on=both)": ("greyscale(on=both)", (Greyscale(on="both"),)),
    "jpeg(quality=10)": ("jpeg(quality=10)", (Jpeg(quality=10),)),
    "bit_depth": ("bit_depth(bits=2)", (BitDepth(bits=2),)),
    "orthogonal(on=both)": ("orthogonal(on=both)", (Orthogonal(on="both"),)),
    "resized_crop(size=0.5,views=8)": ("resized_crop(size=0.5)", (ResizedCrop(size=0.5),)),
    "cutout": ("cutout(share=0.5)", (Cutout(share=0.5),)),
    "mixup(alpha=0.2)": ("mixup(alpha=0.2)", (Mixup(alpha=0.2),)),
    "cutmix": ("cutmix(alpha=1)", (Cutmix(alpha=1.0),)),
    "ueraser": ("ueraser(mode=lite)", (Ueraser(mode="lite"),)),
    "ueraser(mode=max)": ("ueraser(mode=max)", (Ueraser(mode="max"),)),
    "eot": ("eot(samples=4)", (Eot(samples=4),)),
    "mixed(protected=0.2)": ("mixed(protected=0.2)", (Mixed(protected=0.2),)),
    "linear_probe": ("linear_probe", (LinearProbe(),)),
    "two_layer_probe": ("two_layer_probe", (TwoLayerProbe(),)),
    "pgd(radius=rho_a)": ("pgd(radius=rho_a)", (Pgd(radius="rho_a"),)),
    "pgd(norm=linf, radius=8/255)": ("pgd(radius=8/255)", (Pgd(radius="8/255"),)),
    "pgd(norm=l2,radius=50/255)": ("pgd(radius=50/255,norm=l2)", (Pgd(radius="50/255", norm="l2"),)),
    "pgd(radius=3000/255,norm=l1)": ("pgd(radius=3000/255,norm=l1)", (Pgd(radius="3000/255", norm="l1"),)),
    "trades(radius=rho_a)": ("trades(radius=rho_a,beta=6)", (Trades(radius="rho_a"),)),
    "trades(beta=1,norm=l2,radius=1)": ("trades(radius=1,norm=l2,beta=1)", (Trades(radius="1", norm="l2", beta=1.0),)),
    "fat(radius=rho_a)": ("fat(radius=rho_a,tau=1)", (Fat(radius="rho_a"),)),
    "fat(radius=rho_a/2,tau=0)": ("fat(radius=rho_a/2,tau=0)", (Fat(radius="rho_a/2", tau=0),)),
}


@pytest.mark.parametrize("text", EVERY)
def test_every_name_and_parameter(text):
    name, parts = EVERY[text]
    threat = parse_threat(text)
    assert threat.parts == parts
    assert threat.name == name


def test_every_threat_is_named_in_a_test():
    tests = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    unnamed = [name for name in known_parts() if not any(re.search(rf"\b{name}\b", text) for text in tests)]
    assert unnamed == []


@pytest.mark.parametrize(
    "spaced", [" jpeg ( quality = 10 )  +  pgd( radius = rho_a ) ", "pgd(radius=rho_a)+jpeg(quality=10)"]
)
def test_spaces_and_the_order_of_what_is_no_filter_do_not_matter(spaced):
    assert parse_threat(spaced).name == "jpeg(quality=10)+pgd(radius=rho_a)"


def test_filters_keep_their_order_because_it_matters():
    one, other = parse_threat("jpeg(quality=10)+greyscale"), parse_threat("greyscale+jpeg(quality=10)")
    assert [type(part) for part in one.filters(test=False)] == [Jpeg, Greyscale]
    assert [type(part) for part in other.filters(test=False)] == [Greyscale, Jpeg]
    assert one.name != other.name


def test_everything_at_once_stands_in_one_order():
    written = "pgd(radius=1/255)+mixed+eot+cutout+orthogonal+median+linear_probe+mean"
    assert [type(part) for part in parse_threat(written).parts] == [
        *(Median, Mean, Orthogonal, Cutout, Eot, Mixed, LinearProbe, Pgd),
    ]


def test_filters_of_test_images_are_those_on_both():
    threat = parse_threat("median+greyscale(on=both)+jpeg(quality=50)+orthogonal(on=both)")
    assert threat.filters(test=False) == [Median(), Greyscale(on="both"), Jpeg(quality=50)]
    assert threat.filters(test=True) == [Greyscale(on="both")]


def test_parts_are_found_and_mixing_is_left_out():
    threat = parse_threat("mixed(protected=0.4)+two_layer_probe+pgd(radius=1/255)")
    assert threat.mixture == Mixed(protected=0.4)
    assert parse_threat("jpeg(quality=10)").mixture is None
    assert threat.network == "two_layer_probe"
    assert parse_threat("pgd(radius=1/255)").network is None
    assert threat.on_clean_images() == parse_threat("two_layer_probe+pgd(radius=1/255)")


@pytest.mark.parametrize(
    ("text", "radius"),
    [
        ("rho_a", "4/255"),
        ("rho_a/2", "2/255"),
        ("2*rho_a", "8/255"),
        ("3*rho_a/4", "3/255"),
        ("1.5 * rho_a", "6/255"),
        ("rho_a/3", "4/765"),
        ("rho_a/8", "0.5/255"),
        ("2.5/255", "2.5/255"),
        ("8/255", "8/255"),
        ("0.5", "127.5/255"),
        ("1/2", "127.5/255"),
        ("1", "1"),
    ],
)
def test_radii_in_terms_of_rho_a_are_exact(text, radius):
    assert parse_threat(f"pgd(radius={text})").at(RHO_A).name == f"pgd(radius={radius})"
    mixed = parse_threat(f"jpeg(quality=10)+pgd(radius={text},norm=l2)+mixed(protected=0.2)").at(RHO_A)
    assert mixed.name == f"jpeg(quality=10)+mixed(protected=0.2)+pgd(radius={radius},norm=l2)"


@pytest.mark.parametrize(
    ("text", "radius"),
    [
        ("standard", Fraction(0)),
        ("pgd(radius=2*rho_a)", Fraction(8, 255)),
        ("pgd(radius=rho_a/8)", Fraction(1, 510)),
        ("pgd(radius=8/255,norm=l2)", None),
        ("greyscale+pgd(radius=8/255)", None),
        ("trades(radius=8/255)", None),
        ("fat(radius=8/255)", None),
        ("linear_probe", None),
        ("greyscale", None),
    ],
)
def test_the_plain_radius_is_of_adversarial_training_alone(text, radius):
    assert parse_threat(text).at(RHO_A).plain_radius == radius


REFUSED = {
    "": "cannot be read",
    "jpeg(quality=10": "cannot be read",
    "jpeg(quality=10)pgd": "cannot be read",
    "pgd(radius=rho_a)+": "cannot be read",
    "mixup(alpha=1e+1)": "cannot be read",
    "jpg(quality=10)": "no threat 'jpg'; the nearest is 'jpeg'",
    "grayscale": "no threat 'grayscale'; the nearest is 'greyscale'",
    "Standard": "no threat 'Standard'",
    "none": "no threat 'none'",
    "zzz": f"no threat 'zzz'; known: {', '.join(known_parts())}",
    "standard(radius=0)": "standard stands alone and has no parameters",
    "standard+jpeg(quality=10)": "standard stands alone",
    "jpeg(quality=10)+jpeg(quality=50)": "jpeg appears twice",
    "mixup+cutmix": "mixup and cutmix do not go together",
    "eot+ueraser": "eot and ueraser do not go together",
    "linear_probe+two_layer_probe": "linear_probe and two_layer_probe do not go together",
    "jpeg": "threat jpeg: quality: Field required",
    "jpeg(10)": "write parameters as key=value, not '10'",
    "jpeg(quality=)": "write parameters as key=value, not 'quality='",
    "jpeg(quality=10,quality=20)": "quality is given twice",
    "jpeg(quality=101)": "threat jpeg: quality: Input should be less than or equal to 100 (got '101')",
    "jpeg(quality=ten)": "threat jpeg: quality: Input should be a valid integer",
    "jpeg(q=10)": "threat jpeg has no parameter 'q'; it has quality, on",
    "linear_probe(on=both)": "threat linear_probe has no parameter 'on'; it has none",
    "greyscale(on=test)": "threat greyscale: on: Input should be 'train' or 'both' (got 'test')",
    "gaussian(sigma=0.1)": "threat gaussian: sigma: Input should be greater than or equal to 0.3",
    "gaussian(sigma=nan)": "threat gaussian: sigma:",
    "bit_depth(bits=8)": "threat bit_depth: bits: Input should be less than or equal to 7",
    "cutout(share=1)": "threat cutout: share: Input should be less than 1",
    "mixup(alpha=0)": "threat mixup: alpha: Input should be greater than 0",
    "ueraser(mode=strong)": "threat ueraser: mode: Input should be 'lite' or 'max'",
    "eot(samples=1)": "threat eot: samples: Input should be greater than or equal to 2",
    "mixed(protected=1)": "threat mixed: protected: Input should be less than 1",
    "pgd": "threat pgd: radius: Field required",
    "pgd(radius=8)": "radius 8 is above 1, the whole range of a pixel; write 4/255",
    "pgd(radius=0)": "threat pgd: radius: a radius is above 0 (got '0')",
    "pgd(radius=-4/255)": "threat pgd: radius: a radius is above 0",
    "pgd(radius=0*rho_a)": "threat pgd: radius: a radius is above 0",
    "pgd(radius=rho_a/0)": "threat pgd: radius: write a radius as 4/255, 0.5, rho_a, rho_a/2 or 2*rho_a",
    "pgd(radius=8/255/2)": "threat pgd: radius: write a radius as",
    "pgd(radius=4/0)": "threat pgd: radius: write a radius as",
    "pgd(radius=nan)": "threat pgd: radius: write a radius as",
    "pgd(radius=rho_u)": "threat pgd: radius: write a radius as",
    "pgd(radius=-rho_a)": "threat pgd: radius: write a radius as",
    "trades(radius=8)": "radius 8 is above 1, the whole range of a pixel; write 4/255",
    "trades(radius=rho_a,beta=0)": "threat trades: beta: Input should be greater than 0 (got '0')",
    "trades(radius=rho_a,gamma=1)": "threat trades has no parameter 'gamma'; it has radius, norm, beta",
    "trades(radius=rho_a)+pgd(radius=rho_a)": "trades and pgd do not go together",
    "fat(radius=rho_a,tau=-1)": "threat fat: tau: Input should be greater than or equal to 0 (got '-1')",
    "fat(radius=rho_a)+trades(radius=rho_a)": "fat and trades do not go together",
    "pgd(radius=4/255,norm=l3)": "threat pgd: norm: Input should be 'linf', 'l2' or 'l1' (got 'l3')",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_mistake_is_an_error_that_says_what_and_never_no_attack(text):
    with pytest.raises(ValueError, match=re.escape(REFUSED[text])) as caught:
        parse_threat(text)
    assert "\n" not in str(caught.value)


def test_a_multiple_of_rho_a_above_the_range_is_refused_when_it_is_known():
    threat = parse_threat("pgd(radius=64*rho_a)")
    with pytest.raises(ValueError, match="above 1"):
        threat.at(RHO_A)
    assert threat.at(Fraction(1, 255)).plain_radius == Fraction(64, 255)


def test_calls_are_split_into_names_and_texts():
    assert parse_calls("a(b=1, c = x y ,) + d()") == [("a", {"b": "1", "c": "x y"}), ("d", {})]


def write_words(text: str) -> str:
    return parse_threat(text).at(RHO_A).words()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("standard", "standard training"),
        ("pgd(radius=rho_a/2)", "adversarial training (L∞, 2/255)"),
        ("pgd(radius=50/255,norm=l2)", "adversarial training (L2, 50/255)"),
        (
            "jpeg(quality=10)+pgd(radius=3/255,norm=l1)",
            "JPEG at quality 10 on training images, adversarial training (L1, 3/255)",
        ),
        ("trades(radius=rho_a)", "TRADES (L∞, 4/255, β 6)"),
        ("fat(radius=50/255,norm=l2,tau=2)", "friendly adversarial training (L2, 50/255, τ 2)"),
        ("greyscale(on=both)", "greyscale on training and test images"),
        ("eot(samples=3)", "mean over 3 own EOT draws"),
        ("mixed(protected=0.8)", "80% protected images mixed with clean ones"),
    ],
)
def test_the_words_say_what_is_done(text, words):
    assert write_words(text) == words


def open_unit(**bounds) -> st.SearchStrategy[float]:
    return st.floats(0, 1, exclude_min=True, exclude_max=True, allow_subnormal=False, **bounds)


where = st.sampled_from(["train", "both"])
alphas = st.floats(0, 100, exclude_min=True, allow_subnormal=False)
factors = st.integers(1, 20)
norms = st.sampled_from(["linf", "l2", "l1"])
radii = st.one_of(
    st.builds("{}*rho_a/{}".format, factors, factors),
    st.builds("{}/{}".format, factors, st.integers(20, 1000)),
    st.builds("{:.7f}".format, st.floats(1e-6, 1)),
)
filters = [
    st.builds(Mean, on=where),
    st.builds(Median, on=where),
    st.builds(Gaussian, sigma=st.floats(0.3, 10), on=where),
    st.builds(Greyscale, on=where),
    st.builds(Jpeg, quality=st.integers(1, 100), on=where),
    st.builds(BitDepth, bits=st.integers(1, 7), on=where),
]
crops = st.builds(
    ResizedCrop,
    size=st.floats(0.25, 4),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    antialias=st.booleans(),
    min_area=st.floats(0.001, 1),
    views=st.integers(1, 64),
)
others = [
    st.one_of(st.builds(Orthogonal, on=where), crops),
    st.builds(Cutout, share=open_unit()),
    st.one_of(
        st.builds(Mixup, alpha=alphas),
        st.builds(Cutmix, alpha=alphas),
        st.builds(Ueraser, mode=st.sampled_from(["lite", "max"])),
        st.builds(Eot, samples=st.integers(2, 64)),
    ),
    st.builds(Mixed, protected=open_unit()),
    st.one_of(st.just(LinearProbe()), st.just(TwoLayerProbe())),
    st.one_of(
        st.builds(Pgd, radius=radii, norm=norms),
        st.builds(Trades, radius=radii, norm=norms, beta=st.floats(0, 1000, exclude_min=True, allow_subnormal=False)),
        st.builds(Fat, radius=radii, norm=norms, tau=st.integers(0, 10_000)),
    ),
]


@st.composite
def threats(draw: st.DrawFn) -> Threat:
    chosen = draw(st.lists(st.sampled_from(range(len(filters))), unique=True, max_size=3))
    rest = draw(st.sets(st.sampled_from(range(len(others)))))
    threat = Threat(tuple(draw(filters[n]) for n in chosen) + tuple(draw(others[n]) for n in sorted(rest)))
    assume(not (threat.views and threat.draws > 1))
    return threat


@given(threats())
def test_the_name_of_a_threat_reads_back_as_that_threat(threat):
    assert parse_threat(threat.name) == threat


@given(threats())
def test_reading_a_name_is_a_fixed_point_before_and_after_rho_a_is_known(threat):
    name = parse_threat(threat.name).name
    assert parse_threat(name).name == name
    known = threat.at(Fraction(1, 255))
    assert "rho_a" not in known.name
    assert parse_threat(known.name).name == known.name
    assert known.at(RHO_A) == known
