import re
from html.parser import HTMLParser

import pytest

from rem_release.audit.report.figures import KINDS
from rem_release.audit.report.page import render_report
from rem_release.release.certificate import HoldoutFacts, LearnabilityFacts
from tests.certificates import (
    CLASSES,
    DIGEST,
    LIMITS,
    MEASURED,
    judge,
    make_certificate,
    make_curves,
    make_row,
)

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
HOSTILE = "<script>alert('x')</script> & \"co\""


class Page(HTMLParser):
    """A page read strictly: every tag closed in order, tables by their region's label, text by element."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.attributes = [], [], [], []
        self.tables, self.text, self.row_classes = {}, [], []
        self.table = None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.attributes += attributes
        self.ids += [found["id"]] if "id" in found else []
        if tag not in VOID:
            self.open.append(tag)
        if found.get("role") == "region":
            self.table = self.tables.setdefault(found["aria-label"], [])
        if tag == "tr" and self.table is not None:
            self.table.append([])
            self.row_classes.append(found.get("class"))
        if tag in ("td", "th"):
            self.table[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.table[-1][-1] = " ".join(f"{self.table[-1][-1]} {data}".split())

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


BOUND = LearnabilityFacts(
    architecture="resnet18", samples=1000, sigma=0.25, q=0.9, eta=0.3289, bound=0.55, accuracies=[]
)


def read(certificate, curves=(), title="Holiday"):
    return Page(render_report(certificate, curves, title))


@pytest.fixture(scope="module")
def whole():
    """The report of everything that an audit can have."""
    certificate = make_certificate(
        learnability=LearnabilityFacts(
            architecture="resnet18", samples=1000, sigma=0.25, q=0.9, eta=0.3289, bound=0.55, accuracies=[]
        )
    )
    return render_report(certificate, make_curves(certificate), "Holiday")


@pytest.fixture(scope="module")
def all_words(whole):
    return Page(whole).words


def test_the_page_is_sound_and_self_contained(whole):
    page = Page(whole)
    assert len(page.ids) == len(set(page.ids)) > 10
    assert page.tags.count("svg") == 7
    assert not {"script", "link", "iframe", "object", "embed", "img", "image", "base", "form"} & set(page.tags)
    for name, value in page.attributes:
        if name in ("href", "src", "xlink:href"):
            assert value.startswith("#")
            assert value[1:] in page.ids
        assert not name.startswith("on")
        assert "url(" not in (value or "") or value.startswith("url(#")
    assert "://" not in whole
    assert "@import" not in whole
    assert re.findall(r"url\((?!#)", whole) == []


def test_what_labels_point_at_is_there(whole):
    page = Page(whole)
    labels = [value for name, value in page.attributes if name == "aria-labelledby"]
    assert len(labels) >= 9
    assert set(labels) <= set(page.ids)
    assert ("lang", "en") in page.attributes
    assert page.tags.count("h1") == page.tags.count("main") == 1


def test_light_dark_phone_and_print_are_provided_for(whole):
    for part in (
        "prefers-color-scheme: dark",
        'name="viewport"',
        "@media print",
        "overflow-x: auto",
        "default-src 'none'",
    ):
        assert part in whole
    for variable in set(re.findall(r"var\(--(\w+)\)", whole)):
        assert whole.count(f"--{variable}: #") == 3, variable


def test_the_same_certificate_gives_the_same_bytes(whole):
    certificate = make_certificate(
        learnability=LearnabilityFacts(
            architecture="resnet18", samples=1000, sigma=0.25, q=0.9, eta=0.3289, bound=0.55, accuracies=[]
        )
    )
    assert render_report(certificate, make_curves(certificate)[::-1], "Holiday") == whole


@pytest.mark.parametrize(("rows", "outcome"), [(MEASURED, "FELL SHORT"), ([MEASURED[0], MEASURED[3]], "PASSED")])
def test_the_verdict_comes_first(rows, outcome):
    certificate = make_certificate([make_row(*row) for row in rows])
    words = read(certificate).words
    start = words.index("Audit of Holiday", words.index("Audit of Holiday") + 1)
    assert words[start:].startswith(
        f"Audit of Holiday {outcome} {' '.join(certificate.summary)} {certificate.statement}"
    )


def test_the_tiers_are_those_of_the_certificate():
    rows = [make_row(*row) for row in MEASURED]
    certificate = make_certificate(rows, tiers=judge(rows, LIMITS | {"adversarial": 0.75}))
    head, *tiers = read(certificate).tables["The tiers"]
    assert head == ["Tier", "Outcome", "Required", "Limit", "Worst row's leakage at most", "Why"]
    assert tiers == [
        ["standard ordinary training", "passed", "yes", "0.300", "0.271", "Every row stays under the limit."],
        [
            "adversarial adversarial training at radii up to ρ_a = 4/255",
            *("fell short", "yes", "0.750 shipped: 0.700", "0.989", "The worst row may leak more than 0.75."),
        ],
        [
            "adaptive countermeasures, combinations and larger radii",
            *("fell short", "no", "0.700", "1.017", "The worst row may leak more than 0.7."),
        ],
        ["transfer other and pretrained networks", "not tested", "no", "0.700", "–", "No row was measured."],
    ]


def test_every_row_stands_in_its_tiers_table_with_its_numbers():
    page = read(make_certificate())
    lengths = {
        name: len(page.tables[f"Rows of the tier {name}"]) - 1 for name in ("standard", "adversarial", "adaptive")
    }
    assert lengths == {"standard": 2, "adversarial": 3, "adaptive": 2}
    assert "Rows of the tier transfer" not in page.tables
    assert page.tables["Rows of the tier adversarial"][2] == [
        "adversarial training (L∞, 4/255) pgd(radius=4/255)",
        "resnet18",
        "3",
        "90.0 ± 1.2 end 90.0, peak 92.1 train 99.2, fit 98.8",
        "89.0 ± 1.2 end 89.0, peak 91.1 train 99.2, fit 98.8",
        "48.2 ± 1.2 end 48.2, peak 50.3 train 99.2, fit 98.8",
        "10.0 chance",
        "0.477 step 1200; 0.447 to 0.507",  # (0.4817 - 0.1) / (0.9 - 0.1), 0.03 to either side
        "0.454",  # (0.4817 - 0.1) / (0.94 - 0.1)
        "0.477",  # after the last step, here the one that is judged
        "0.988",  # (0.89 - 0.1) / (0.9 - 0.1)
        "−37.8",  # 0.4817 - 0.89 + 0.03
    ]


def test_one_seed_has_no_spread():
    page = read(make_certificate([make_row(seeds=1)]))
    assert "±" not in str(page.tables["Rows of the tier standard"])


def test_the_deciding_row_of_each_tier_is_marked():
    page = read(make_certificate())
    for tier, number in (("standard", 2), ("adversarial", 3), ("adaptive", 2)):
        marked = [
            n for n, row in enumerate(page.tables[f"Rows of the tier {tier}"]) if "This row decides." in row[:1][0]
        ]
        assert marked == [number]
    assert page.row_classes.count("decides") == 3


def test_invalid_and_undefined_rows_say_so():
    undefined = {"leakage": None, "low": None, "high": None, "leakage_of_best": None, "leakage_at_end": None}
    rows = [
        make_row(valid=False, reason="PGD finds nothing", seeds=1),
        make_row(*MEASURED[1], high=None),
        make_row(*MEASURED[2], **undefined, random_leakage=None),
    ]
    page = read(make_certificate(rows))
    table = page.tables["Rows of the tier standard"]
    assert table[1][0] == "ordinary training standard Invalid: PGD finds nothing"
    assert "Invalid" not in table[2][0]
    assert table[2][7] == "0.241 step 1200; 0.211 to unbounded"
    assert page.tables["Rows of the tier adversarial"][1][7:11] == ["not defined step 1200", *["not defined"] * 3]


def test_a_required_tier_that_was_not_tested_stands_out():
    text = render_report(make_certificate([make_row()]), [], "Holiday")
    assert re.search(r'Adversarial: <span class="bad">not tested</span>', text)
    assert re.search(r'Transfer: <span class="muted">not tested</span>', text)


def test_every_class_is_listed_with_the_deciding_row():
    certificate = make_certificate()
    row = certificate.deciding_row
    assert row is not None
    table = read(certificate).tables["Accuracy of each class"][1:]
    assert [cells[0] for cells in table] == CLASSES
    for number, cells in enumerate(table):
        assert cells[1:] == [f"{100 * getattr(row, kind).per_class[number]:.1f}" for kind in KINDS]


def test_an_audit_without_rows_can_be_reported():
    page = read(make_certificate([]))
    assert "svg" not in page.tags
    assert "not tested" in page.tables["The tiers"][1]
    assert "Class by class" not in page.words


@pytest.mark.parametrize(
    "words",
    [
        "each trained on 5,000 images of 10 classes",
        "1,234 clean images, given for the audit; 7 more were left out: they overlap the release or repeat another",
        "chance is 10.0 %",
        "right for 10.2 % of the test images",
        "defensive ρ_u = 8/255; the adversarial tier covers ρ_a = 4/255",
        "one-sided at 95 % confidence",
        "over other trainings and other test images, in closed form",
        "a half width of 2.3 points",
        "audit-quick, sha256 " + "ab" * 32,
        "rem-release 0.1.0, torch 2.15.0",
        DIGEST,
        "(protected − floor) / (clean − floor)",
        "Diffusion purification was not tried.",
        "Radii above 8/255 were not tried.",
        "bound the 0.9-quantile of accuracy under such noise by 55.0 %",
        "at most η = 0.3289 in L2. That η is small: training again shifts the weights far more.",
    ],
)
def test_the_conditions_are_told(all_words, words):
    assert words in all_words


@pytest.mark.parametrize(
    ("origin", "words"),
    [("reserve", "kept back when the data were protected"), ("held out", "left out of the victims' training")],
)
def test_the_origin_of_the_test_images_is_told(origin, words):
    holdout = HoldoutFacts(
        origin=origin, digest="00" * 32, images=50, clusters=50, dropped=0, majority=0.2, half_width=0.1
    )
    found = read(make_certificate(holdout=holdout)).words
    assert words in found
    assert "overlap the release" not in found


def test_a_bound_that_samples_do_not_suffice_for_is_told():
    facts = LearnabilityFacts(architecture="vgg16", samples=20, sigma=0.25, q=0.9, eta=0.3, bound=None, accuracies=[])
    words = read(make_certificate(learnability=facts)).words
    assert (
        "20 draws of Gaussian noise (σ = 0.25) on the weights of one trained vgg16 do not suffice for a bound" in words
    )
    assert "A bound by sampling" not in read(make_certificate()).words


def test_hostile_names_are_text():
    names = [HOSTILE, "</style>", "</svg>", *CLASSES[3:]]
    row = make_row(architecture=HOSTILE, threat=HOSTILE, words=HOSTILE, valid=False, reason=HOSTILE, seeds=1)
    certificate = make_certificate(
        [row], classes=names, summary=[HOSTILE], not_covered=[HOSTILE], recipe_name=HOSTILE, device=HOSTILE
    )
    page = read(certificate, make_curves(certificate), HOSTILE)
    assert "script" not in page.tags
    assert [cells[0] for cells in page.tables["Accuracy of each class"][1:]] == names
    assert page.tables["Rows of the tier standard"][1][1] == HOSTILE
    assert page.words.count(HOSTILE) >= 9
    assert page.tags.count("style") == 1
    assert len(page.ids) == len(set(page.ids))
