"""The scorer (page 5, rules MET-2, MET-3, SET-2, SET-3)."""

WHOLE = 2**96
MILLION = 10**6


def name(metric):
    return metric if isinstance(metric, str) else next(iter(metric))


def fractions(metric, numbers):
    """What a metric takes the mean of: one (part, whole) a class."""
    counts = [numbers[i : i + 3] for i in range(0, len(numbers), 3)]
    if name(metric) == "balanced_accuracy":
        return [(tp, tp + fn) for tp, _, fn in counts]
    return [(2 * tp, 2 * tp + fp + fn) for tp, fp, fn in counts]


def points(metric, numbers):
    """MET-2."""
    match name(metric):
        case "accuracy" | "top_k":
            return numbers[0]
        case "balanced_accuracy" | "macro_f1":
            return sum(WHOLE * part // whole for part, whole in fractions(metric, numbers) if whole)
        case "mse" | "rmse" | "mae" | "r2":
            return -numbers[0]
    raise ValueError(metric)


def reaches(metric, numbers, samples, minimum):
    """MET-3."""
    match minimum["kind"]:
        case "none":
            return True
        case "at_most":
            return numbers[0] <= int(minimum["sum"])
    if name(metric) in ("accuracy", "top_k"):
        return numbers[0] * MILLION >= minimum["millionths"] * samples
    classes = len(numbers) // 3
    if name(metric) == "balanced_accuracy":
        classes = sum(whole > 0 for _, whole in fractions(metric, numbers))
    found = points(metric, numbers) + classes
    return found * MILLION >= minimum["millionths"] * WHOLE * classes


def integers(tally):
    return [int(number) for number in tally]


def rank(entries, metric, samples, minimum, prize, payouts):
    """SET-2 and SET-3: registrations with their best tallies, first rank first."""
    eligible = [entry for entry in entries if reaches(metric, integers(entry["tally"]), samples, minimum)]
    eligible.sort(
        key=lambda entry: (
            -points(metric, integers(entry["tally"])),
            entry["registered"]["height"],
            entry["registered"]["index"],
            bytes.fromhex(entry["registration"]),
        )
    )
    ranks = []
    for place, entry in enumerate(eligible):
        part = payouts[place] if place < len(payouts) else 0
        ranks.append(
            {
                "rank": place + 1,
                "registration": entry["registration"],
                "competitor": entry["competitor"],
                "tally": entry["tally"],
                "amount": prize * part // 10_000,
            }
        )
    return ranks


def rank_competition(competition):
    """The ranks of a competition; of a registration's valid proofs the best counts (SUB-8), of equals the first."""
    spec, entries = competition["spec"], []
    for registration in competition["registrations"]:
        valid = [s["tally"] for s in registration["submissions"] if s["verdict"] == "valid"]
        if valid:
            best = max(valid, key=lambda tally: points(spec["metric"], integers(tally)))
            names = {"registration": registration["id"], "competitor": registration["competitor"]}
            entries.append(names | {"registered": registration["registered"], "tally": best})
    return rank(entries, spec["metric"], spec["samples"], spec["minimum"], competition["prize"], spec["payouts"])
