"""`rem-release protect`: the order of its stages."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from rem_release.commands.plan import make_plan
from rem_release.commands.protect_options import ProtectOptions
from rem_release.commands.summary import summarise
from rem_release.console import Console
from rem_release.data.noise_store import NoiseStore
from rem_release.data.selection import Role, check_parts, choose_roles
from rem_release.data.source import Source, label_by_clusters, open_source
from rem_release.data.working_set import WorkingSet, read_working_set
from rem_release.errors import InputError
from rem_release.methods import Method, Pictures, build_method
from rem_release.methods.apply import make_noise_in_order, padded_count
from rem_release.methods.base import as_pictures, grey_batch
from rem_release.radius import whole_levels
from rem_release.release.assembling import assemble_facts
from rem_release.release.canonical import write_atomically
from rem_release.release.documents import write_documents
from rem_release.release.facts import CostFacts, Facts
from rem_release.release.figures import NOISE_FIGURE, PROTECTED_FIGURE, noise_grid, protected_grid
from rem_release.release.generator import Generator, load_generator, save_generator
from rem_release.release.private_record import fingerprint_of, write_row_map, write_skipped
from rem_release.release.run_folder import RunFolder, check_apart
from rem_release.release.writing import Choice, Written, write_reserve, write_rows
from rem_release.training.checkpoints import Checkpoint


def protect(options: ProtectOptions, console: Console, accelerator: Accelerator) -> None:
    """Protect a source and write the run folder; with `plan`, say what that would take and stop.

    Raises:
        InputError: bad input.
        RemReleaseError: training failed.
    """
    check_parts(options.reserve, options.fraction)
    if options.fraction == 1 and options.release_unprotected:
        raise InputError(
            "--release-unprotected: nothing is left unprotected at --fraction 1; drop it or lower --fraction"
        )
    generator = load_generator(options.generator) if options.generator else None
    if generator and options.source.label_from == "clusters":
        raise InputError(
            "--generator with --label-from clusters: new clusters are not those that the generator was trained on; "
            "give the images labels, or train a new generator"
        )
    if generator:
        options = replace(options, recipe=generator.recipe, recipe_name=generator.recipe_name)
    source = open_source(options.source)
    options = replace(options, source=source.options)
    if options.plan:
        source, choice = _read(options, source, console)
        pictures, method, _ = _prepare(options, source, choice, generator, accelerator)
        cost = _cost(options, method, pictures, generator is not None, accelerator.num_processes)
        make_plan(options.recipe, source, choice, pictures, method, cost, accelerator, console)
        return
    run = RunFolder(options.out)
    if accelerator.is_main_process:
        _claim(options, run)
    accelerator.wait_for_everyone()
    with run.recorded() if accelerator.is_main_process else nullcontext():
        if options.resume and run.finished:
            console.note(f"{run.path} is complete already")
        else:
            _protect(options, run, source, generator, accelerator, console)
        summarise(run, console)


def _claim(options: ProtectOptions, run: RunFolder) -> None:
    """Refuse, before any work, a place where the run cannot stand."""
    local = Path(options.source.source)
    if local.exists():
        check_apart(run.path, local, "the source")
    if options.generator:
        check_apart(run.path, options.generator, "--generator")
    run.claim(options.deciding(), resume=options.resume, overwrite=options.overwrite)


def _protect(
    options: ProtectOptions,
    run: RunFolder,
    source: Source,
    generator: Generator | None,
    accelerator: Accelerator,
    console: Console,
) -> None:
    source, choice = _read(options, source, console)
    pictures, method, classes = _prepare(options, source, choice, generator, accelerator)
    fingerprint = fingerprint_of(
        options.recipe, options.seed, choice, classes, generator.weights_sha256 if generator else None
    )
    if accelerator.is_main_process:  # only now: a command that could not begin leaves nothing, and replaces nothing
        run.open(options.deciding(), resume=options.resume, overwrite=options.overwrite)
    accelerator.wait_for_everyone()
    if not generator:
        with console.stage("Training the noise generator") as report:
            method.train(pictures, Checkpoint(run.checkpoints, fingerprint, warn=console.warn), report)
    noise = _make_noise(options, run, method, pictures, fingerprint, accelerator, console)
    if noise:
        cost = _cost(options, method, pictures, generator is not None, accelerator.num_processes)
        _write_release(options, run, source, choice, noise, method, pictures, cost, console)
        save_generator(run, method, options.recipe, options.recipe_name, classes)
        write_row_map(run.rows, source, choice)
    accelerator.wait_for_everyone()


def _make_noise(
    options: ProtectOptions,
    run: RunFolder,
    method: Method,
    pictures: Pictures,
    fingerprint: str,
    accelerator: Accelerator,
    console: Console,
) -> NoiseStore | None:
    """Make what is missing of the noise; the first process gets the store, the others nothing."""
    resolution = pictures.images.shape[-1]
    store = NoiseStore(run.noise, len(pictures), resolution, fingerprint) if accelerator.is_main_process else None
    done = broadcast_object_list([store.done if store else 0])[0]
    batch_size = options.recipe.generator.batch_size
    with console.stage("Making noise") as report:
        for start, levels in make_noise_in_order(accelerator, method, pictures, batch_size, done):
            if store:
                store.write(start, levels)
            report(start + len(levels), len(pictures))
    if store and store.done != len(pictures):
        raise RuntimeError(f"noise was made for {store.done} of {len(pictures)} pictures")
    return store


def _read(options: ProtectOptions, source: Source, console: Console) -> tuple[Source, Choice]:
    """Read every picture once, label clusters, and decide what becomes of each picture."""
    with console.stage("Reading images") as report:
        working = read_working_set(source, options.recipe.data.resolution, options.max_side, options.skip_bad, report)
    if source.labels_from == "clusters":
        shown = working.images[torch.from_numpy(working.image_of_row)]
        source = label_by_clusters(source, working.rows, shown, options.recipe.data.clusters, options.seed)
        firsts = np.unique(working.image_of_row, return_index=True)[1]
        working = replace(working, labels=torch.from_numpy(source.class_ids[working.rows[firsts]]))
    _warn(working, source, console)
    roles = choose_roles(working, source.classes, options.reserve, options.fraction, options.seed)
    noise_index = np.full(len(roles), -1, np.int64)
    protected = np.flatnonzero(roles == Role.PROTECTED)
    noise_index[protected] = np.arange(len(protected))
    return source, Choice(working, roles, noise_index, options.release_unprotected, options.max_side)


def _warn(working: WorkingSet, source: Source, console: Console) -> None:
    if working.bad:
        console.warn(f"{len(working.bad)} files are left out; protect lists them in private/skipped.csv")
    if others := source.other_columns():
        console.warn(f"published as they are: the columns {', '.join(others)}; leave one out with --drop-column NAME")
    labels = source.class_ids[working.rows]
    counts = np.bincount(labels, minlength=len(source.classes))
    empty = [name for name, count in zip(source.classes, counts, strict=True) if count == 0]
    if empty:
        console.warn(f"the card names classes without any image: {', '.join(empty[:10])}")
    clashing = int((labels != working.labels.numpy()[working.image_of_row]).sum())
    if clashing:
        console.warn(
            f"{clashing} rows show a picture that also stands in another class; its noise is made for the first"
        )


def _prepare(
    options: ProtectOptions, source: Source, choice: Choice, generator: Generator | None, accelerator: Accelerator
) -> tuple[Pictures, Method, list[str]]:
    """The pictures that get noise, on the device; the method, with its weights; the names of the classes it knows."""
    working = choice.working
    index = torch.from_numpy(np.flatnonzero(choice.roles == Role.PROTECTED))
    labels = working.labels[index]
    names = [source.album_names.get(name, name) for name in source.classes]  # album-000 is another one elsewhere
    if generator:
        labels = torch.from_numpy(generator.map_classes(names))[labels]
    images = working.images if len(index) == len(working.images) else working.images[index]
    pictures = as_pictures(images, labels, working.keys[index], working.sizes[index], accelerator.device)
    classes = generator.classes if generator else names
    method = build_method(options.recipe, len(classes), options.seed, accelerator)
    if generator:
        method.load(generator.weights)
    return pictures, method, classes


def _cost(options: ProtectOptions, method: Method, pictures: Pictures, is_reused: bool, processes: int) -> CostFacts:
    settings = options.recipe.generator
    steps = 0 if is_reused else settings.steps * min(settings.batch_size, len(pictures))
    padded = padded_count(len(pictures), settings.batch_size, processes)
    shown = len(_figure_classes(pictures))
    return CostFacts(
        training_gradients=steps * method.training_gradients,
        noise_gradients=(padded + shown) * method.noise_gradients,
    )


def _figure_classes(pictures: Pictures) -> torch.Tensor:
    """The classes whose noise on plain grey the card shows."""
    return torch.unique(pictures.labels)[:9]


def _write_release(
    options: ProtectOptions,
    run: RunFolder,
    source: Source,
    choice: Choice,
    noise: NoiseStore,
    method: Method,
    pictures: Pictures,
    cost: CostFacts,
    console: Console,
) -> Facts:
    run.clear_staging()
    budget = whole_levels(options.recipe.noise.rho_u)
    with console.stage("Writing images") as report:
        written = write_rows(run.staging, source, choice, noise, budget, report)
    if written.raised:
        console.warn(
            f"{written.raised} pictures are so small that their noise rounded to nothing; it was raised to the budget"
        )
    _draw_figures(run.staging, written, method, pictures, budget)
    write_reserve(run.reserve, source, choice)
    write_skipped(run.skipped, choice.working.bad)
    if source.album_names:
        run.write_json(run.albums, source.album_names)
    reused = options.generator is not None
    facts = assemble_facts(run.staging, source, choice, written, options.recipe, options.recipe_name, cost, reused)
    facts = write_documents(run.staging, facts)
    run.publish()
    return facts


def _draw_figures(staging: Path, written: Written, method: Method, pictures: Pictures, budget: int) -> None:
    """The card's figures: protected pictures, and the noise of plain grey pictures, which are not released."""
    (staging / PROTECTED_FIGURE).parent.mkdir()
    if written.samples:
        write_atomically(staging / PROTECTED_FIGURE, protected_grid(written.samples))
    levels = method.make_noise(grey_batch(_figure_classes(pictures), pictures.images.shape[-1]))
    write_atomically(staging / NOISE_FIGURE, noise_grid(levels.permute(0, 2, 3, 1).cpu().numpy(), budget))
