"""What a card promises: the facts of its release and audit, each with its number. How it words them is its own."""

import hashlib
import re
from dataclasses import replace

import jinja2
import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, Image, Value, load_dataset
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData

from rem_release.methods import METHODS
from rem_release.release.card import render_card
from rem_release.release.certificate import AUDIT_FIGURES, AttemptFacts, LearnabilityFacts
from rem_release.release.facts import Facts
from rem_release.release.schema import write_features
from tests.certificates import MEASURED, judge, make_certificate, make_row

FIGURE = {"bytes": 1, "sha256": "0" * 64}


def state_facts(**changes) -> Facts:
    """Facts of a REM release; a change is written `data__images=3`."""
    document = {
        "protection": {
            **{"method": "rem", "rho_u": "8/255", "rho_u_levels": 8, "rho_a": "4/255", "steps": 10},
            **{"step_size": "1.6/255", "adversary_steps": 10, "adversary_step_size": "0.8/255"},
            **{"eot": {"transform": "cifar", "samples": 5}, "source_model": "resnet18", "generator_steps": 5000},
            **{"generator_reused": False, "resolution": 32},
        },
        "recipe_name": "rem-cifar10",
        "recipe": {},
        "recipe_sha256": "ab" * 32,
        "versions": {"rem-release": "0.1.0", "torch": "2.15.0"},
        "cost": {"training_gradients": 359_040_000, "noise_gradients": 2_800_000},
        "data": {
            **{"split": "train", "image_column": "image", "label_column": "label", "labels_from": "folders"},
            **{"split_images": {"train": 5000}},
            **{"columns": ["image", "label"], "images": 5000, "protected": 5000, "unprotected": 0, "held_back": 12},
            **{"skipped": 3, "duplicates": 0, "resized_noise": 0, "classes": ["cat", "dog"]},
            **{"class_counts": [2400, 2600], "max_side": None, "smallest": [32, 32], "largest": [32, 32]},
            "features": write_features(Features({"image": Image(), "label": ClassLabel(names=["cat", "dog"])})),
        },
        "imperceptibility": {
            **{"max_change": 8, "mean_change": 6.1234, "psnr_mean": 31.4159, "psnr_min": 30.0},
            **{"ssim_mean": 0.951234, "ssim_min": 0.5},
        },
        "files": {},
        "digest": "cd" * 32,
        "readme_sha256": "",
    }
    for key, value in changes.items():
        *path, last = key.split("__")
        target = document
        for part in path:
            target = target.setdefault(part, {})
        target[last] = value
    return Facts.model_validate(document)


def says(text, *words):
    """Whether one line holds all these words, names and numbers, each whole: 12 is neither in 12/255 nor in 0.12."""

    def holds(line, word):
        return re.search(rf"(?<![\w/]){'' if word[0] == '/' else '(?<![.,])'}{re.escape(word)}(?![\w/]|[.,]\d)", line)

    return any(all(holds(line, word) for word in words) for line in text.splitlines())


def first_paragraph(card):
    """What stands under the title, as one line."""
    return " ".join(re.split(r"\n\n", DatasetCard(card).text.strip())[1].split())


def glance(card):
    """The first table."""
    return card[card.index("\n| ") :].strip().split("\n\n")[0]


def section(card, title):
    return card.partition(f"## {title}\n")[2].partition("\n## ")[0]


BASE = render_card(state_facts())


def test_the_metadata_is_what_the_hub_reads():
    data = DatasetCard(render_card(state_facts())).data.to_dict()
    assert data["configs"] == [
        {
            "config_name": "default",
            "data_files": [{"split": "train", "path": "data/train-*"}],
            "description": f"sha256 {hashlib.sha256(b'').hexdigest()}",
        },
    ]
    assert data["size_categories"] == ["1K<n<10K"]
    assert data["task_categories"] == ["image-classification"]
    assert data["license"] == "unknown"
    assert data["tags"] == ["unlearnable-examples", "data-protection", "robust-error-minimizing-noise", "rem-release"]
    assert "annotations_creators" not in data


def test_the_features_read_back_from_the_metadata():
    names = [str(number) for number in range(12)]
    features = Features({"image": Image(), "label": ClassLabel(names=names), "note": Value("large_string")})
    card = DatasetCard(render_card(state_facts(data__features=write_features(features))))
    assert DatasetInfosDict.from_dataset_card_data(card.data)["default"].features == features


@pytest.mark.parametrize(
    ("images", "category"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (50_000, "10K<n<100K"), (1_281_167, "1M<n<10M"), (10**9, "1B<n<10B")],
)
def test_size_categories(images, category):
    facts = state_facts(data__images=images, data__protected=images)
    assert DatasetCard(render_card(facts)).data.to_dict()["size_categories"] == [category]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protection__rho_u": "12/255", "protection__rho_u_levels": 12}, ["ρ_u", "12/255", "12"]),
        ({"protection__rho_a": "6/255"}, ["ρ_a", "6/255"]),
        ({"protection__steps": 11, "protection__step_size": "1.7/255"}, ["K_u", "11", "1.7/255"]),
        ({"protection__adversary_steps": 13, "protection__adversary_step_size": "0.9/255"}, ["K_a", "13", "0.9/255"]),
        ({"protection__eot": {"transform": "imagenet", "samples": 7}}, ["imagenet", "J", "7"]),
        ({"protection__source_model": "vgg16"}, ["vgg16", "5,000"]),
        ({"protection__generator_steps": 4321}, ["resnet18", "4,321"]),
        ({"protection__generator_reused": True}, ["resnet18", "earlier"]),
        ({"protection__precision": "bf16"}, ["Precision", "bf16"]),
        ({"protection__resolution": 48}, ["48 × 48"]),
        ({"cost__training_gradients": 1_000_001}, ["3,800,001", "1,000,001", "2,800,000"]),
        ({"cost__noise_gradients": 1_000_001}, ["360,040,001", "359,040,000", "1,000,001"]),
        ({"recipe_name": "mine", "recipe_sha256": "ef" * 32}, ["mine", "ef" * 32]),
        ({"versions": {"torch": "9.9.1"}}, ["torch", "9.9.1"]),
        ({"imperceptibility__max_change": 7}, ["6.12", "7"]),
        ({"imperceptibility__mean_change": 5.4321}, ["5.43", "8"]),
        ({"imperceptibility__psnr_mean": 33.333, "imperceptibility__psnr_min": 29.9}, ["PSNR", "33.33", "29.90"]),
        ({"imperceptibility__ssim_mean": 0.87654, "imperceptibility__ssim_min": 0.4}, ["SSIM", "0.8765", "0.4000"]),
        ({"imperceptibility__ssim_mean": None, "imperceptibility__ssim_min": None}, ["SSIM", "not defined"]),
        ({"data__images": 6000, "data__protected": 5999, "data__unprotected": 1}, ["6,000", "2", "5,999", "1"]),
        ({"data__split_images": {"train": 4007}}, ["train", "4,007", "PNG"]),
        ({"data__held_back": 17}, ["17", "3"]),
        ({"data__skipped": 19}, ["12", "19"]),
        ({"data__duplicates": 23}, ["23"]),
        ({"data__near_copies": 29}, ["29"]),
        ({"data__resized_noise": 37}, ["32 × 32", "37"]),
        ({"data__smallest": [30, 31], "data__largest": [400, 500]}, ["30 × 31", "400 × 500"]),
        ({"data__max_side": 640}, ["32 × 32", "640"]),
        ({"data__class_counts": [2399, 2601]}, ["cat", "2,399"]),
        ({"data__class_counts": [2399, 2601]}, ["dog", "2,601"]),
        ({"data__columns": ["image", "label", "shutter"]}, ["image", "label", "shutter"]),
        ({"data__label_column": "species"}, ["2", "species"]),
        ({"data__split": "validation"}, ['split="validation"']),
        ({"digest": "98" * 32}, ["98" * 32]),
    ],
    ids=str,
)
def test_the_card_says_what_the_facts_say(change, words):
    card = render_card(state_facts(**change))
    place = section(card, "How it was protected") if next(iter(change)).startswith("protection__") else card
    assert says(place, *words)
    assert not says(BASE, *words)


def test_the_first_paragraph_says_how_many_images_carry_how_much_noise_and_that_nothing_was_measured():
    first = first_paragraph(BASE)
    assert says(first, "5,000", "8", "255")
    assert first.startswith("**NOT CERTIFIED**")
    assert "](#what-it-does-not-protect-against)" in first
    changes = {"data__images": 6000, "data__protected": 4000, "data__unprotected": 2000}
    other = first_paragraph(render_card(state_facts(**changes, protection__rho_u_levels=9)))
    assert says(other, "6,000", "4,000", "9", "2,000")
    assert not says(other, "8")


def test_every_link_within_the_card_leads_somewhere():
    for card in (BASE, render_card(state_facts(owner={"gated_prompt": "Look."}), make_certificate())):
        headings = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.*)$", card, re.MULTILINE)}
        links = set(re.findall(r"\]\(#(.*?)\)", card))
        assert links
        assert links <= headings


def test_the_verdict_and_the_first_figure_come_before_the_rest():
    card = render_card(state_facts(files={"figures/protected.png": FIGURE}), make_certificate())
    places = [card.index(part) for part in (first_paragraph(card)[:17], glance(card), "(figures/protected.png)")]
    assert places == sorted(places)
    assert places[-1] < card.index("## What the audit found")


def test_a_glance_at_what_was_not_audited():
    assert says(glance(BASE), "5,000", "2", "0")
    assert says(glance(BASE), "ρ_u = 8/255", "ρ_a = 4/255", "8", "Fu")
    assert says(glance(BASE), "Audit", "none")
    assert says(glance(BASE), "Licence", "none")
    assert says(glance(BASE), "Contact", "none")


def test_a_glance_shows_the_row_that_decides():
    shown = glance(render_card(state_facts(), make_certificate()))
    assert says(shown, "fell short", "densenet121", "4/255", "0.959", "0.989", "0.700")
    assert says(shown, "80.0", "83.0", "10.0")
    assert says(glance(render_card(state_facts(), make_certificate([]))), "Audit", "fell short")
    passed = glance(render_card(state_facts(), make_certificate([make_row(*row) for row in MEASURED[:4]])))
    assert says(passed, "passed", "densenet121", "0.241", "0.271", "0.300")
    assert says(passed, "30.2", "93.5", "92.0", "10.0")


def test_a_certified_card_names_its_policy_first():
    card = render_card(state_facts(), make_certificate([make_row(*measured) for measured in MEASURED[:4]]))
    first = first_paragraph(card)
    assert first.startswith("**Certified**")
    assert says(first, "The audit passed", "standard", "0.300", "adversarial", "0.700")
    assert "NOT CERTIFIED" not in card


def test_zeros_are_zeros_and_nothing_is_none():
    facts = state_facts(
        cost__training_gradients=0,
        cost__noise_gradients=0,
        imperceptibility__ssim_min=0.0,
        imperceptibility__mean_change=0.0,
        protection__generator_steps=0,
        data__held_back=0,
        data__class_counts=[0, 5000],
    )
    card = render_card(facts)
    for words in (["Cost", "0"], ["SSIM", "0.9512", "0.0000"], ["0.00", "8"], ["resnet18", "0"], ["cat", "0"]):
        assert says(card, *words)
    assert not re.search(r"\| *None|None *\||= None|None,", card)


def test_the_card_does_not_depend_on_its_own_hash():
    facts = state_facts()
    assert render_card(facts) == render_card(facts.model_copy(update={"readme_sha256": "ef" * 32}))


def test_the_verdict_stands_in_the_first_paragraph_of_an_audited_card():
    card = render_card(state_facts(), make_certificate())
    first = first_paragraph(card)
    assert first.startswith("**NOT CERTIFIED**: The audit fell short.")
    for name in ("adversarial", "adaptive"):
        assert f"- Tier {name} fell short of its limit of 0.7." in first
    assert "`audit.json`" in card
    assert "`audit.json`" not in BASE


def audit_section(certificate, **changes):
    card = render_card(state_facts(**changes), certificate)
    return card.partition("## What the audit found\n")[2].partition("## How it was protected")[0]


def test_the_audit_section_is_the_certificate():
    rows = [make_row(*measured) for measured in MEASURED]
    rows[2] = make_row(*MEASURED[2], valid=False, reason="weak reference")
    rows[5] = make_row(*MEASURED[5], leakage=None, low=None, high=None)
    rows[6] = make_row(*MEASURED[6], high=None)
    limits = {"standard": 0.3, "adversarial": 0.75, "adaptive": 0.7, "transfer": 0.7}
    certificate = make_certificate(rows, tiers=judge(rows, limits))
    section = audit_section(certificate)
    for words in (
        ["standard", "passed", "yes", "0.300", "0.271"],
        ["adversarial", "fell short", "yes", "0.750", "0.700", "0.989", "4/255"],
        ["adaptive", "fell short", "no", "0.700", "not defined"],
        ["transfer", "not tested", "no", "0.700", "–"],
        ["ordinary training, resnet18", "27.1", "94.0", "93.1", "0.204", "0.234"],
        ["ordinary training, densenet121", "30.2", "93.5", "92.0", "0.241", "0.271"],
        ["adversarial training (L∞, 2/255)", "resnet18", "weak reference", "30.7", "92.0"],
        ["adversarial training (L∞, 4/255)", "resnet18", "48.2", "90.0", "89.0", "0.477", "0.507"],
        ["JPEG, quality 10, resnet18", "78.0", "85.0", "86.0", "not defined"],
        ["adversarial training (L∞, 8/255)", "resnet18", "84.0", "85.0", "86.0", "0.987", "unbounded"],
        ["1,234", "7"],
        ["95 %"],
        ["audit-quick", "ab" * 32],
    ):
        assert says(section, *words), words
    for sentence in [certificate.statement, *certificate.not_covered, *(tier.reason for tier in certificate.tiers)]:
        assert sentence in section
    assert "Gaussian noise" not in section
    assert "None" not in section
    deciding = [line for line in section.splitlines() if "(decides)" in line]
    assert [says(line, name) for line, name in zip(deciding, ["0.271", "0.989", "not defined"], strict=True)] == [
        True
    ] * 3
    order = [section.index(words) for words in ("27.1", "48.2", "78.0")]
    assert order == sorted(order)


def test_rows_without_a_bound_and_relabelled_rows_say_so():
    rows = [make_row(seeds=1, low=None, high=None), make_row("adversarial", relabelled=True)]
    tiers = [tier.model_copy(update={"outcome": "looked at"}) for tier in judge(rows)[:1]] + judge(rows)[1:]
    section = audit_section(make_certificate(rows, tiers=tiers))
    assert says(section, "standard", "looked at", "yes", "0.300", "no bound")
    assert says(section, "resnet18", "27.1", "94.0", "93.1", "0.204", "no bound")
    assert says(section, "resnet18", "27.1 (relabelled)", "94.0", "0.234")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cached": 53}, ["53"]),
        ({"attempts": AttemptFacts(earlier=41, releases=37)}, ["41", "37"]),
        ({"holdout": {"images": 3321, "clusters": 3300, "dropped": 43}}, ["3,321", "43", "21"]),
        ({"confidence": 0.9}, ["90 %"]),
        ({"recipe_name": "audit-paper", "recipe_sha256": "98" * 32}, ["audit-paper", "98" * 32]),
        ({"device": "a GPU"}, ["a GPU"]),
    ],
    ids=str,
)
def test_the_audit_section_says_what_the_certificate_says(change, words):
    certificate = make_certificate()
    if "holdout" in change:
        change = {"holdout": certificate.holdout.model_copy(update=change["holdout"])}
    section = audit_section(make_certificate(**change))
    assert all(says(section, word) for word in words)
    assert not any(says(audit_section(certificate), word) for word in words)


def test_audit_figures_are_shown_where_they_are_files_and_only_with_a_certificate():
    files = {AUDIT_FIGURES[0]: FIGURE, AUDIT_FIGURES[2]: FIGURE}
    section = audit_section(make_certificate(), files=files)
    assert re.findall(r"\]\((figures/.*?)\)", section) == [AUDIT_FIGURES[0], AUDIT_FIGURES[2]]
    _, *captions = section.partition(AUDIT_FIGURES[2])[2].split("\n\n")
    assert says(captions[0], "adversarial training (L∞, 4/255)", "densenet121")
    assert "figures/" not in audit_section(make_certificate())
    assert "figures/" not in render_card(state_facts(files=files))


def test_the_learnability_bound_comes_with_its_small_eta():
    facts = LearnabilityFacts(
        architecture="resnet18", samples=1000, sigma=0.25, q=0.9, eta=0.33, bound=0.5512, accuracies=[]
    )
    assert says(audit_section(make_certificate(learnability=facts)), "55.1 %", "η = 0.33")
    assert "η" not in audit_section(make_certificate())


def test_names_in_a_certificate_cannot_break_the_card():
    name = "a|b <script>\n## [x](y) `z`"
    row = make_row(architecture=name, words=name, valid=False, reason=name)
    section = audit_section(make_certificate([row], summary=[name], not_covered=[name], recipe_name=name, device=name))
    plain = r"a\|b \<script\> \#\# \[x\](y) \`z\`"
    assert any(line.count(plain) == 3 and "| 27.1 |" in line for line in section.splitlines())
    assert f"- {plain}\n" in section
    assert f"| Device | {plain} |" in section
    assert "<script>" not in section.replace(r"\<script\>", "")
    assert plain in first_paragraph(render_card(state_facts(), make_certificate(summary=[name])))


def test_a_void_certificate_makes_no_card():
    with pytest.raises(ValueError, match=r"digest ef.*, not cd"):
        render_card(state_facts(), make_certificate(digest="ef" * 32))


def test_an_audit_without_rows_makes_a_card():
    section = audit_section(make_certificate([], not_covered=[]))
    assert says(section, "standard", "not tested", "yes", "0.300", "–")
    assert "| protected |" not in section
    assert "| protected |" in audit_section(make_certificate())


def test_a_partly_protected_release_says_so_first():
    card = render_card(state_facts(data__protected=4000, data__unprotected=1000))
    assert says(first_paragraph(card), "4,000", "1,000", "models can learn")
    assert "models can learn" not in first_paragraph(BASE)
    assert says(glance(card), "5,000", "4,000", "1,000")
    assert says(section(card, "How visible it is"), "4,000")
    assert says(section(card, "What is in it"), "4,000")
    assert says(section(card, "What is in it"), "1,000")


def test_several_splits_are_listed_at_a_glance_and_named_in_the_audit():
    splits = {"data__split": "train+validation", "data__split_images": {"train": 4007, "validation": 993}}
    card = render_card(state_facts(**splits), make_certificate())
    assert says(glance(card), "train", "4,007", "validation", "993")
    assert says(section(card, "What the audit found"), "train", "validation")
    assert not says(section(render_card(state_facts(), make_certificate()), "What the audit found"), "train")


CLEAN = {"split": "test", "images": 700, "class_counts": [0, 700]}


def test_a_clean_split_is_told_first_and_listed_everywhere():
    card = render_card(state_facts(clean_split=CLEAN))
    assert says(first_paragraph(card), "700", "test", "models can learn")
    assert says(glance(card), "700", "test")
    for words in (["700", "`test`", "`clean`"], ["cat", "2,400", "0"], ["dog", "2,600", "700"], ['split="test"']):
        assert says(card, *words)
        assert not says(BASE, *words)
    assert "clean" not in str(DatasetCard(render_card(state_facts())).data.to_dict()["configs"])


def test_datasets_loads_both_splits_as_the_card_says(tmp_path):
    features = Features({"image": Image(), "label": ClassLabel(names=["cat", "dog"])})
    for folder, split, rows in (("data", "train", 3), ("clean", "test", 2)):
        (tmp_path / folder).mkdir()
        png = [{"bytes": (b"%d" % row), "path": f"{row}.png"} for row in range(rows)]
        part = Dataset.from_dict({"image": png, "label": [row % 2 for row in range(rows)]}, features=features)
        part.to_parquet(tmp_path / folder / f"{split}-00000-of-00001.parquet")
    facts = state_facts(clean_split=CLEAN, data__features=write_features(features))
    (tmp_path / "README.md").write_text(render_card(facts), encoding="utf-8")
    loaded = load_dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in loaded.items()} == {"train": 3, "test": 2}
    assert all(part.features == features for part in loaded.values())


def test_size_categories_count_the_clean_split():
    facts = state_facts(data__images=999, data__protected=999, clean_split=CLEAN | {"images": 1})
    assert DatasetCard(render_card(facts)).data.to_dict()["size_categories"] == ["1K<n<10K"]


def test_the_origin_of_labels_is_told():
    told = {}
    for origin in ("folders", "column", "albums", "clusters"):
        card = render_card(state_facts(data__labels_from=origin))
        told[origin] = set(card.splitlines()) - {line for line in BASE.splitlines() if "labels" not in line.lower()}
        creators = DatasetCard(card).data.to_dict().get("annotations_creators")
        assert creators == (["machine-generated"] if origin == "clusters" else None)
    assert len({frozenset(lines) for lines in told.values()}) == 4
    assert says("\n".join(told["clusters"]), "machine")


def settings_of(card):
    """The first cells of the rows of tables."""
    return [line.split("|")[1] for line in card.splitlines() if line.startswith("| ")]


def test_em_claims_no_adversary():
    none = {"transform": "none", "samples": 1}
    noise = {"method": "em", "rho_a": "0", "adversary_steps": 0, "eot": none}
    card = render_card(state_facts(**{f"protection__{key}": value for key, value in noise.items()}))
    assert says(glance(card), "EM", "Huang")
    assert "ρ_a" not in glance(card)
    assert "ρ_a" not in "".join(settings_of(card))
    assert "K_a" not in card
    assert says(card, "none", "J = 1")
    assert "huang2021unlearnable" in card
    limits = card.partition("## What it does not protect against")[2]
    assert says(limits.split("\n\n")[1].replace("\n", " "), "adversarial training", "not")
    assert "huang2021unlearnable" not in BASE


def test_sem_is_described_as_sem():
    card = render_card(state_facts(protection__method="sem"))
    assert says(glance(card), "SEM", "Liu", "ρ_a = 4/255")
    assert says(card, "ρ_a", "4/255")
    assert "liu2024stable" in card
    assert "liu2024stable" not in BASE


@pytest.mark.parametrize("method", METHODS)
def test_the_card_cites_what_the_method_names_and_nothing_else(method):
    """Random noise has no source, and so no section."""
    card = render_card(state_facts(protection__method=method))
    entries = METHODS[method].words.citations
    cited = "".join(f"{entry}\n" for entry in entries)
    assert section(card, "Citation") == (f"\n```bibtex\n{cited}```\n" if entries else "")
    assert [
        entry for each in METHODS.values() for entry in each.words.citations if entry not in entries and entry in card
    ] == []
    assert ("## Citation" in card) == (method != "random")


def test_the_citation_of_another_method_stands_as_it_is(monkeypatch):
    words = replace(METHODS["random"].words, citations=("@misc{one}", "@misc{two,\n  title = {A {B} \\% C_d}\n}"))
    monkeypatch.setattr(METHODS["random"], "words", words)
    card = render_card(state_facts(protection__method="random"))
    assert section(card, "Citation") == "\n```bibtex\n@misc{one}\n@misc{two,\n  title = {A {B} \\% C_d}\n}\n```\n"


def test_random_noise_is_called_a_control_that_protects_nothing():
    some = {"data__images": 6000, "data__unprotected": 1000}
    card = render_card(state_facts(protection__method="random", protection__source_model=None, **some))
    assert says(first_paragraph(card), "6,000", "5,000", "8", "random noise protects nothing")
    for word in ("resnet18", "K_u", "ρ_a", "359,040,000"):
        assert word in BASE
        assert word not in card
    assert "unlearnable-examples" not in DatasetCard(card).data.to_dict()["tags"]


def test_without_noise_there_are_no_figures_of_it():
    card = render_card(state_facts(imperceptibility=None, data__protected=0, data__unprotected=5000))
    assert says(glance(card), "5,000", "0")
    for name in ("PSNR", "SSIM"):
        assert not says("\n".join(settings_of(card)), name)
        assert says("\n".join(settings_of(BASE)), name)


def test_only_figures_that_exist_are_shown():
    assert "figures/" not in BASE
    for name in ("protected", "noise"):
        card = render_card(state_facts(files={f"figures/{name}.png": FIGURE}))
        assert re.findall(r"\]\((figures/.*?)\)", card) == [f"figures/{name}.png"]
    assert says(card, "0.5 dB", "−8", "+8")


def test_names_cannot_break_the_card():
    name = "a|b <script>\n# [x](y) `z`"
    card = render_card(state_facts(data__classes=[name, "dog"], owner={"pretty_name": "Anna's: *cats* #1\n---\n"}))
    assert r"| a\|b \<script\> \# \[x\](y) \`z\` | 2,400 |" in card
    assert DatasetCard(card).data.to_dict()["pretty_name"] == "Anna's: *cats* #1\n---\n"
    assert r"# Anna's: \*cats\* \#1 ---" in card


def test_many_classes_are_summed_up():
    facts = state_facts(data__classes=[f"c{i}" for i in range(101)], data__class_counts=[*range(10, 110), 3])
    card = render_card(facts)
    assert says(card, "3", "109")
    assert "| c7 |" not in card


def test_the_owner_names_title_and_licence():
    owner = {
        "pretty_name": "My cats",
        "license": "other",
        "license_name": "house-rules",
        "license_link": "https://x.org",
    }
    card = render_card(state_facts(owner=owner))
    data = DatasetCard(card).data.to_dict()
    assert (data["license"], data["license_name"], data["license_link"]) == ("other", "house-rules", "https://x.org")
    assert "# My cats\n" in card
    assert says(glance(card), "house-rules", "<https://x.org>")
    assert says(section(card, "Licence and contact"), "house-rules", "<https://x.org>")


def test_the_owner_says_what_it_is_what_it_is_for_and_whom_to_write_to():
    owner = {"about": "Cats of *one* street.\n\nAll of\nthem.", "intended_use": "Posters.", "contact": "anna@x.org"}
    card = render_card(state_facts(owner=owner))
    assert section(card, "What this is").strip().startswith("Cats of \\*one\\* street.\n\nAll of them.\n\n| ")
    assert section(BASE, "What this is").strip().startswith("| ")
    assert section(card, "Intended use").strip() == "Posters."
    assert section(BASE, "Intended use").strip()
    assert says(glance(card), "<anna@x.org>")
    assert says(section(card, "Licence and contact"), "<anna@x.org>")


def test_the_terms_of_access_stand_in_metadata_and_text():
    terms = "Only look.\n\n---\n- Train nothing: 'no' # ever"
    owner = {"gated_heading": "Agree first", "gated_prompt": terms, "gated_button": "I agree"}
    card = render_card(state_facts(owner=owner))
    data = DatasetCard(card).data.to_dict()
    assert data["extra_gated_heading"] == "Agree first"
    assert data["extra_gated_prompt"] == terms
    assert data["extra_gated_button_content"] == "I agree"
    asked = "**Agree first**\n\nOnly look.\n\n\\--- - Train nothing: 'no' \\# ever\n\n"
    assert asked in section(card, "Licence and contact")
    assert says(section(card, "Licence and contact"), "I agree")
    for key in owner:
        assert "](#licence-and-contact)" in glance(render_card(state_facts(owner={key: owner[key]})))
    assert "](#licence-and-contact)" not in glance(BASE)
    assert "extra_gated" not in render_card(state_facts())


def test_the_metadata_survive_the_clients_own_reading_and_writing():
    owner = {"license": "other", "license_name": "x", "gated_prompt": "One.\n\nTwo: {three}"}
    text = render_card(state_facts(owner=owner, clean_split=CLEAN))
    card = DatasetCard(text)
    assert str(card) == text
    assert DatasetCardData(**card.data.to_dict()).to_dict() == card.data.to_dict()
    assert yaml.safe_load(text.split("\n---\n")[0]) == card.data.to_dict()
    configs = MetadataConfigs.from_dataset_card_data(card.data)
    assert [files["split"] for files in configs["default"]["data_files"]] == ["train", "test"]


def test_a_value_that_is_missing_is_an_error():
    facts = state_facts()
    broken = facts.model_copy(update={"cost": facts.cost.model_construct(noise_gradients=1)})
    with pytest.raises(jinja2.UndefinedError, match="training_gradients"):
        render_card(broken)


def test_features_that_describe_nothing_are_an_error():
    with pytest.raises(ValueError, match="does not describe columns"):
        render_card(state_facts(data__features="?"))
