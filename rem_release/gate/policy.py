"""Whether a release is certified under its owner's policy, and whether its card says just that."""

from pathlib import Path

from huggingface_hub import DatasetCard
from jinja2 import TemplateError

import rem_release
from rem_release.errors import VerificationError
from rem_release.hub.client import REPO_TYPE, Hub, HubError
from rem_release.release.card import render_card
from rem_release.release.documents import CARD, find_certificate
from rem_release.release.facts import Facts
from rem_release.verification.report import Check


def find_lack(release: Path, facts: Facts) -> str | None:
    """Why the release is not certified, in a sentence; None where it is."""
    try:
        audit = find_certificate(release)
    except VerificationError as error:
        return str(error)
    if audit is None:
        return "It was not audited: nobody has measured what a model learns from it."
    if audit.digest != facts.digest:
        return "Its certificate is void: it is of other data."
    if (maker := audit.versions.get("rem-release")) != rem_release.__version__:
        return f"It was audited by rem-release {maker}, whose sentences this version cannot check: audit it again."
    return None if audit.passed else audit.summary[0]


def check_policy(release: Path, facts: Facts, allow_uncertified: bool) -> Check:
    """Whether the certificate passed the owner's policy, or the owner goes without."""
    lack = find_lack(release, facts)
    if lack is None:
        return Check("policy", True, "the certificate of these data passed the owner's policy")
    if allow_uncertified:
        return Check("policy", True, f"NOT CERTIFIED, which --allow-uncertified lets through: {lack}")
    cure = "Audit the run, protect it otherwise, or set your own limits in the audit's recipe"
    return Check("policy", False, f"{lack} {cure}; or add --allow-uncertified, and the card says NOT CERTIFIED")


def check_card_again(release: Path, facts: Facts) -> Check:
    """Whether the card's numbers are those of facts and certificate, rendered with what is installed here.

    verify is content with the recorded hash where another version made the card. What is published must render now.
    """
    try:
        audit = find_certificate(release)
        rendered = render_card(facts, audit if audit and audit.digest == facts.digest else None).encode()
    except (VerificationError, ValueError, TypeError, TemplateError) as error:
        return Check("card numbers", False, f"{CARD} cannot be rendered: {error}")
    if (release / CARD).is_file() and (release / CARD).read_bytes() == rendered:
        return Check("card numbers", True, f"{CARD} says what the facts and the certificate say")
    return Check("card numbers", False, f"{CARD} is not what the facts give; render it with rem-release card RUN")


def check_metadata(hub: Hub, release: Path) -> Check:
    """Whether the Hub takes the metadata of the card; it is asked before anything is uploaded.

    Raises:
        HubError: see `Hub.ask`.
    """
    card = DatasetCard((release / CARD).read_text(encoding="utf-8"))
    try:
        hub.ask("checking the card", lambda: card.validate(repo_type=REPO_TYPE))
    except HubError as error:
        if error.status != 400:
            raise
        return Check("card metadata", False, f"{error}, with --card-field")
    return Check("card metadata", True, f"the Hub takes the metadata of {CARD}")
