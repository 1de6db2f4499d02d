import hashlib
import re

import jinja2
import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, Image, Value, load_dataset
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData

from rem_release.release.card import render_card
from rem_release.release.certificate import AUDIT_FIGURES, LearnabilityFacts
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


def test_what_matters_stands_in_the_first_paragraph():
    body = DatasetCard(render_card(state_facts())).text.strip()
    title, first = re.split(r"\n\n", body)[:2]
    assert title == "# Images protected with robust error-minimizing noise"
    assert "5,000 images" in first
    assert "each carries noise of at most 8 of 255 levels" in first
    assert "see\n[what it does not protect against](#what-it-does-not-protect-against)" in first
    assert first.startswith("**NOT CERTIFIED**: nobody has measured what a model learns from these images.\\\n")


@pytest.mark.parametrize(
    "words",
    [
        "| Defensive radius ρ_u | 8/255: no pixel changed by more than 8 of 255 levels |",
        "| Adversarial radius ρ_a | 4/255:",
        "| Noise steps | K_u = 10 of α_u = 1.6/255 |",
        "| Adversary steps | K_a = 10 of α_a = 0.8/255 |",
        "| Expectation over transformation | cifar augmentation, J = 5 |",
        "| Source model | resnet18, 5,000 training steps |",
        "| Working resolution | 32 × 32 |",
        "| Cost | 361,840,000 sample gradient evaluations: 359,040,000 to train the source model, 2,800,000 for the",
        "| PSNR | 31.42 dB | 30.00 dB |",
        "| SSIM | 0.9512 | 0.5000 |",
        "The mean change is 6.12 levels of 255, the largest 8.",
        "| Not released | 12 images of the source held back, 3 files left out as unreadable |",
        "| cat | 2,400 |",
        "`" + "cd" * 32 + "`",
        "rem-release verify FOLDER --clean ORIGINALS",
        "other people's published figures for CIFAR-10, not measurements of this dataset",
        "fu2022robust",
    ],
)
def test_the_card_says(words):
    assert words in render_card(state_facts())


def test_the_sections_stand_in_the_order_in_which_people_ask():
    card = render_card(state_facts(files={"figures/protected.png": FIGURE}), make_certificate())
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == [
        *("What this is", "What the audit found", "How it was protected", "How visible it is", "Intended use"),
        *("What it does not protect against", "What is in it", "How to load it", "How to verify it"),
        *("Licence and contact", "Citation"),
    ]
    assert card.index("| At a glance | |") < card.index("(figures/protected.png)") < card.index("## What the audit")


@pytest.mark.parametrize(
    "row",
    [
        "| Images | 5,000 of 2 classes, 5,000 with noise and 0 without |",
        "| Noise | robust error-minimizing noise (REM; Fu et al., ICLR 2022): at most 8 of 255 levels a pixel"
        " (ρ_u = 8/255), made to withstand adversarial training up to ρ_a = 4/255 |",
        "| Audit | **none**: nobody has measured what a model learns from these images |",
        "| Licence | none is named: no right to use the images is granted |",
        "| Contact | none given |",
        "| Access | no terms were written for it |",
    ],
)
def test_a_glance_at_what_was_not_audited(row):
    assert f"{row}\n" in render_card(state_facts())


def test_a_glance_shows_the_row_that_decides():
    card = render_card(state_facts(), make_certificate())
    assert (
        "| Audit | **fell short**. Decided by densenet121, adversarial training (L∞, 4/255): "
        "[leakage](#what-the-audit-found) 0.959, at most 0.989; the limit is 0.700 |\n"
        "| Test accuracy there | 80.0 % from these images, 83.0 % from the originals, 83.0 % with random noise, "
        "10.0 % by chance |\n"
    ) in card
    assert "| Audit | **fell short**: nothing was measured |" in render_card(state_facts(), make_certificate([]))


def test_a_certified_card_names_its_policy_first():
    certificate = make_certificate([make_row(*measured) for measured in MEASURED[:4]])
    card = render_card(state_facts(), certificate)
    first = re.split(r"\n\n", DatasetCard(card).text.strip())[1]
    assert first.startswith(
        "**Certified**, empirically: The audit passed. "
        "The policy: standard tier under 0.300, adversarial tier under 0.700 of leakage.\\\n"
    )
    assert "NOT CERTIFIED" not in card
    assert "| Audit | **passed**. Decided by densenet121, ordinary training: " in card


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
    assert "| Cost | 0 sample gradient evaluations: 0 to train the source model, 0 for the final noise |" in card
    assert "| SSIM | 0.9512 | 0.0000 |" in card
    assert "The mean change is 0.00 levels" in card
    assert "| Source model | resnet18, 0 training steps |" in card
    assert "| cat | 0 |" in card
    assert "None" not in card.replace("None is an original", "")


def test_the_card_does_not_depend_on_its_own_hash():
    facts = state_facts()
    assert render_card(facts) == render_card(facts.model_copy(update={"readme_sha256": "ef" * 32}))


def test_the_verdict_stands_in_the_first_paragraph_of_an_audited_card():
    certificate = make_certificate()
    card = render_card(state_facts(), certificate)
    first = re.split(r"\n\n", DatasetCard(card).text.strip())[1]
    assert first.startswith("**NOT CERTIFIED**: The audit fell short.\\\n")
    assert first.endswith(
        "\n- Tier adversarial fell short of its limit of 0.7.\n- Tier adaptive fell short of its limit of 0.7."
    )
    assert "nobody has measured" not in card
    assert "`audit.json` is the certificate of exactly these bytes" in card
    assert "other people's published figures for CIFAR-10" in card


def audit_section(certificate, **changes):
    card = render_card(state_facts(**changes), certificate)
    return card.partition("## What the audit found\n")[2].partition("## How it was protected")[0]


def test_the_audit_section_is_the_certificate():
    rows = [make_row(*measured) for measured in MEASURED]
    rows[2] = make_row(*MEASURED[2], valid=False, reason="weak reference")
    rows[5] = make_row(*MEASURED[5], leakage=None, low=None, high=None)
    rows[6] = make_row(*MEASURED[6], high=None)
    limits = {"standard": 0.3, "adversarial": 0.75, "adaptive": 0.7, "transfer": 0.7}
    section = audit_section(make_certificate(rows, tiers=judge(rows, limits)))
    for line in (
        "| standard: ordinary training | **passed** | yes | 0.300 | 0.271 |\n",
        r"| adversarial: adversarial training at radii up to ρ\_a = 4/255 | **fell short** | yes |"
        " 0.750 (shipped: 0.700) | 0.989 |\n",
        "| adaptive: countermeasures, combinations and larger radii | **fell short** | no | 0.700 | not defined |",
        "| transfer: other and pretrained networks | **not tested** | no | 0.700 | – |",
        "**Standard tier passed.** Every row stays under the limit.\n",
        "**Adversarial tier fell short.** The worst row may leak more than 0.75.\n",
        "**Transfer tier was not tested.** No row was measured.\n",
        "| ordinary training, resnet18 | 27.1 | 94.0 | 93.1 | 0.204 | 0.234 |",
        "| ordinary training, densenet121 (decides) | 30.2 | 93.5 | 92.0 | 0.241 | 0.271 |",
        "| adversarial training (L∞, 2/255), resnet18 **(invalid: weak reference)** | 30.7 | 92.0 | 92.0 |",
        "| adversarial training (L∞, 4/255), resnet18 | 48.2 | 90.0 | 89.0 | 0.477 | 0.507 |",
        "| JPEG, quality 10, resnet18 (decides) | 78.0 | 85.0 | 86.0 | not defined | not defined |",
        "| adversarial training (L∞, 8/255), resnet18 | 84.0 | 85.0 | 86.0 | 0.987 | unbounded |",
        "This certificate is empirical",
        "(protected − floor) / (clean − floor)",
        "| Tested on | 1,234 clean images, given for the audit; 7 more were left out: they overlap the",
        "one-sided at 95 % confidence",
        "| Audit recipe | audit-quick, sha256 " + "ab" * 32 + " |",
        "- Diffusion purification was not tried.\n- Radii above 8/255 were not tried.\n",
    ):
        assert line in section
    assert "Gaussian noise" not in section
    assert "None" not in section
    assert section.count("(decides)") == 3
    order = [section.index(words) for words in ("Standard tier", "27.1", "Adversarial tier", "48.2", "Adaptive tier")]
    assert order == sorted(order)


def test_rows_without_a_bound_and_relabelled_rows_say_so():
    rows = [make_row(seeds=1, low=None, high=None), make_row("adversarial", relabelled=True)]
    tiers = [tier.model_copy(update={"outcome": "looked at"}) for tier in judge(rows)[:1]] + judge(rows)[1:]
    section = audit_section(make_certificate(rows, tiers=tiers))
    for line in (
        "| standard: ordinary training | **looked at** | yes | 0.300 | no bound (1 seed) |\n",
        "**Standard tier looked at.**",
        "| ordinary training, resnet18 (decides) | 27.1 | 94.0 | 93.1 | 0.204 | no bound (1 seed) |",
        "| ordinary training, resnet18 (decides) | 27.1 (relabelled) | 94.0 |",
        "It is no signature",
        "4 victims of clean images and random noise came from earlier audits",
        "2 of the same originals that the run folder remembers, of 1 other releases",
        "4 of them are near copies of others and count with these as one",
    ):
        assert line in section


def test_audit_figures_are_shown_where_they_are_files_and_only_with_a_certificate():
    files = {AUDIT_FIGURES[0]: FIGURE, AUDIT_FIGURES[2]: FIGURE}
    section = audit_section(make_certificate(), files=files)
    assert re.findall(r"\]\((figures/.*?)\)", section) == [AUDIT_FIGURES[0], AUDIT_FIGURES[2]]
    assert (
        "*Test accuracy of each class in the row that decides: adversarial training (L∞, 4/255), densenet121.*"
        in section
    )
    assert "figures/" not in audit_section(make_certificate())
    assert "figures/" not in render_card(state_facts(files=files))


def test_the_learnability_bound_comes_with_its_small_eta():
    facts = LearnabilityFacts(
        architecture="resnet18", samples=1000, sigma=0.25, q=0.9, eta=0.33, bound=0.5512, accuracies=[]
    )
    section = audit_section(make_certificate(learnability=facts))
    assert "by 55.1 %, for any shift of these weights by at most η = 0.33 in L2. That η is small" in section


def test_names_in_a_certificate_cannot_break_the_card():
    name = "a|b <script>\n## [x](y) `z`"
    row = make_row(architecture=name, words=name, valid=False, reason=name)
    section = audit_section(make_certificate([row], summary=[name], not_covered=[name], recipe_name=name, device=name))
    plain = r"a\|b \<script\> \#\# \[x\](y) \`z\`"
    assert f"| {plain}, {plain} **(invalid: {plain})** (decides) | 27.1 |" in section
    assert f"- {plain}\n" in section
    assert f"| Device | {plain} |" in section
    assert "<script>" not in section.replace(r"\<script\>", "")
    first = re.split(r"\n\n", DatasetCard(render_card(state_facts(), make_certificate(summary=[name]))).text.strip())[1]
    assert f"**NOT CERTIFIED**: {plain}\\\n" in first


def test_a_void_certificate_makes_no_card():
    with pytest.raises(ValueError, match=r"digest ef.*, not cd"):
        render_card(state_facts(), make_certificate(digest="ef" * 32))


def test_an_audit_without_rows_makes_a_card():
    section = audit_section(make_certificate([], not_covered=[]))
    assert "| standard: ordinary training | **not tested** | yes | 0.300 | – |" in section
    assert "Every row" not in section
    assert "- The certificate names nothing.\n" in section


def test_a_partly_protected_release_says_so_first():
    card = render_card(state_facts(data__protected=4000, data__unprotected=1000))
    assert "4,000 of them carry noise of" in card
    assert "| Images | 5,000 of 2 classes, 4,000 with noise and 1,000 without |" in card
    assert "**1,000 images are released as they are, by the owner's choice: models can learn from those.**" in card


CLEAN = {"split": "test", "images": 700, "class_counts": [0, 700]}


def test_a_clean_split_is_told_first_and_listed_everywhere():
    card = render_card(state_facts(clean_split=CLEAN))
    first = re.split(r"\n\n", DatasetCard(card).text.strip())[1]
    assert (
        "**700 images of the split test are released without noise, by the owner's choice: "
        "models can learn from those.**"
    ) in first
    for line in (
        "| Clean images | **700** more in the split test, without noise |\n",
        "| Clean images | 700 in the split `test`, in the folder `clean`, without noise |\n",
        "| class | images | clean images |\n|---|---|---|\n| cat | 2,400 | 0 |\n| dog | 2,600 | 700 |\n",
        'clean = load_dataset("NAMESPACE/NAME", split="test")  # without noise\n',
        "`protection.json` holds all facts of this card and the sha256 of every other file.",
    ):
        assert line in card
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


def test_resized_noise_reused_generators_and_shrunk_images_are_told():
    card = render_card(
        state_facts(
            data__resized_noise=17, data__max_side=640, protection__generator_reused=True, data__largest=[640, 9]
        )
    )
    assert "the noise of 17 images was interpolated to their own size" in card
    assert "trained in an earlier run" in card
    assert "32 × 32, 640 × 9 pixels; longer sides were shrunk to 640" in card


@pytest.mark.parametrize(
    ("labels_from", "words"),
    [
        ("folders", "The labels are the class folders of the source."),
        ("column", "The labels are those of the source."),
        ("albums", "Nobody labelled what the pictures show."),
        ("clusters", "**The labels were made by a machine**"),
    ],
)
def test_the_origin_of_labels_is_told(labels_from, words):
    card = render_card(state_facts(data__labels_from=labels_from))
    assert words in card
    creators = DatasetCard(card).data.to_dict().get("annotations_creators")
    assert creators == (["machine-generated"] if labels_from == "clusters" else None)


def test_em_claims_no_adversary():
    card = render_card(
        state_facts(
            protection__method="em",
            protection__rho_a="0",
            protection__adversary_steps=0,
            protection__eot={"transform": "none", "samples": 1},
        )
    )
    assert "| Method | error-minimizing noise (EM; Huang et al., ICLR 2021) |" in card
    assert "ρ_a |" not in card
    assert "made to withstand adversarial training up to" not in card
    assert "K_a" not in card
    assert "| Expectation over transformation | none, J = 1 |" in card
    assert "is not made to withstand adversarial training, and does not" in card
    assert "huang2021unlearnable" in card


def test_sem_is_described_as_sem():
    card = render_card(state_facts(protection__method="sem"))
    assert "stable error-minimizing noise (SEM; Liu et al., AAAI 2024)" in card
    assert "one uniform draw within ±ρ_a for the noise" in card
    assert "protected by SEM with" in card
    assert "liu2024stable" in card


def test_random_noise_is_called_a_control_that_protects_nothing():
    facts = state_facts(protection__method="random", protection__source_model=None)
    card = render_card(facts)
    assert "**random noise protects nothing**" in card
    assert "meant to be hard" not in card
    assert "Not for the training" not in card
    for word in ("Source model", "K_u", "ρ_a", "sample gradient", "How it was protected"):
        assert word not in card
    assert "unlearnable-examples" not in DatasetCard(card).data.to_dict()["tags"]


def test_without_noise_there_are_no_figures_of_it():
    card = render_card(state_facts(imperceptibility=None, data__protected=0, data__unprotected=5000))
    assert "No image of this dataset carries noise." in card
    assert "The noise is not shown" not in card
    assert "PSNR |" not in card


def test_tiny_pictures_have_no_ssim():
    card = render_card(state_facts(imperceptibility__ssim_mean=None, imperceptibility__ssim_min=None))
    assert "| SSIM | not defined below 3 pixels a side | |" in card


def test_only_figures_that_exist_are_shown():
    assert "figures/" not in render_card(state_facts())
    card = render_card(state_facts(files={"figures/protected.png": FIGURE}))
    assert "](figures/protected.png)" in card
    assert "noise.png" not in card
    assert "The noise is not shown" in card
    card = render_card(state_facts(files={"figures/noise.png": FIGURE}))
    assert "](figures/noise.png)" in card
    assert "a cell brings it at most 0.5 dB closer to its original" in card
    assert "The noise is not shown" not in card


def test_names_cannot_break_the_card():
    name = "a|b <script>\n# [x](y) `z`"
    card = render_card(state_facts(data__classes=[name, "dog"], owner={"pretty_name": "Anna's: *cats* #1\n---\n"}))
    assert r"| a\|b \<script\> \# \[x\](y) \`z\` | 2,400 |" in card
    assert DatasetCard(card).data.to_dict()["pretty_name"] == "Anna's: *cats* #1\n---\n"
    assert r"# Anna's: \*cats\* \#1 ---" in card


def test_many_classes_are_summed_up():
    facts = state_facts(data__classes=[f"c{i}" for i in range(101)], data__class_counts=[*range(10, 110), 3])
    card = render_card(facts)
    assert "Images a class: 3 to 109." in card
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
    assert "| Licence | house-rules, <https://x.org> |" in card
    assert "\nLicence: house-rules, <https://x.org>\n" in card
    assert "The owner has not named a licence" not in card


def test_the_owner_says_what_it_is_what_it_is_for_and_whom_to_write_to():
    plain = render_card(state_facts())
    assert "## What this is\n\n| At a glance | |" in plain
    assert "## Intended use\n\nFor people: to look at, to show, to browse and to search. Not for the training" in plain
    assert "\nThe owner has not named a contact.\n" in plain
    owner = {"about": "Cats of *one* street.\n\nAll of\nthem.", "intended_use": "Posters.", "contact": "anna@x.org"}
    card = render_card(state_facts(owner=owner))
    assert "## What this is\n\nCats of \\*one\\* street.\n\nAll of them.\n\n| At a glance | |" in card
    assert "## Intended use\n\nPosters.\n\n## " in card
    assert "| Contact | <anna@x.org> |" in card
    assert "\nContact: <anna@x.org>\n" in card


def test_the_terms_of_access_stand_in_metadata_and_text():
    terms = "Only look.\n\n---\n- Train nothing: 'no' # ever"
    owner = {"gated_heading": "Agree first", "gated_prompt": terms, "gated_button": "I agree"}
    card = render_card(state_facts(owner=owner))
    data = DatasetCard(card).data.to_dict()
    assert data["extra_gated_heading"] == "Agree first"
    assert data["extra_gated_prompt"] == terms
    assert data["extra_gated_button_content"] == "I agree"
    section = card.partition("## Licence and contact")[2].partition("## Citation")[0]
    asked = "**Agree first**\n\nOnly look.\n\n\\--- - Train nothing: 'no' \\# ever\n\nButton: I agree\n"
    assert asked in section
    assert "| Access | on the terms under [Licence and contact](#licence-and-contact)" in card
    for key in owner:
        assert "on the terms under" in render_card(state_facts(owner={key: owner[key]}))
    assert "extra_gated" not in render_card(state_facts())
    assert "asks before" not in render_card(state_facts())


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
