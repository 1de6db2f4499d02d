"""What protect says at the end."""

from rem_release.commands.reading import name_first, write_choices, write_left_out
from rem_release.console import Console
from rem_release.methods import METHODS
from rem_release.release.documents import read_facts
from rem_release.release.run_folder import RunFolder


def summarise(run: RunFolder, console: Console) -> None:
    """Say what was made and where to look."""
    facts = read_facts(run.release)
    data, protection, change = facts.data, facts.protection, facts.imperceptibility
    document = {
        "run": str(run.path),
        "release": str(run.release),
        "digest": facts.digest,
        "images": data.images,
        "protected": data.protected,
        "unprotected": data.unprotected,
        "held_back": data.held_back,
        "near_copies": data.near_copies,
        "skipped": data.skipped,
        "duplicates": data.duplicates,
        "classes": len(data.classes),
        "source": {
            "layout": data.layout,
            "splits": data.split_images,
            "classes": name_first(data.classes),
            "left_out": data.left_out,
            "choices": data.choices,
        },
        "cost": facts.cost.model_dump(),
        "imperceptibility": change.model_dump() if change else None,
        "audited": False,
    }
    text = [
        f"{data.protected} of {data.images} released images carry {protection.method} noise of at most "
        f"{protection.rho_u_levels} of 255 levels (rho_u {protection.rho_u}"
        + (f", rho_a {protection.rho_a})." if METHODS[protection.method].has_adversary else ")."),
    ]
    if data.layout:
        splits = ", ".join(f"{name} ({count} rows)" for name, count in data.split_images.items())
        text += [
            f"Read as {data.layout}: {splits}; classes: {name_first(data.classes)}.",
            f"Left out: {write_left_out(data.left_out)}.",
            f"Decoded: {write_choices(data.choices)}.",
            f"Copies: {data.duplicates} rows repeat an earlier image, {data.near_copies or 0} are near copies of one.",
        ]
    if change:
        similarity = "" if change.ssim_mean is None else f", SSIM {change.ssim_mean:.4f}"
        text.append(f"Mean change {change.mean_change:.2f} levels, PSNR {change.psnr_mean:.2f} dB{similarity}.")
    spent = facts.cost.training_gradients + facts.cost.noise_gradients
    text += [
        f"Cost: {spent:,} sample gradient evaluations.",
        f"Release: {run.release} (publish this folder only; {run.private} undoes the protection)",
        f"Card:    {run.release / 'README.md'}",
        f"Digest:  {facts.digest}",
        f"Next:    rem-release verify {run.path}, then rem-release audit {run.path}",
        "Not audited yet: nobody has measured what a model learns from these images.",
    ]
    console.result(document, text)
