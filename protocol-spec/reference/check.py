#!/usr/bin/env python3
"""Computes every vector again, from its inputs alone, and compares.

    check.py            checks every file in ../vectors
    check.py --write    writes them anew: a change of the protocol
    check.py FILE ...   checks files of histories, such as the random ones that the Rust tests write

Exits 1 at the first difference, and says where it is.
"""

import json
import pathlib
import sys

import blake3
import ed25519
import encoding
import scoring
import transition
from encoding import decode, encode

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors"


def primitives(given):
    """BLAKE3 by its authors' inputs (byte i is i mod 251), and ed25519."""
    context = given["context"]

    def digests(case):
        data = bytes(i % 251 for i in range(case["length"]))
        derived = blake3.derive_key(context, data).hex()
        return {"length": case["length"], "hash": blake3.blake3(data).hex(), "derived": derived}

    def signed(case):
        seed, message = bytes.fromhex(case["seed"]), bytes.fromhex(case["message"])
        account, signature = ed25519.public_key(seed), ed25519.sign(seed, message)
        return case | {"account": account.hex(), "signature": signature.hex()}

    def verified(case):
        account, message, signature = (bytes.fromhex(case[part]) for part in ("account", "message", "signature"))
        return case | {"valid": ed25519.verify(account, message, signature)}

    def usable(case):
        return case | {"usable": ed25519.is_usable(bytes.fromhex(case["account"]))}

    return {
        "context": context,
        "blake3": list(map(digests, given["blake3"])),
        "signed": list(map(signed, given["signed"])),
        "signatures": list(map(verified, given["signatures"])),
        "keys": list(map(usable, given["keys"])),
    }


def encodings(given):
    def pinned(kind, value):
        data = encode(kind, value)
        assert decode(kind, data) == value, f"{value} does not survive its encoding"
        return data.hex()

    def transaction(case):
        value = case["value"]
        name, action = encoding.transaction_id(value), value["transaction"]["action"]
        assert transition.is_signed(value), f"{name} is not signed by its sender"
        return {
            "value": value,
            "signing_bytes": encoding.signing_bytes(value["transaction"]).hex(),
            "bytes": pinned(encoding.SignedTransaction, value),
            "id": name,
            "competition_id": encoding.competition_id(name) if action == "open_competition" else None,
            "registration_id": encoding.registration_id(name) if action == "register" else None,
        }

    def dataset(case, task, targets):
        value = {"width": case["width"], "task": task, "inputs": case["inputs"], "targets": case[targets]}
        data = pinned(encoding.Dataset, value)
        return case | {"bytes": data, "digest": encoding.digest("data set digest", bytes.fromhex(data))}

    def of(kind):
        return lambda case: {"value": case["value"], "bytes": pinned(kind, case["value"])}

    def refused(case):
        try:
            decode(encoding.SignedTransaction, bytes.fromhex(case["bytes"]))
        except encoding.Malformed as malformed:
            return case | {"reason": str(malformed)}
        raise AssertionError(f"{case['name']} is not refused")

    genesis, block = given["genesis"]["value"], given["block"]["value"]
    data, values = given["dataset"], given["values"]
    context = {name: part for name, part in given["context"].items() if name != "bytes"}
    key, blob = given["data_key"]["key"], given["blob"]["bytes"]
    return {
        "genesis": {
            "value": genesis,
            "bytes": pinned(encoding.Genesis, genesis),
            "network_id": encoding.network_id(genesis),
            "block_id": encoding.genesis_block_id(genesis),
        },
        "transactions": list(map(transaction, given["transactions"])),
        "block": {"value": block, "bytes": pinned(encoding.Block, block), "id": encoding.block_id(block)},
        "dataset": dataset(data, {"kind": "classification", "classes": data["classes"]}, "labels"),
        "values": dataset(values, {"kind": "regression", "exponent": values["exponent"]}, "values"),
        "metrics": list(map(of(encoding.Metric), given["metrics"])),
        "minima": list(map(of(encoding.Minimum), given["minima"])),
        "tally": of(encoding.Tally)(given["tally"]),
        "context": context | {"bytes": pinned(encoding.Context, context)},
        "data_key": {"key": key, "commitment": encoding.key_commitment(key)},
        "blob": {"bytes": blob, "id": encoding.blob_id(bytes.fromhex(blob))},
        "refused": list(map(refused, given["refused"])),
    }


def scores(given):
    def case(of):
        metric, samples, minimum = of["metric"], of["samples"], of["minimum"]
        points = [str(scoring.points(metric, scoring.integers(entry["tally"]))) for entry in of["entries"]]
        ranks = scoring.rank(of["entries"], metric, samples, minimum, of["prize"], of["payouts"])
        return of | {"points": points, "ranks": ranks}

    return list(map(case, given))


class Judge:
    """A proof is valid when its blob is named by the encoding of its claim; a key opens whatever is not rotten."""

    def __init__(self, rotten, missing):
        self.rotten, self.missing = rotten, missing

    def test_set(self, spec, _key):
        sealed = spec["sealed_data"]["id"]
        if sealed in self.missing:
            return None
        return "invalid" if sealed in self.rotten else "valid"

    def proof(self, claim, proof):
        if proof["id"] in self.missing:
            return None
        honest = {"id": encoding.blob_id(encode(encoding.ProofClaim, claim)), "length": 1000}
        return "valid" if proof == honest else "invalid"


def offered(state, block, left_out, judge):
    """The run after a block, and for each transaction that was left out the rule that says why."""
    run, found = transition.start(state, block["height"], block["time"], judge), []
    for index, signed in enumerate([*block["transactions"], None]):
        for case in left_out:
            if case["before"] == index:
                found.append({"before": index, "bytes": case["bytes"], "rule": rule_against(run, case["bytes"], block)})
        if signed:
            transition.execute(run, signed)
    return run, found


def rule_against(run, data, block):
    so_far = block | {"transactions": block["transactions"][: len(run.receipts)]}
    size = len(encode(encoding.Block, so_far)) + len(data) // 2
    limits = run.state.parameters
    if len(run.receipts) == limits["max_block_transactions"] or size > limits["max_block_bytes"]:
        return "BLK-7"
    before = run.state.root()
    try:
        transition.execute(run, decode(encoding.SignedTransaction, bytes.fromhex(data)))
    except transition.Refused as refused:
        assert run.state.root() == before, "a refused transaction leaves a trace"
        return refused.rule
    except transition.Waiting:
        return "BLK-11"
    return None


def invalid(state, case, judge):
    try:
        transition.apply_block(state, decode(encoding.Block, bytes.fromhex(case["bytes"])), judge)
    except transition.Refused as refused:
        return {"bytes": case["bytes"], "rule": refused.rule, "cause": refused.cause}
    except transition.Waiting:
        return {"bytes": case["bytes"], "rule": "BLK-11", "cause": None}
    return {"bytes": case["bytes"], "rule": None, "cause": None}


def history(given):
    state = transition.genesis_state(given["genesis"])
    supply = state.total()
    out = {part: given[part] for part in ("name", "genesis")} | {"genesis_root": state.root()}
    out |= {"rotten": given["rotten"], "blocks": []}
    for case in given["blocks"]:
        judge = Judge(given["rotten"], case["missing"])
        block = decode(encoding.Block, bytes.fromhex(case["bytes"]))
        run, left_out = offered(state, block, case["left_out"], judge)
        block["state_root"] = run.state.root()
        refused = [invalid(state, bad, judge) for bad in case["invalid"]]
        applied = transition.apply_block(state, block, judge)
        assert (applied.receipts, applied.events) == (run.receipts, run.events), "built and applied differ"
        state = applied.state
        assert state.total() == supply, "SUP-1: money was made or lost"
        out["blocks"].append(
            {
                "bytes": encode(encoding.Block, block).hex(),
                "id": state.tip,
                "state_root": state.root(),
                "missing": case["missing"],
                "receipts": run.receipts,
                "events": run.events,
                "left_out": left_out,
                "invalid": refused,
            }
        )
    accounts = sorted(state.accounts.items())
    out["accounts"] = [{"account": name} | account for name, account in accounts]
    out["competitions"] = [competition for _, competition in sorted(state.competitions.items())]
    return out | {"treasury": state.treasury}


def histories(given):
    return list(map(history, given))


def difference(expected, found, path=""):
    """Where two JSON values part ways, and how."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        pairs = [(f"{path}.{name}", expected[name], found[name]) for name in expected]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = [(f"{path}[{i}]", *pair) for i, pair in enumerate(zip(expected, found))]
    else:
        return None if expected == found else f"{path}: the file says {expected}, the pages say {found}"
    return next(filter(None, (difference(old, new, where) for where, old, new in pairs)), None)


CHECKS = {
    "primitives.json": primitives,
    "encoding.json": encodings,
    "scoring.json": scores,
    "histories.json": histories,
}


def main(arguments):
    write = arguments == ["--write"]
    named = [] if write else arguments
    files = [(pathlib.Path(name), histories) for name in named]
    if not files:
        files = [(path, CHECKS[path.name]) for path in sorted(VECTORS.iterdir())]
        assert len(files) == len(CHECKS), "a file of vectors is missing"
    for path, check in files:
        given = json.loads(path.read_text())
        try:
            found = check(given)
        except transition.Refused as refused:
            sys.exit(f"{path.name}: the pages refuse what the file accepts, by {refused.rule} {refused.cause or ''}")
        if write:
            path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        elif parts := difference(given, found):
            sys.exit(f"{path.name}{parts}")
        print(f"{path.name}: {'written' if write else 'agrees'}")


if __name__ == "__main__":
    main(sys.argv[1:])
