#!/usr/bin/env python3
"""The scorer a second time, short and without the crate: checks ../vectors/scoring.json (rules SET-2 and SET-3).

Run: python3 protocol-spec/reference/scoring.py
"""

import json
import pathlib
import sys


def rank(entries, minimum_correct, prize, payouts):
    eligible = [entry for entry in entries if entry["correct"] >= minimum_correct]
    eligible.sort(
        key=lambda entry: (
            -entry["correct"],
            entry["registered"]["height"],
            entry["registered"]["index"],
            bytes.fromhex(entry["registration"]),
        )
    )
    ranks = []
    for place, entry in enumerate(eligible):
        share = payouts[place] if place < len(payouts) else 0
        ranks.append(
            {
                "rank": place + 1,
                "registration": entry["registration"],
                "competitor": entry["competitor"],
                "correct": entry["correct"],
                "amount": prize * share // 10_000,
            }
        )
    return ranks


def main():
    path = pathlib.Path(__file__).resolve().parent.parent / "vectors" / "scoring.json"
    cases = json.loads(path.read_text())
    for case in cases:
        found = rank(case["entries"], case["minimum_correct"], case["prize"], case["payouts"])
        if found != case["ranks"]:
            sys.exit(f"{case['name']}: expected {case['ranks']}, found {found}")
    print(f"{len(cases)} cases agree")


if __name__ == "__main__":
    main()
