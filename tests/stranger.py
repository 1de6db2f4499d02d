"""A stranger's check: the verdict of a published release once more, from answers.parquet, with numpy and pyarrow alone.

python stranger.py RELEASE prints the rows of the required tiers, and ends with 1 where audit.json has another verdict.
It believes what was given to the audit alone. For rows of three seeds without a clean part, as the shipped policy asks."""
import hashlib, json, math, pathlib, re, statistics, sys  # noqa: E401, I001
import numpy as np
import pyarrow.parquet as pq
release = pathlib.Path(sys.argv[1])
audit = json.loads((release / "audit.json").read_text())
assert hashlib.sha256((release / "answers.parquet").read_bytes()).hexdigest() == audit["answers_sha256"]
table, recipe, v, victims = pq.read_table(release / "answers.parquet").to_pylist(), audit["recipe"], audit["recipe"]["victim"], {}
labels, clusters = (np.unique(row["answers"], return_inverse=True)[1] for row in table[:2])
for row in table[2:]:
    victims.setdefault(tuple(row[key] for key in ("architecture", "threat", "trained_on", "seed")), []).append(row)
C, sizes, p = len(audit["classes"]), np.bincount(labels), recipe["statistics"]["confidence"]
z, t = statistics.NormalDist().inv_cdf(p), (2 * p - 1) / math.sqrt(2 * p * (1 - p))  # of Student's t: 2 degrees
weights, chance, pairs = 1 / (C * sizes[labels]), 1 / C, labels * (clusters.max() + 1) + clusters
share = np.unique(pairs, return_counts=True)[1][np.unique(pairs, return_inverse=True)[1]] / sizes[labels]
seen = 1 / np.bincount(labels, share / sizes[labels])  # how many images each class is worth; added: hits and misses
def spread(groups, added=4 / seen / (1 / seen).sum()):  # accuracies, as they are and smoothed, and squared half-widths
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
def bound_difference(one, other, sign=np.array([1, -1])):  # upper bound of one accuracy less another
    return (lambda a, s: (a @ sign).max() + math.sqrt(sign @ s @ sign))(*spread([one, other]))
def relabelled(named):  # hits after each victim's best map of named to true classes, fitted on one half, scored on the other
    first, counts, half = np.unique(clusters, return_index=True)[1], np.zeros((2, C)), np.zeros(clusters.max() + 1, int)
    for cluster in np.lexsort((first, labels[first])):
        half[cluster] = min((0, 1), key=lambda side: (counts[side, labels[first[cluster]]], counts[side].sum(), side))
        np.add.at(counts[half[cluster]], labels[clusters == cluster], 1)
    hits, second = np.zeros(named.shape, bool), half[clusters] == 1
    for scored in (second, ~second):
        for victim, hit in zip(named, hits):
            found = np.bincount(victim[~scored] * C + labels[~scored], minlength=C * C).reshape(C, C)
            meaning = (found / np.maximum(1, np.bincount(labels[~scored], minlength=C))).argmax(1)
            hit[scored] = np.where(found.any(1), meaning, np.arange(C))[victim[scored]] == labels[scored]
    return hits
training = {"adversary": recipe["adversary"], "origin": audit["holdout"]["origin"], "victim": v | {"precision": v["precision"].replace("fp32", "no")}}  # its old name
training = hashlib.sha256(json.dumps(training, sort_keys=True).encode()).hexdigest()
steps = max(v["least_steps"], math.ceil(v["epochs"] * math.ceil(audit["images"] / min(v["batch_size"], audit["images"]))))
planned = sorted({max(1, round(steps * (number + 1) / v["evaluations"])) for number in range(v["evaluations"])})
def answers(network, kind, threat):  # of a row's victims: int [evaluations, seeds, images], and what else is known of each
    own = audit["digest" if kind == "protected" else "clean_digest"]
    seed = lambda number: hashlib.sha256(f"rem-release victim {own} {audit['holdout']['digest']} {training} {number}".encode()).digest()[:6]  # noqa: E731
    found = [victims[network, threat, kind, int.from_bytes(seed(number), "big")] for number in range(3)]
    assert kind == "yardstick" or all([each["step"] for each in victim] == planned for victim in found)
    return np.array([[each["answers"] for each in victim] for victim in found]).swapaxes(0, 1), [v[-1] for v in found]
def judge(tier, network, threat, limit):  # whether a row is valid, stays under its limit at every evaluation, and beats random noise
    (named, mine), (clean, theirs), (random, _) = (answers(network, kind, threat) for kind in ("protected", "clean", "random"))
    standard, plain = answers(network, "clean", "standard")
    (clean, random, standard), mean = (each[-1] == labels for each in (clean, random, standard)), lambda facts, key: np.mean([each[key] for each in facts])
    margin, known = (standard @ weights).mean() - chance, z / 2 / math.sqrt(int(C**2 / (1 / seen).sum() + 1e-9))
    kept = mean(mine, "train_accuracy") - chance >= 0.25 * (mean(theirs, "train_accuracy") - chance) and (clean @ weights).mean() - chance >= margin / 2 and mean(plain, "fit") >= 0.8 and recipe["statistics"]["half_width"] >= known < margin
    if (plainly := network.split(", learning rate")[0], "standard", "yardstick") in {key[:3] for key in victims}:
        kept &= (standard @ weights).mean() >= 0.9 * ((answers(plainly, "yardstick", "standard")[0][-1] == labels) @ weights).mean()
    attacked = all(each["finite"] and (each["attack_gain"] is None or each["attack_gain"] >= 1e-3) for each in mine + theirs)
    both = [hits for each in named for hits in (each == labels, relabelled(each))]
    leaks, over = max(bound_leakage(hits, clean) for hits in both), max(bound_difference(hits, random) for hits in both)
    print(f"{tier:12} {network:16} {threat:24} at most {leaks:.6f}, limit {limit}, over random {over:.6f}")
    return kept and attacked and leaks < limit and over < 0
title = lambda text: re.sub(r"^source", audit["source"], text.split("(")[0]) + "".join(f", learning rate {float(rate):g}" for rate in re.findall(r"learning_rate=([\d.e-]+)", text))  # noqa: E731
tiers, radius = {name: tier for name, tier in recipe["tiers"].items() if tier["required"]}, audit["rho_a"]
rows = dict.fromkeys((row["tier"], row["architecture"], row["threat"]) for row in audit["rows"] if row["tier"] in tiers)
wanted = {(name, title(text), threat.replace("rho_a", radius)) for name, tier in tiers.items() for text in tier["architectures"] for threat in tier["threats"]}
wanted == rows.keys() or sys.exit(f"rows are missing or strange, or have threats that this page cannot name: {sorted(wanted ^ rows.keys())}")
kept = all(any((row[0], row[2]) == need for row in rows) for need in (("standard", "standard"), ("adversarial", f"pgd(radius={radius})")) if need[0] in tiers)
passed = bool(tiers) and all([judge(*row, tiers[row[0]]["limit"]) for row in rows]) and kept and seen.min() > 4.999 and audit["method"] != "random"
sys.exit(print("passed" if passed else "fell short") or passed != audit["passed"])
