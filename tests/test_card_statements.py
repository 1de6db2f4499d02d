"""What a card says to whoever reads it alone: the limits, how to verify, whose rights. Each statement, where it must be
and where it must not be, by the words that it cannot do without."""

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from rem_release.release import wording
from rem_release.release.card import render_card
from rem_release.release.certificate import Certificate
from tests.certificates import LIMITS as LIMITS_OF_TIERS
from tests.certificates import MEASURED, judge, make_certificate, make_row
from tests.test_release_card import CLEAN, FIGURE, first_paragraph, glance, section, state_facts

CONTROL = {"protection__method": "random", "protection__source_model": None}
EM = {"protection__method": "em", "protection__rho_a": "0", "protection__adversary_steps": 0}
SPLITS = {"data__split": "train+validation", "data__split_images": {"train": 4007, "validation": 993}}
PART = {"data__protected": 4000, "data__unprotected": 1000}
SHOWN = {"files": {"figures/protected.png": FIGURE}}
NOISE = {"files": {"figures/noise.png": FIGURE}}
BARE = {"imperceptibility": None, "data__protected": 0, "data__unprotected": 5000}
PASSED = make_certificate([make_row(*measured) for measured in MEASURED[:4]])


@dataclass(frozen=True)
class Says:
    """Words that one part of a card must hold together, in order, and that the card of other facts must not."""

    place: str
    words: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    audit: Certificate | None = None
    other: dict[str, Any] | None = None
    """facts of a card that does not say so; None where every card does"""


LIMITS = "What it does not protect against"
MADE = "How it was protected"
SEEN = "How visible it is"
IN_IT = "What is in it"
FOUND = "What the audit found"
VERIFY = "How to verify it"
RIGHTS = "Licence and contact"
STATEMENTS = {
    "for people to look at": Says("first", ("for people to look at", "hard for models"), other=CONTROL),
    "all of it carries noise": Says("first", ("each carries noise of at most 8 of 255 levels",), other=PART),
    "some of it carries noise": Says("first", ("4,000 of them carry noise of at most 8 of 255",), PART, other={}),
    "nobody measured": Says("first", ("NOT CERTIFIED", "nobody has measured what a model learns"), {}),
    "how such noise is undone": Says("first", ("undo such noise", "greyscale, JPEG", "training: see [what")),
    "a control": Says("first", ("carry random noise", "This is a control", "about as well as", "clean"), CONTROL),
    "without noise by choice": Says(
        "first", ("1,000 images are released as they are, by the owner's choice: models can learn",), PART, other={}
    ),
    "a clean split by choice": Says(
        "first", ("700 images of the split test are released without noise",), {"clean_split": CLEAN}, other={}
    ),
    "certified": Says("first", ("Certified**, empirically:", "The policy: standard tier under 0.300,"), {}, PASSED),
    "leakage": Says("first", ("adversarial tier under 0.700 of leakage.",), {}, PASSED),
    "images and classes": Says("glance", ("Images | 5,000 of 2 classes, 5,000 with noise and 0 without",)),
    "splits together": Says("glance", ("(4,007)", "validation (993), protected together"), SPLITS, other={}),
    "a clean split": Says("glance", ("700", "more in the split test, without noise"), {"clean_split": CLEAN}),
    "noise": Says(
        "glance",
        (
            "Noise | robust error-minimizing noise (REM",
            "at most 8 of 255 levels a pixel (ρ_u = 8/255), made to withstand",
        ),
    ),
    "no audit": Says("glance", ("Audit | **none**: nobody has measured",)),
    "nothing measured": Says("glance", ("fell short", "nothing was measured"), {}, make_certificate([])),
    "passed": Says("glance", ("**passed**. Decided by", ": [leakage](#", ", at most", "; the limit is"), {}, PASSED),
    "accuracy": Says(
        "glance",
        ("Test accuracy there | 30.2 % from these images", "% from the originals", "% with random", "% by chance"),
        {},
        PASSED,
    ),
    "no licence at a glance": Says("glance", ("Licence | none is named: no right to use the images is granted",)),
    "no contact": Says("glance", ("Contact | none given",)),
    "no terms": Says("glance", ("Access | no terms were written",)),
    "terms": Says("glance", ("Access | on the terms under", "where the Hub asks"), {"owner": {"gated_prompt": "x"}}),
    "the figure": Says("What this is", ("Protected images", "as released", "None is an original"), SHOWN, other={}),
    "no audit, no statement": Says(FOUND, ("There was no audit", "no statement", "has been measured")),
    "splits of the audit": Says(FOUND, ("Models were trained on", "train and validation together"), SPLITS, PASSED),
    "method": Says(MADE, ("Method | robust", "(REM; Fu et al."), other=EM),
    "rho_u": Says(MADE, ("Defensive radius ρ_u | 8/255: no pixel changed by more than 8 of 255 levels",)),
    "rho_a": Says(MADE, ("Adversarial radius ρ_a | 4/255: the adversarial training", "withstand"), other=EM),
    "resized noise": Says(MADE, ("the noise of 37 images was interpolated",), {"data__resized_noise": 37}, other={}),
    "cost": Says(MADE, ("Cost | 361,840,000", "359,040,000 to train the source model", "2,800,000 for the final")),
    "what a cost is": Says(MADE, ("One sample gradient evaluation is", "for one image"), other=CONTROL),
    "recipe": Says(MADE, ("Recipe | rem-cifar10, sha256 `abab",)),
    "versions": Says(MADE, ("Made with | rem-release 0.1.0, torch 2.15.0",)),
    "figure of noise": Says(
        MADE, ("The noise, amplified", "no change", "plain grey", "not in this dataset", "Subtracted", "0.5 dB"), NOISE
    ),
    "no figure of noise": Says(MADE, ("The noise is not shown", "would undo"), other=NOISE),
    "measured how": Says(SEEN, ("Measured on the released pixels against the originals, over the 5,000 images",)),
    "psnr": Says(SEEN, ("| mean | worst image |", "PSNR | 31.42 dB | 30.00 dB", "SSIM | 0.9512 | 0.5000")),
    "change": Says(SEEN, ("The mean change is 6.12 levels of 255, the largest 8",), other=BARE),
    "no noise": Says(SEEN, ("No image of this dataset carries noise",), BARE, other={}),
    "not for training": Says("Intended use", ("For people", "Not for the training of models, of any kind")),
    "use of a control": Says("Intended use", ("A control for experiments", "due to noise"), CONTROL, other={}),
    "no privacy": Says(LIMITS, ("not privacy", "faces", "nobody in them was made anonymous")),
    "labels": Says(LIMITS, ("carry no metadata", "labels and other columns are published")),
    "kept columns": Says(LIMITS, ("The owner keeps columns", "note"), {"kept_columns": ["note"]}, other={}),
    "the originals": Says(LIMITS, ("Whoever has the originals", "can learn from those")),
    "changed copies": Says(LIMITS, ("A copy that was cropped", "may protect less")),
    "near copies": Says(
        LIMITS,
        ("29 images are near copies", "more than 16 levels", "32 × 32", "share one noise, 20", "averaging others"),
        {"data__near_copies": 29},
        other={},
    ),
    "other methods": Says(LIMITS, ("nobody has published yet are not covered",)),
    "whatever the noise": Says(LIMITS, ("Whatever the noise does to models",)),
    "format of images": Says(IN_IT, ("5,000 in the split `train`, 8-bit RGB PNG without metadata",)),
    "with noise": Says(IN_IT, ("With noise | 4,000", "Without noise | 1,000"), PART, other={}),
    "what it was read as": Says(
        IN_IT,
        (
            "Source | class folders",
            "Decoded | turned as EXIF says (5)",
            "files skipped with --skip-bad |",
            "Why not | too large (3); ",
        ),
        {
            "data__layout": "class folders",
            "data__choices": {"turned as EXIF says": 5},
            "data__left_out": {"too large": 3, "not protected": 12},
        },
        other={},
    ),
    "near copies of rows": Says(IN_IT, ("Near copy of an earlier row's image | 29",), {"data__near_copies": 29}),
    "repeats": Says(IN_IT, ("Same image as an earlier row | 23",), {"data__duplicates": 23}, other={}),
    "sizes": Says(IN_IT, ("Smallest, largest | 32 × 32, 32 × 32 pixels; longer sides",), {"data__max_side": 64}),
    "columns": Says(IN_IT, ("Columns | image, label",)),
    "labels of folders": Says(IN_IT, ("labels are the class folders of the source",)),
    "labels of a column": Says(IN_IT, ("labels are those of the source",), {"data__labels_from": "column"}, other={}),
    "labels of albums": Says(
        IN_IT, ("labels tell albums apart", "Nobody labelled"), {"data__labels_from": "albums"}, other={}
    ),
    "labels of clusters": Says(
        IN_IT, ("made by a machine", "Nobody labelled", "need not mean"), {"data__labels_from": "clusters"}, other={}
    ),
    "loading": Says("How to load it", ("from datasets import load_dataset", 'load_dataset("NAMESPACE/NAME", split')),
    "verify on the Hub": Says(VERIFY, ("rem-release verify NAMESPACE/NAME@REV", "as the Hub serves them")),
    "verify a folder": Says(VERIFY, ("rem-release verify FOLDER #", "a copy of this folder")),
    "verify originals": Says(VERIFY, ("rem-release verify FOLDER --clean ORIGINALS", "against the originals")),
    "digest": Says(VERIFY, ("Digest of the data: `cdcd", "sha256sum data/* | sha256sum")),
    "facts": Says(VERIFY, ("`protection.json` holds all facts",)),
    "facts of a clean split": Says(VERIFY, ("the sha256 of every other file",), {"clean_split": CLEAN}, other={}),
    "no licence": Says(RIGHTS, ("has not named a licence: no right to use the images is granted",)),
    "licence": Says(RIGHTS, ("Licence: cc-by-4.0",), {"owner": {"license": "cc-by-4.0"}}, other={}),
    "nobody to write to": Says(RIGHTS, ("has not named a contact",)),
    "gated": Says(RIGHTS, ("the Hub asks before it gives",), {"owner": {"gated_button": "Yes"}}, other={}),
    "citation": Says("Citation", ("fu2022robust", "Robust Unlearnable Examples", "Fu, Shaopeng", "2022")),
    "the certificate": Says(FOUND, ("`audit.json` is the certificate of exactly these bytes",), {}, PASSED),
    "leakage explained": Says(FOUND, (wording.LEAKAGE[:60],), {}, PASSED),
    "verdict explained": Says(FOUND, (wording.VERDICT[:60],), {}, PASSED),
    "proof explained": Says(FOUND, ("answers.parquet holds", "no signature"), {}, PASSED),
    "rows explained": Says(FOUND, ("test accuracies in percent of clean images", "both after the last"), {}, PASSED),
    "a tier's own limit": Says(
        FOUND,
        ("0.750 (shipped: 0.700)",),
        {},
        make_certificate(PASSED.rows, tiers=judge(PASSED.rows, LIMITS_OF_TIERS | {"adversarial": 0.75})),
    ),
    "an invalid row": Says(
        FOUND, ("(invalid: weak",), {}, make_certificate([make_row(valid=False, reason="weak"), *PASSED.rows])
    ),
    "conditions": Says(FOUND, ("| Conditions |", "Victims | each trained on", "Tested on |", "Radii |"), {}, PASSED),
    "not covered": Says(FOUND, ("**Not covered:**",), {}, PASSED),
    "covered by nothing": Says(FOUND, ("certificate names nothing",), {}, make_certificate([], not_covered=[])),
}


def part_of(card: str, place: str) -> str:
    part = first_paragraph(card) if place == "first" else glance(card) if place == "glance" else section(card, place)
    return " ".join(part.replace("\\", "").split())


def holds(part: str, words: tuple[str, ...]) -> bool:
    """Whether all words stand there, one after the other."""
    for word in words:
        _, found, part = part.partition(word)
        if not found:
            return False
    return True


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_card_states(name: str) -> None:
    statement = STATEMENTS[name]
    part = part_of(render_card(state_facts(**statement.facts), statement.audit), statement.place)
    assert holds(part, statement.words), part
    if statement.other is not None:
        card = render_card(state_facts(**statement.other), statement.audit)
        place = "How it was made" if statement.place == MADE and statement.other is CONTROL else statement.place
        assert not holds(part_of(card, place), statement.words)


TABLED = {"clean_split": CLEAN, **SPLITS, "data__layout": "class folders"}


def test_every_table_has_a_head_and_a_rule() -> None:
    """Without them Markdown shows bars."""
    for facts in ({}, TABLED, CONTROL, BARE):
        for audit in (None, PASSED):
            heads = []
            for block in render_card(state_facts(**facts), audit).split("\n\n"):
                lines = block.strip().splitlines()
                if lines and lines[0].startswith("|"):
                    heads.append(lines[0].replace(" ", ""))
                    assert set(lines[1]) <= set("|-:"), block
                    widths = {line.replace("\\|", "").count("|") for line in lines}
                    assert len(widths) == 1, block
            assert heads[0] == "|Ataglance||"
            expected = {"|Setting||", "|Contents||", f"|class|images|{'cleanimages|' * ('clean_split' in facts)}"}
            expected |= set() if facts == BARE else {"||mean|worstimage|"}
            expected |= {"|Conditions||", "|tier|outcome|required|limit|leakage,atmost|"} if audit else set()
            assert expected <= set(heads)


def test_code_stands_in_code_and_each_work_is_cited_whole() -> None:
    cited = {}
    for method in ("rem", "em", "sem", "tap"):
        card = render_card(state_facts(protection__method=method))
        fences = [line for line in card.splitlines() if line.startswith("```")]
        assert fences == ["```python", "```", "```", "```", "```bibtex", "```"]
        code = card.split("```bibtex\n")[1].split("```")[0]
        cited[method] = re.findall(
            r"@inproceedings\{(\w+),\n  title = \{(\w.*\w)\},\n  author = \{(\w+), .*\},\n"
            r"  booktitle = \{(\w.*\w)\},\n  year = \{(\d+)\}\n\}\n",
            code,
        )
        assert code.count("@") == len(cited[method])
    names = {method: [(name, author, year) for name, _, author, _, year in works] for method, works in cited.items()}
    own = ("fu2022robust", "Fu", "2022")
    assert names["rem"] == [own]
    assert names["em"] == [("huang2021unlearnable", "Huang", "2021"), own]
    assert names["sem"] == [("liu2024stable", "Liu", "2024"), own]
    assert names["tap"] == [("fowl2021adversarial", "Fowl", "2021"), own]
