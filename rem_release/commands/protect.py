"""`rem-release protect`: the order of its stages."""

from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from rem_release import __version__
from rem_release.atomic_files import write_atomically
from rem_release.commands.disk import check_disk
from rem_release.commands.plan import make_plan, sum_up
from rem_release.commands.precision import with_precision
from rem_release.commands.protect_options import ProtectOptions
from rem_release.commands.reading import images_read
from rem_release.commands.seed import with_seed
from rem_release.commands.summary import summarise
from rem_release.console import Console
from rem_release.data.leaks.published_words import list_words, refuse_too_many, refuse_words
from rem_release.data.leaks.row_capacity import measure_rows
from rem_release.data.noise_store import NoiseStore
from rem_release.data.selection import check_shares
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source
from rem_release.errors import InputError
from rem_release.methods import Phase
from rem_release.methods.apply import make_noise_in_order, padded_count
from rem_release.methods.maker import ImageSet, Maker, grey_batch, make_image_set
from rem_release.radius import whole_levels
from rem_release.release.assembling import assemble_facts
from rem_release.release.documents import write_documents
from rem_release.release.facts import CostFacts, Facts
from rem_release.release.figures import NOISE_FIGURE, PROTECTED_FIGURE, noise_grid, noise_sides, protected_grid
from rem_release.release.generator import Generator, generator_files, load_generator, save_generator
from rem_release.release.noise_gain import MAX_GAIN, NoiseGain
from rem_release.release.private_record import fingerprint_of, fingerprint_of_release, write_row_map, write_skipped
from rem_release.release.run_folder import RunFolder
from rem_release.release.separate import check_files_separate, check_separate
from rem_release.release.shard_journal import open_journals
from rem_release.release.writing import Choice, Written, write_reserve, write_rows
from rem_release.training.checkpoints import Checkpoint
from rem_release.training.runtime import describe, require_agreement

MAX_SHOWN = 9
"""classes at most whose noise on plain grey the card shows"""
_MIN_BATCH = 2
"""images of each process: batch normalisation needs two values a channel"""


def protect(options: ProtectOptions, console: Console, accelerator: Accelerator) -> None:
    """Protect a source and write the run folder; with `plan`, say what that would take and stop.

    Raises:
        InputError: bad input.
        RemReleaseError: training failed.
    """
    check_shares(options.reserve, options.fraction)
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
    _check_words(options, source)
    run = RunFolder(options.out)
    options = with_seed(replace(options, source=source.options), run, generator, accelerator, console)
    options = with_precision(options, run, len(source), accelerator, console)
    if accelerator.is_main_process:
        _warn_of_excess(source, console)
    if options.plan:
        with images_read(options, source, None, accelerator, console) as (source, choice):
            image_set, maker, _ = _prepare(options, source, choice, generator, accelerator)
            phases = _list_phases(options, maker, image_set, generator, accelerator.num_processes)
            make_plan(options, source, choice, image_set, maker, phases, accelerator, console)
        return
    if accelerator.is_main_process:
        _claim(options, run, source)
    is_complete = broadcast_object_list([options.resume and run.finished])[0]  # another host may not see the folder
    with run.recorded() if accelerator.is_main_process else nullcontext():
        if is_complete:
            console.note(f"{run.path} is complete already")
            if accelerator.is_main_process:
                run.clear_scratch()  # a kill in the last moment left it
        else:
            with images_read(options, source, run, accelerator, console) as (source, choice):
                _protect(options, run, source, choice, generator, accelerator, console)
        if accelerator.is_main_process:
            summarise(run, console)


def _check_words(options: ProtectOptions, source: Source) -> None:
    """Refuse names that could carry images: of the recipe, and all together. `open_source` has looked at each."""
    words = list_words(source.dataset.features.to_dict(), source.splits, options.recipe_name)
    refuse_words(words, source.dataset.column_names)
    refuse_too_many(words, len(source))


def _warn_of_excess(source: Source, console: Console) -> None:
    """Say now which columns `push` will stop at, while they can still be dropped."""
    for excess in measure_rows(source.dataset, source.other_columns(), [source.image_column, *source.splits]):
        names, options = ", ".join(excess.columns), " ".join(f"--keep-column {name}" for name in excess.columns)
        console.warn(
            f"{excess.where} says {excess.size} bytes beside its image, more than {excess.most}, for column {names}: "
            f"push will ask for {options}; --drop-column leaves a column out"
        )


def _claim(options: ProtectOptions, run: RunFolder, source: Source) -> None:
    """Refuse, before any work, a place where the run cannot stand."""
    local = Path(options.source.source)
    if local.exists():
        check_separate(run.path, local, "the source")
    check_files_separate(run.path, source, "the source")
    if options.generator:
        for file in generator_files(options.generator):
            check_separate(run.path, file, "--generator")
    run.claim(options.deciding(), resume=options.resume, overwrite=options.overwrite)
    if not (options.resume and run.finished):
        check_disk(options, run, source)


def _protect(
    options: ProtectOptions,
    run: RunFolder,
    source: Source,
    choice: Choice,
    generator: Generator | None,
    accelerator: Accelerator,
    console: Console,
) -> None:
    image_set, maker, classes = _prepare(options, source, choice, generator, accelerator)
    fingerprint = fingerprint_of(
        options.recipe, options.known_seed, choice, classes, generator.weights_sha256 if generator else None
    )
    facts = {"images, seed or recipe": fingerprint, "precision": options.recipe.precision, "version": __version__}
    require_agreement(accelerator, facts)
    if accelerator.is_main_process:  # only now: a command that could not begin leaves nothing, and replaces nothing
        run.open(options.deciding(), resume=options.resume, overwrite=options.overwrite)
    accelerator.wait_for_everyone()
    if not generator:
        conditions = describe(accelerator, options.recipe.precision)
        checkpoint = Checkpoint(run.checkpoints, fingerprint, conditions, warn=console.warn)
        maker.train(image_set, checkpoint, console.stage)
    noise = _make_noise(run, maker, image_set, fingerprint, accelerator, console)
    if noise:
        cost = sum_up(_list_phases(options, maker, image_set, generator, accelerator.num_processes))
        _write_release(options, run, source, choice, noise, maker, image_set, cost, fingerprint, console)
        save_generator(run, maker, options.recipe, options.recipe_name, classes)
        times = {name: asdict(time) for name, time in console.times.items()}
        run.write_json(run.times, {"processes": accelerator.num_processes, "stages": times})
        write_row_map(run.rows, source, choice)  # with it the run is finished
        run.clear_scratch()


def _make_noise(
    run: RunFolder,
    maker: Maker,
    image_set: ImageSet,
    fingerprint: str,
    accelerator: Accelerator,
    console: Console,
) -> NoiseStore | None:
    """Make what is missing of the noise; the first process gets the store, the others nothing."""
    resolution = image_set.images.shape[-1]
    store = None
    if accelerator.is_main_process:
        order = maker.order(image_set).numpy()
        store = NoiseStore(run.noise, len(image_set), resolution, fingerprint, console.warn, order)
    done = broadcast_object_list([store.done if store else 0])[0]
    with console.stage("Making noise") as report:
        for start, levels in make_noise_in_order(accelerator, maker, image_set, done, report):
            if store:
                store.write(start, levels)
            report(start + len(levels), len(image_set))
    if store and store.done != len(image_set):
        raise RuntimeError(f"noise was made for {store.done} of {len(image_set)} images")
    return store


def _prepare(
    options: ProtectOptions, source: Source, choice: Choice, generator: Generator | None, accelerator: Accelerator
) -> tuple[ImageSet, Maker, list[str]]:
    """The images that get noise, on the device; the method, with its weights; the names of the classes it knows."""
    working = choice.working
    index = torch.from_numpy(choice.with_noise())
    if not generator:
        if reason := options.recipe.noise.refuses_count(len(index)):
            raise InputError(reason)
        _require_batches(options, len(index), accelerator.num_processes)
    labels = working.labels[index]
    names = [source.album_names.get(name, name) for name in source.classes]  # album-000 is another one elsewhere
    if generator:
        labels = torch.from_numpy(generator.map_classes(names))[labels]
    image_set = make_image_set(
        working.images.subset(index), labels, working.keys[index], working.sizes[index], accelerator.device
    )
    classes = generator.classes if generator else names
    maker = options.recipe.noise.build(options.recipe.set_for(len(classes), options.known_seed), accelerator)
    if generator:
        maker.load(generator.weights)
    return image_set, maker, classes


def _require_batches(options: ProtectOptions, images: int, processes: int) -> None:
    """Refuse what a source model cannot train on: batch normalisation takes two images of each process."""
    training = options.recipe.generator
    if not options.recipe.noise.trains or training is None:
        return
    if images < _MIN_BATCH:
        raise InputError(
            f"{options.source.source}: only one image is different among those that get noise, whose copies and near "
            f"copies share it; training takes at least {_MIN_BATCH}: add images, or raise --fraction if that leaves "
            "too few"
        )
    batch = min(training.batch_size, images)
    if batch < _MIN_BATCH * processes:
        raise InputError(
            f"{processes} processes for batches of {batch}; start fewer processes, for each takes at least "
            f"{_MIN_BATCH} images"
        )


def _list_phases(
    options: ProtectOptions, maker: Maker, image_set: ImageSet, generator: Generator | None, processes: int
) -> list[Phase]:
    """What is done, and its cost; with a generator only the noise."""
    noise = options.recipe.noise
    padded = padded_count(len(image_set), maker.batch_size, processes)
    shown = len(_figure_classes(image_set)) if noise.refuses_unseen is None else 0
    setting = options.recipe.set_for(1, options.known_seed)
    phases = noise.list_phases(setting, len(image_set), padded + shown)
    return phases[-1:] if generator else phases


def _figure_classes(image_set: ImageSet) -> torch.Tensor:
    """See `MAX_SHOWN`."""
    return torch.unique(image_set.labels)[:MAX_SHOWN]


def _write_release(
    options: ProtectOptions,
    run: RunFolder,
    source: Source,
    choice: Choice,
    noise: NoiseStore,
    maker: Maker,
    image_set: ImageSet,
    cost: CostFacts,
    fingerprint: str,
    console: Console,
) -> Facts:
    budget = whole_levels(options.recipe.noise.rho_u)
    decides = fingerprint_of_release(fingerprint, source, choice, options.shard_bytes)
    journals = open_journals(run.writing, run.staging, source.splits, decides)
    grey = _make_grey_noise(maker, image_set) if options.recipe.noise.refuses_unseen is None else None
    figure = NoiseGain(grey, budget, image_set.images.shape[-1]) if grey is not None else None
    with console.stage("Writing images") as report:
        written = write_rows(run.staging, source, choice, noise, budget, journals, options.shard_bytes, report, figure)
    if written.raised:
        console.warn(
            f"{written.raised} images are so small that their noise rounded to nothing; it was raised to the budget"
        )
    _make_figures(run.staging, written, grey, options.recipe.noise.refuses_unseen, budget, console)
    write_reserve(run.reserve, source, choice)
    write_skipped(run.skipped, choice.working.bad)
    if source.album_names:
        run.write_json(run.albums, source.album_names)
    reused = options.generator is not None
    facts = assemble_facts(run.staging, source, choice, written, options.recipe, options.recipe_name, cost, reused)
    facts = write_documents(run.staging, facts)
    run.publish()
    return facts


def _make_grey_noise(maker: Maker, image_set: ImageSet) -> np.ndarray:
    """The noise of plain grey images, which are not released, as far as a figure shows it: int8 [n, S, S, 3]."""
    resolution = image_set.images.shape[-1]
    shown, _ = noise_sides(resolution)
    levels = maker.make_unseen(grey_batch(_figure_classes(image_set), resolution))[:, :, :shown, :shown]
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def _make_figures(
    staging: Path, written: Written, grey: np.ndarray | None, refused: str | None, budget: int, console: Console
) -> None:
    """The card's figures: protected images, and noise of grey ones where it does not help to undo that of others."""
    (staging / PROTECTED_FIGURE).parent.mkdir(exist_ok=True)
    if written.samples:
        write_atomically(staging / PROTECTED_FIGURE, protected_grid(written.samples))
    if grey is not None and written.gain <= MAX_GAIN:
        write_atomically(staging / NOISE_FIGURE, noise_grid(grey, budget))
        return
    (staging / NOISE_FIGURE).unlink(missing_ok=True)
    reason = refused or (
        "subtracted from released images, the noise that it shows would bring some of them more than "
        f"{MAX_GAIN} dB closer to their originals"
    )
    console.note(f"{NOISE_FIGURE} is left out: {reason}")
