"""`rem-release push`: the order of its stages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rem_release.commands.push_checks import check_release, check_repository, create_repository
from rem_release.commands.push_options import PushOptions
from rem_release.commands.push_summary import Receipt, confirm_choices, show_plan, show_receipt
from rem_release.console import Console
from rem_release.errors import FellShortError, InputError, VerificationError
from rem_release.gate.amend import amend_release
from rem_release.gate.earlier_pushes import keep_images, keep_receipt
from rem_release.gate.policy import find_lack
from rem_release.hub.client import Hub
from rem_release.hub.manifest import Manifest
from rem_release.hub.proof import check_files, check_loading
from rem_release.hub.repository import State, read_refs
from rem_release.hub.settings import check_tag_name, choose_tag, set_gating, set_tag, set_visibility
from rem_release.hub.upload import upload
from rem_release.release.copying import copied
from rem_release.release.facts import Facts
from rem_release.release.run_folder import RunFolder
from rem_release.verification.report import Check


def push(options: PushOptions, console: Console) -> None:
    """Publish exactly the release of a run, if the gate lets it, and prove that the Hub gives it to anyone.

    Raises:
        InputError: there is no release; an option does not fit; a confirmation is missing.
        FellShortError: the gate refuses. Every reason is listed, and nothing was sent.
        HubError: the Hub refuses, or cannot be reached. What it holds already is not sent again by the next push.
        VerificationError: what the Hub gives is not what was sent.
    """
    run, hub = RunFolder(options.run), Hub(options.repo_id, console.note)
    if not run.release.is_dir():
        hint = "; finish the run with --resume" if run.exists else "; give a run folder"
        raise InputError(f"{options.run} holds no release{hint}")
    check_tag_name(options.tag)
    with run.held() if options.dry_run else run.adopted(), copied(run, is_dry=options.dry_run) as copy:
        checks, facts = _check(options, run, copy, hub.url, console)
        if options.dry_run:
            show_plan(options, copy, checks, console)
        _refuse(options.repo_id, checks)
        if options.dry_run:
            return
        assert facts is not None
        manifest = Manifest(copy, facts)
        found, state = check_repository(hub, manifest, copy, facts, options.tag, console)
        checks += found
        _refuse(options.repo_id, checks)
        confirm_choices(options, state, find_lack(copy, facts), checks, console)
        _amend(options, run, run.release)
        manifest.require_in(run.release)
        if state is None:
            found, state = create_repository(hub, manifest, copy, facts, options.tag, console)
            _refuse(options.repo_id, found)
        _note(hub, run, copy, facts)
        with _stops_explained(console):
            receipt = _publish(options, hub, state, manifest, copy, facts, console)
        show_receipt(receipt, run, checks, console)


def _amend(options: PushOptions, run: RunFolder, release: Path) -> None:
    amend_release(
        run,
        release,
        options.card_fields,
        options.card_file,
        options.clean_split,
        options.clean,
        options.keep_columns,
    )


def _check(
    options: PushOptions, run: RunFolder, release: Path, url: str, console: Console
) -> tuple[list[Check], Facts | None]:
    _amend(options, run, release)
    return check_release(options, run, release, url, console)


def _note(hub: Hub, run: RunFolder, release: Path, facts: Facts) -> None:
    """Keep in `private/` what is about to be published: where a push breaks off, some of it may be published."""
    keep_images(run, release, facts)
    keep_receipt(run, {"repo": hub.repo_id, "url": hub.url, "digest": facts.digest, "commit": None})


def _publish(
    options: PushOptions, hub: Hub, state: State, manifest: Manifest, release: Path, facts: Facts, console: Console
) -> Receipt:
    """Upload, prove, tag, and only then make it public where that was asked for."""
    if options.public is False and not state.private:
        set_visibility(hub, private=True)
    if options.gated is not None:
        set_gating(hub, options.gated)
    with console.stage("Uploading (kB)") as report:
        commit = upload(hub, manifest, state.head, report)
    console.note("Reading it back in a new process with an empty cache")
    proof = [check_files(hub, commit, manifest), *check_loading(hub, commit, release, facts)]
    if failed := [check for check in proof if check.passed is False]:
        words = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        raise VerificationError(f"{hub.repo_id} at {commit} is not what was sent: {words}")
    tag = choose_tag(read_refs(hub), commit, options.tag)
    set_tag(hub, tag, commit, f"rem-release, digest {facts.digest}")
    if options.public:
        set_visibility(hub, private=False)
    return Receipt.of(hub, commit, tag, facts, proof)


@contextmanager
def _stops_explained(console: Console) -> Iterator[None]:
    """Say what an interrupted upload means, once; the exit code is the signal's."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        console.note("stopped; push again: it goes on where it stopped")
        raise


def _refuse(repo_id: str, checks: list[Check]) -> None:
    """Stop with every reason at once, where there is one."""
    failed = [check for check in checks if check.passed is False]
    if failed:
        reasons = [f"{check.name}: {check.detail}" for check in failed]
        count = f"{len(failed)} reasons" if len(failed) > 1 else "1 reason"
        raise FellShortError(f"nothing was sent to {repo_id}: the gate refuses for {count}:", reasons)
