"""What push says and asks: the plan of a dry run, the confirmations, and the receipt at the end."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from rem_release.commands.push_options import PushOptions
from rem_release.console import Console
from rem_release.errors import VerificationError
from rem_release.gate.earlier_pushes import keep_receipt
from rem_release.hub.client import Hub
from rem_release.hub.manifest import Manifest
from rem_release.hub.repository import State, require_state
from rem_release.release.documents import read_facts
from rem_release.release.facts import Facts
from rem_release.release.run_folder import RunFolder
from rem_release.verification.report import Check

_WORDS = {True: "ok     ", False: "REFUSED", None: "unknown"}


@dataclass(frozen=True)
class Receipt:
    """What was published: printed, and kept in `private/push.json` beside those before."""

    repo: str
    url: str
    commit: str
    tag: str
    digest: str
    private: bool
    gated: str | bool
    proof: list[Check]

    @classmethod
    def of(cls, hub: Hub, commit: str, tag: str, facts: Facts, proof: list[Check]) -> Self:
        """The receipt, with the settings that the Hub has now."""
        state = require_state(hub)
        return cls(hub.repo_id, hub.url, commit, tag, facts.digest, state.private, state.gated, proof)


def show_plan(options: PushOptions, release: Path, checks: list[Check], console: Console) -> None:
    """What would be sent, file by file, and what the gate says; the Hub is not asked."""
    document: dict[str, Any] = {"repo": options.repo_id, "dry_run": True, "passed": _passed(checks)}
    lines = _describe(checks)
    try:
        manifest = Manifest(release, read_facts(release))
    except (VerificationError, OSError) as error:
        lines.append(f"The files cannot be listed: {error}")
        document |= {"digest": None, "files": []}
    else:
        document |= {"digest": manifest.digest, "files": [file.to_json() for file in manifest]}
        lines += [f"{file.sha256}  {file.size:>13,}  {file.name}" for file in manifest]
        total = sum(file.size for file in manifest)
        lines.append(f"{len(manifest.files)} files, {total:,} bytes; digest of the data {manifest.digest}")
    lines.append(f"Dry run: nothing was sent, and {options.repo_id} was not looked at; push checks its history, too")
    console.result(document | {"gate": [asdict(check) for check in checks]}, lines)


def confirm_choices(
    options: PushOptions, state: State | None, lack: str | None, checks: list[Check], console: Console
) -> None:
    """Ask once more before what cannot be taken back.

    Args:
        options: what the command line said.
        state: of the repository; None where it is yet to be made.
        lack: why the release is not certified; None where it is.
        checks: of the gate, those that could not be made included.
        console: the terminal.

    Raises:
        InputError: nobody is there to answer, and --yes is not given; or the answer is no.
    """
    for check in checks:
        if check.passed is None:
            console.warn(f"not checked: {check.name}: {check.detail}")
    if options.yes:
        return
    if lack is not None:
        console.confirm(
            f"This release is NOT CERTIFIED, and its card says so: {lack} --allow-uncertified publishes it to "
            f"{options.repo_id}.",
            options.repo_id,
        )
    if options.public and (state is None or state.private):
        console.confirm(
            f"{options.repo_id} becomes public: anyone can copy it, and no copy can be called back.", options.repo_id
        )


def show_receipt(receipt: Receipt, run: RunFolder, checks: list[Check], console: Console) -> None:
    """Print what was published, and keep it in `private/`."""
    document = asdict(receipt) | {"gate": [asdict(check) for check in checks]}
    keep_receipt(run, document)
    access = "private" if receipt.private else "public"
    gated = f", gated ({receipt.gated})" if receipt.gated else ""
    lines = [
        *_describe(checks),
        *(f"proven  {check.name}: {check.detail}" for check in receipt.proof),
        f"Published: {receipt.url} ({access}{gated}), tag {receipt.tag}",
        f"Commit:    {receipt.commit}",
        f"Digest:    {receipt.digest}",
        f"Anyone can check it: rem-release verify {receipt.repo}@{receipt.tag}",
    ]
    console.result(document, lines)


def _passed(checks: list[Check]) -> bool:
    return all(check.passed is not False for check in checks)


def _describe(checks: list[Check]) -> list[str]:
    return [f"{_WORDS[check.passed]} {check.name}: {check.detail}" for check in checks]
