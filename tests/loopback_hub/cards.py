"""The metadata at the top of a README.md."""

import re
from typing import Any

import yaml

from tests.loopback_hub.messages import RefusalError

_SIZES = re.compile(r"n<1K|1K<n<10K|10K<n<100K|100K<n<1M|1M<n<10M|10M<n<100M|100M<n<1B|1B<n<10B|10B<n<100B|n>1T")
_LISTS = ("task_categories", "size_categories", "annotations_creators", "source_datasets", "tags", "configs")


def read_metadata(readme: str) -> dict[str, Any]:
    """The YAML block, empty where there is none.

    Raises:
        RefusalError: it is no YAML, or no mapping.
    """
    block = re.match(r"---\r?\n(.*?)\r?\n---\s*(\n|$)", readme, re.DOTALL)
    if block is None:
        return {}
    try:
        metadata = yaml.safe_load(block[1])
    except yaml.YAMLError as error:
        raise _invalid(f"invalid YAML: {error}") from None
    if metadata is not None and not isinstance(metadata, dict):
        raise _invalid("the metadata is no mapping")
    return metadata or {}


def check_metadata(readme: str) -> list[str]:
    """Warnings about a card.

    Raises:
        RefusalError: its metadata is not as the Hub wants it (some of the Hub's rules).
    """
    metadata = read_metadata(readme)
    licences = metadata.get("license", [])
    for licence in licences if isinstance(licences, list) else [licences]:
        if not isinstance(licence, str) or not re.fullmatch("[a-z0-9][a-z0-9.-]*", licence):
            raise _invalid(f'"license" must be one of the known identifiers, not {licence!r}')
    for name in _LISTS:
        if name in metadata and not isinstance(metadata[name], list):
            raise _invalid(f'"{name}" must be an array')
    for size in metadata.get("size_categories", []):
        if not _SIZES.fullmatch(str(size)):
            raise _invalid(f'"size_categories" knows no {size!r}')
    return [] if metadata else ["empty or missing yaml metadata in repo card"]


def _invalid(message: str) -> RefusalError:
    return RefusalError(400, message, errors=[{"message": message}], warnings=[])
