"""The dataset card: README.md, rendered from the facts and nothing else, so that verify can render it again."""

import hashlib
from typing import Any

from datasets import DatasetInfo
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData
from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rem_release.methods import METHODS
from rem_release.plain_text import escape, find_unseen
from rem_release.release import wording
from rem_release.release.certificate import Certificate
from rem_release.release.facts import Facts
from rem_release.release.figures import NOISE_FIGURE, PROTECTED_FIGURE
from rem_release.release.markdown import write_address, write_paragraphs, write_plain
from rem_release.release.schema import read_features
from rem_release.resources import resource_folder

_OWNERS_METADATA = {
    "license_name": "license_name",
    "license_link": "license_link",
    "extra_gated_heading": "gated_heading",
    "extra_gated_prompt": "gated_prompt",
    "extra_gated_button_content": "gated_button",
}
"""Key of the metadata → field of the owner."""
_SIZES = [
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
]


RENDERERS = ("rem-release", "datasets", "huggingface-hub", "jinja2", "pyyaml")
"""The packages whose versions decide how the card comes out; the facts should name the version of each."""


def render_card(facts: Facts, audit: Certificate | None = None) -> str:
    """Render README.md: YAML metadata for the Hub, then a text for people.

    Args:
        facts: everything but `readme_sha256`, which the card cannot know.
        audit: the certificate of these data, once there is one; None says that nobody has measured.

    Raises:
        jinja2.UndefinedError: the template asks for something that the facts do not have.
        ValueError: `data.features` does not describe columns, or the certificate is of other data.
    """
    if audit is not None and audit.digest != facts.digest:
        raise ValueError(f"the certificate is of data with the digest {audit.digest}, not {facts.digest}")
    environment = Environment(
        loader=FileSystemLoader(resource_folder("cards")),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count"] = _write_count
    environment.filters["plain"] = write_plain
    environment.filters["paragraphs"] = write_paragraphs
    environment.filters["address"] = write_address
    environment.filters["percent"] = wording.write_percent
    environment.filters["leakage"] = wording.write_leakage
    environment.filters["bound"] = wording.write_bound
    text = environment.get_template("dataset_card.md.jinja").render(
        **facts.model_dump(exclude={"readme_sha256"}),
        metadata=_write_metadata(facts),
        title=_title(facts),
        method=METHODS[facts.protection.method],
        method_rows=METHODS[facts.protection.method].list_rows(facts.protection.model_dump()),
        source_models=facts.protection.source_models,
        audit=audit,
        protected_figure=PROTECTED_FIGURE,
        noise_figure=NOISE_FIGURE,
        **(_describe_audit(audit) if audit else {}),
    )
    return escape(text)


def _describe_audit(audit: Certificate) -> dict[str, Any]:
    """What `audit_section.md.jinja` shows besides the certificate's own fields."""
    return {
        "leakage_words": wording.LEAKAGE,
        "verdict_words": wording.VERDICT,
        "proof_words": wording.PROOF,
        "tier_words": wording.describe_tiers(audit),
        "audit_figures": wording.describe_figures(audit),
        "learnability": wording.describe_learnability(audit),
        "conditions": wording.describe_conditions(audit),
    }


def _write_metadata(facts: Facts) -> str:
    """The YAML block, in the Hub's vocabulary."""
    data, owner = facts.data, facts.owner
    card = DatasetCardData(
        pretty_name=_title(facts),
        license=owner.license or "unknown",
        task_categories=["image-classification"],
        size_categories=[_size_category(data.images + (facts.clean_split.images if facts.clean_split else 0))],
        annotations_creators=["machine-generated"] if data.labels_from == "clusters" else None,
        tags=[*METHODS[facts.protection.method].words.tags, "rem-release"],
        configs=[
            {"config_name": "default", "data_files": _list_data_files(facts), "description": _name_bytes(facts)},
        ],
    )
    for key, field in _OWNERS_METADATA.items():
        if (value := getattr(owner, field)) is not None:
            card[key] = value
    info = DatasetInfo(features=read_features(data.features))
    DatasetInfosDict({"default": info}).to_dataset_card_data(card)
    text = card.to_yaml()
    if find_unseen(text) is not None:
        text = yaml_dump(card.to_dict(), sort_keys=False, allow_unicode=False).strip()
    return text


def _list_data_files(facts: Facts) -> list[dict[str, str]]:
    found = [{"split": split, "path": f"data/{split}-*"} for split in facts.data.split_images]
    if facts.clean_split is not None:
        found.append({"split": facts.clean_split.split, "path": f"clean/{facts.clean_split.split}-*"})
    return found


def _name_bytes(facts: Facts) -> str:
    """What tells releases apart: `datasets` keeps what it reads under a hash of the card's metadata, not of files."""
    lines = [f"{file.sha256}  {name}\n" for name, file in sorted(facts.files.items()) if file.rows is not None]
    return f"sha256 {hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _title(facts: Facts) -> str:
    return facts.owner.pretty_name or METHODS[facts.protection.method].words.title


def _size_category(images: int) -> str:
    return next((name for limit, name in _SIZES if images < limit), "n>1T" if images >= 10**12 else "1B<n<10B")


def _write_count(number: int) -> str:
    """1234567 as 1,234,567."""
    return f"{number:,}"
