"""A stranger's check: the verdict of a published release once more, from answers.parquet, with numpy and pyarrow alone.

python stranger.py RELEASE prints the rows of the required tiers, and ends with 1 where audit.json has another verdict.
It believes only what was given to the audit. For rows of three seeds without a clean part, as the shipped policy asks.
"""
import hashlib, json, math, pathlib, statistics, sys  # noqa: E401, I001
import numpy as np
import pyarrow.parquet as pq

release = pathlib.Path(sys.argv[1])
audit = json.loads((release / "audit.json").read_text())
assert hashlib.sha256((release / "answers.parquet").read_bytes()).hexdigest() == audit["answers_sha256"]
table, recipe, victims = pq.read_table(release / "answers.parquet").to_pylist(), audit["recipe"], {}
labels, clusters = (np.unique(row["answers"], return_inverse=True)[1] for row in table[:2])
for row in table[2:]:
    victims.setdefault(tuple(row[key] for key in ("architecture", "threat", "trained_on", "seed")), []).append(row)
C, sizes, p = len(audit["classes"]), np.bincount(labels), recipe["statistics"]["confidence"]
z, t = statistics.NormalDist().inv_cdf(p), (2 * p - 1) / math.sqrt(2 * p * (1 - p))  # of Student's t: 2 degrees
weights, chance, pairs = 1 / (C * sizes[labels]), 1 / C, labels * (clusters.max() + 1) + clusters
share = np.unique(pairs, return_counts=True)[1][np.unique(pairs, return_inverse=True)[1]] / sizes[labels]
seen = 1 / np.bincount(labels, share / sizes[labels])  # how many images each class is worth
added = 4 / seen / (1 / seen).sum()
def spread(groups):  # accuracies as they are and smoothed, and the squared half-widths of their combinations
    means, grown, scale = np.stack([hits.mean(0) for hits in groups]), 1 + added / seen, added / (C * (seen + added)) ** 2
    within = np.stack([np.bincount(labels, row / sizes[labels]) for row in means])
    smooth = (within + added / seen / 2) / grown
    off = (means - smooth[:, labels]) * weights / grown[labels] / np.sqrt(1 - share / grown[labels])
    sums = np.stack([np.bincount(clusters, row) for row in off])
    squares = sums @ sums.T + ((0.5 - smooth) * scale) @ (0.5 - smooth).T + np.eye(len(means)) * scale.sum() / 4
    return np.stack([within.mean(1), smooth.mean(1)]), squares * z**2 + np.diag([t**2 * np.var(hits @ weights, ddof=1) / 3 for hits in groups])
def bound_leakage(protected, clean):  # upper bound of (protected - chance) / (clean - chance), Fieller's quadratic
    (accuracies, ((above, both), (_, below))), highest = spread([protected, clean]), -math.inf
    for reached, possible in accuracies - chance:
        curve, middle = possible**2 - below, possible * reached - both
        root = math.sqrt(max(0.0, middle**2 - curve * (reached**2 - above)))
        highest = max(highest, (middle + root) / curve if min(possible, curve) > 0 else math.inf)
    return highest
def relabelled(named):  # hits after the best map of named to true classes, fitted on one half and scored on the other
    first, counts, half = np.unique(clusters, return_index=True)[1], np.zeros((2, C)), np.zeros(clusters.max() + 1, int)
    for cluster in np.lexsort((first, labels[first])):
        half[cluster] = min((0, 1), key=lambda side: (counts[side, labels[first[cluster]]], counts[side].sum(), side))
        np.add.at(counts[half[cluster]], labels[clusters == cluster], 1)
    hits, second = np.zeros(named.shape, bool), half[clusters] == 1
    for scored in (second, ~second):
        found, true = np.zeros((C, C)), np.broadcast_to(labels[~scored], named[:, ~scored].shape)
        np.add.at(found, (named[:, ~scored], true), 1)
        meaning = (found / np.maximum(1, np.bincount(true[0], minlength=C))).argmax(1)
        hits[:, scored] = np.where(found.any(1), meaning, np.arange(C))[named[:, scored]] == labels[scored]
    return hits
def answers(row, kind, threat):  # of a row's victims: int [evaluations, seeds, images], and what else is known of each
    own = audit["digest" if kind == "protected" else "clean_digest"]
    texts = [f"rem-release victim {own} {audit['holdout']['digest']} {number}" for number in range(3)]
    found = [victims[row["architecture"], threat, kind, int.from_bytes(hashlib.sha256(x.encode()).digest()[:6], "big")] for x in texts]
    return np.array([[each["answers"] for each in victim] for victim in found]).swapaxes(0, 1), [v[-1] for v in found]
def judge(row, limit):  # whether a row is valid, stays under its limit at every evaluation, and beats random noise
    (named, mine), *others = (answers(row, kind, row["threat"]) for kind in ("protected", "clean", "random"))
    (clean, theirs), (random, _), (standard, plain) = *others, answers(row, "clean", "standard")
    clean, random, standard = (each[-1] == labels for each in (clean, random, standard))
    mean = lambda facts, key: np.mean([each[key] for each in facts])  # noqa: E731
    margin, known = (standard @ weights).mean() - chance, z / 2 / math.sqrt(int(C**2 / (1 / seen).sum() + 1e-9))
    kept = (clean @ weights).mean() - chance >= margin / 2 and mean(plain, "fit") >= 0.8 and recipe["statistics"]["half_width"] >= known < margin
    learnt = mean(mine, "train_accuracy") - chance >= 0.25 * (mean(theirs, "train_accuracy") - chance)
    if (row["architecture"], "standard", "yardstick") in {key[:3] for key in victims}:
        kept &= (standard @ weights).mean() >= 0.9 * ((answers(row, "yardstick", "standard")[0][-1] == labels) @ weights).mean()
    attacked = all(each["finite"] and (each["attack_gain"] is None or each["attack_gain"] >= 1e-3) for each in mine + theirs)
    leaks, over = [], []
    difference = lambda one, other: (lambda a, s: (a @ [1, -1]).max() + math.sqrt(np.array([1, -1]) @ s @ [1, -1]))(*spread([one, other]))  # noqa: E731
    for hits in named:
        hits = relabelled(hits) if difference(hits == labels, relabelled(hits)) < 0 else hits == labels
        leaks, over = [*leaks, bound_leakage(hits, clean)], [*over, difference(hits, random)]
    print(f"{row['tier']:12} {row['architecture']:16} {row['threat']:24} at most {max(leaks):.6f}, limit {limit}, over random {max(over):.6f}")
    return kept and learnt and attacked and max(leaks) < limit and max(over) < 0
tiers = {name: tier for name, tier in recipe["tiers"].items() if tier["required"]}
judged = [judge(row, tiers[row["tier"]]["limit"]) for row in audit["rows"] if row["tier"] in tiers]
expected = sum(len(tier["architectures"]) * len(tier["threats"]) for tier in tiers.values())
passed = bool(tiers) and len(judged) == expected and all(judged) and seen.min() > 4.999 and audit["method"] != "random"
sys.exit(print("passed" if passed else "fell short") or passed != audit["passed"])
