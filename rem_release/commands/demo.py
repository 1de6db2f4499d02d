"""`rem-release demo`: the main job on real photographs, offline."""

from pathlib import Path

from accelerate import Accelerator

from rem_release.atomic_files import write_atomically
from rem_release.commands.audit import AuditOptions, audit
from rem_release.commands.precision import resolve_victims
from rem_release.commands.protect import protect
from rem_release.commands.protect_options import ProtectOptions
from rem_release.commands.verify import verify
from rem_release.console import Console
from rem_release.data.photographs import PHOTOGRAPHS, write_patches
from rem_release.data.sources.source import SourceOptions
from rem_release.errors import FellShortError, InputError
from rem_release.paths import check_path
from rem_release.recipe_changes import load_changed
from rem_release.release.deletion import delete_own, require_own
from rem_release.release.run_folder import RunFolder
from rem_release.release.run_status import entered
from rem_release.training import runtime
from rem_release.verdict.recipe import load_audit_recipe, name_recipe

_MARKER = ".made-by-rem-release-demo"
_MARKED = "Made by rem-release demo, which may delete this folder.\n"
_PATCHES = {"": r"(?!)", "|".join(PHOTOGRAPHS): r"\d{4}\.png"}
"""What lies in a split of the photographs, see `deletion.Names`."""


def run_demo(out: Path, overwrite: bool, console: Console) -> None:
    """Make a dataset of photographs, protect it, verify it, audit it, and say where to look.

    Raises:
        InputError: there is a run already, something that is no run, or something else among it; or another command
            works there.
    """
    photographs = _place_photographs(out)
    _claim(out, photographs, overwrite)
    with entered(photographs):
        _cut_patches(photographs, console)
        _run(out, photographs, overwrite, console)


def _place_photographs(out: Path) -> Path:
    """The folder beside `out` that is named after it."""
    if out.name in ("", ".."):
        raise InputError(f"--out {out}: the demo puts its photographs beside that; name a new folder, such as demo")
    return check_path(str(out.with_name(f"{out.name}-photographs")), "--out")


def _claim(out: Path, photographs: Path, overwrite: bool) -> None:
    """Refuse, before anything is deleted, a place where the demo cannot stand."""
    if photographs.exists() and not _is_ours(photographs):
        raise InputError(f"{photographs} was not made by the demo; name another folder with --out")
    if out.exists() and not RunFolder(out).exists:
        raise InputError(f"--out {out} exists and is not a run; name another folder")
    occupied = [path for path in (out, photographs) if path.exists()]
    if occupied and not overwrite:
        raise InputError(f"--out {occupied[0]} exists already; add --overwrite or name another folder")
    RunFolder(out).claim({}, resume=False, overwrite=overwrite)
    if photographs.exists():
        for split in ("train", "test"):
            require_own(photographs, split, _PATCHES)


def _is_ours(photographs: Path) -> bool:
    """Whether the marker stands there, or a kill left the folder before it did."""
    if not photographs.is_dir():
        return False
    marker = photographs / _MARKER
    is_marked = marker.is_file() and marker.read_bytes() == _MARKED.encode()
    return is_marked or {path.name for path in photographs.iterdir()} <= {f".{_MARKER}.partial"}


def _cut_patches(photographs: Path, console: Console) -> None:
    """Write the patches anew; nothing else in the folder is deleted."""
    console.note(
        "Cutting 2,000 patches from ten photographs that scikit-image ships (grey, 32 x 32, a class a photograph)."
    )
    for split in ("train", "test"):
        delete_own(photographs, split, _PATCHES)
    write_atomically(photographs / _MARKER, _MARKED.encode())
    write_patches(photographs)


def _run(out: Path, photographs: Path, overwrite: bool, console: Console) -> None:
    options = ProtectOptions(
        source=SourceOptions(source=str(photographs / "train")),
        out=out,
        recipe=load_changed("quickstart", rho_u="16/255", rho_a="8/255"),
        recipe_name="quickstart",
        seed=0,  # these photographs are everybody's, and the figures of the README should come out again
        overwrite=overwrite,
    )
    inner = console.without_results()
    accelerator = runtime.start()
    protect(options, inner, accelerator)
    verify(str(out), None, inner)
    verdict = _audit(out, photographs / "test", inner, accelerator)
    text = [
        "",
        f"Verdict: {verdict}",
        f"Made:    {out / 'release'}, a Hugging Face dataset that datasets.load_dataset reads as it is",
        f"Read:    {out / 'audit/report.html'}, in any browser: what models learn from it, and what they did not try",
        f"Look at: {out / 'release/figures/protected.png'} and {out / 'release/README.md'}",
        f"Compare: {photographs}, the originals and a test set of other parts of the same photographs",
    ]
    document = {"run": str(out), "photographs": str(photographs), "verdict": verdict}
    console.result(document, text)


def _audit(out: Path, test: Path, console: Console, accelerator: Accelerator) -> str:
    """Audit the demo's run, and say in a sentence how it ended; that it falls short is a result, not a failure."""
    recipe = load_audit_recipe("audit-quick", {"holdout.overlap": "drop"})  # black corners of a photograph look alike
    recipe = resolve_victims(recipe, accelerator)
    options = AuditOptions(
        target=out, clean=None, holdout=str(test), recipe=recipe, recipe_name=name_recipe("audit-quick", recipe)
    )
    try:
        audit(options, console, accelerator)
    except FellShortError:
        return (
            "the audit fell short of the shipped policy. That is a finding, not a fault of the demo: noise from a few "
            "minutes on two cores holds against some victims and not against others, and the audit says which. "
            "rem-release audit itself exits with 3 then."
        )
    return "the audit passed the shipped policy, for the small victims of audit-quick. Read what it does not cover."
