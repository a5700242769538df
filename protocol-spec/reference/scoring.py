#!/usr/bin/env python3
"""The scorer a second time, short and without the crate: checks ../vectors/scoring.json (rules MET-2, MET-3, SET-2, SET-3).

Exact fractions where the crate rounds; the points are rounded at the end, as MET-2 says.

Run: python3 protocol-spec/reference/scoring.py
"""

import json
import pathlib
import sys
from fractions import Fraction

WHOLE = 2**96


def name(metric):
    return metric if isinstance(metric, str) else next(iter(metric))


def class_scores(metric, numbers):
    """One fraction a class, or None where nothing is divided."""
    counts = [numbers[i : i + 3] for i in range(0, len(numbers), 3)]
    if name(metric) == "balanced_accuracy":
        parts = [(tp, tp + fn) for tp, _, fn in counts]
    else:
        parts = [(2 * tp, 2 * tp + fp + fn) for tp, fp, fn in counts]
    return [Fraction(part, whole) if whole else None for part, whole in parts]


def points(metric, numbers):
    match name(metric):
        case "accuracy" | "top_k":
            return numbers[0]
        case "balanced_accuracy" | "macro_f1":
            scores = class_scores(metric, numbers)
            return sum(int(WHOLE * score) for score in scores if score is not None)
        case "mse" | "rmse" | "mae" | "r2":
            return -numbers[0]
    raise ValueError(metric)


def share(metric, numbers, samples):
    """The exact score of a metric of classes."""
    if name(metric) in ("accuracy", "top_k"):
        return Fraction(numbers[0], samples)
    scores = class_scores(metric, numbers)
    if name(metric) == "balanced_accuracy":
        scores = [score for score in scores if score is not None]
    return sum(score or 0 for score in scores) / len(scores)


def reaches(metric, numbers, samples, minimum):
    match minimum["kind"]:
        case "none":
            return True
        case "at_most":
            return numbers[0] <= int(minimum["sum"])
        case "at_least":
            return share(metric, numbers, samples) >= Fraction(minimum["millionths"], 10**6)
    raise ValueError(minimum)


def rank(case):
    metric, samples, payouts = case["metric"], case["samples"], case["payouts"]
    numbers = lambda entry: [int(number) for number in entry["tally"]]
    eligible = [e for e in case["entries"] if reaches(metric, numbers(e), samples, case["minimum"])]
    eligible.sort(
        key=lambda entry: (
            -points(metric, numbers(entry)),
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
                "amount": case["prize"] * part // 10_000,
            }
        )
    found = [str(points(metric, numbers(entry))) for entry in case["entries"]]
    return found, ranks


def main():
    path = pathlib.Path(__file__).resolve().parent.parent / "vectors" / "scoring.json"
    cases = json.loads(path.read_text())
    for case in cases:
        found, ranks = rank(case)
        if found != case["points"]:
            sys.exit(f"{case['name']}: expected points {case['points']}, found {found}")
        if ranks != case["ranks"]:
            sys.exit(f"{case['name']}: expected {case['ranks']}, found {ranks}")
    print(f"{len(cases)} cases agree")


if __name__ == "__main__":
    main()
