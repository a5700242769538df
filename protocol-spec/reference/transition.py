"""The transition (pages 3 to 6): a state and a block in, the next state out, or the rule that the block breaks.

The rules stand in the order in which they are checked; the first that is broken is the one that a refusal names.
"""

import unicodedata
from dataclasses import dataclass, field

import ed25519
import encoding
import scoring
from encoding import encode

KNOWN_VERSION = 1
EMPTY_BLOCK_BYTES = 150


class Refused(Exception):
    """A rule is broken. Of a block that a transaction makes invalid, `cause` is the transaction's rule."""

    def __init__(self, rule, cause=None):
        super().__init__(rule)
        self.rule, self.cause = rule, cause


class Waiting(Exception):
    """A verdict is not known yet (BLK-11)."""


def demand(rule, holds):
    if not holds:
        raise Refused(rule)


@dataclass
class State:
    network: str
    parameters: dict
    height: int
    time: int
    tip: str
    governance: dict
    treasury: int = 0
    accounts: dict = field(default_factory=dict)
    competitions: dict = field(default_factory=dict)

    def root(self):
        """ENC-4."""
        numbers = [self.height, self.time, self.treasury]
        head = bytes.fromhex(self.network) + b"".join(map(encoding.U64.write, numbers))
        head += bytes.fromhex(encoding.digest("validators and version", encode(encoding.Governance, self.governance)))
        accounts = encoding.bucket_digests(encoding.Account, self.accounts)
        competitions = encoding.bucket_digests(encoding.Competition, self.competitions)
        return encoding.digest("state root", head + accounts + competitions)

    def copy(self):
        changing = {part: copied(getattr(self, part)) for part in ("governance", "accounts", "competitions")}
        return State(**vars(self) | changing)

    def account(self, name):
        return self.accounts.get(name, {"balance": 0, "nonce": 0})

    def pay(self, name, amount):
        self.set_account(name, self.account(name)["balance"] + amount, self.account(name)["nonce"])

    def set_account(self, name, balance, nonce):
        """An account with neither money nor transactions is not kept."""
        self.accounts[name] = {"balance": balance, "nonce": nonce}
        if balance == nonce == 0:
            del self.accounts[name]

    def validator(self, account):
        return next((v for v in self.governance["validators"] if v["account"] == account), None)

    def version_at(self, height):
        """UPG-2."""
        upgrade = self.governance["upgrade"]
        due = upgrade and height >= upgrade["height"]
        return upgrade["version"] if due else self.governance["protocol_version"]

    def total(self):
        """SUP-1: the same after every block."""
        balances = sum(account["balance"] for account in self.accounts.values())
        return balances + sum(c["escrow"] for c in self.competitions.values()) + self.treasury


def copied(value):
    if isinstance(value, dict):
        # terms never change
        return {name: part if name == "spec" else copied(part) for name, part in value.items()}
    return [copied(part) for part in value] if isinstance(value, list) else value


# Genesis (page 6)


def check_genesis(genesis):
    has_controls = any(unicodedata.category(c) == "Cc" for c in genesis["name"])
    demand("GEN-1", 1 <= len(genesis["name"].encode()) <= 64 and not has_controls)
    demand("GEN-5", 1 <= genesis["protocol_version"] <= KNOWN_VERSION)
    validators = genesis["validators"]
    keys, powers = [v["account"] for v in validators], [v["power"] for v in validators]
    demand("GEN-2", 1 <= len(keys) <= 256 and len(set(keys)) == len(keys))
    demand("GEN-2", all(ed25519.is_usable(bytes.fromhex(key)) for key in keys))
    demand("GEN-2", min(powers) > 0 and sum(powers) <= 2**60)
    owners = [balance["account"] for balance in genesis["balances"]]
    demand("GEN-3", len(owners) <= 65_536 and len(set(owners)) == len(owners))
    demand("GEN-3", sum(balance["amount"] for balance in genesis["balances"]) < 2**64)
    p = genesis["parameters"]
    demand("GEN-4", 1 <= p["min_samples"] <= 1_000_000 and p["min_deposit"] >= 1 and p["min_bond"] >= 1)
    demand("GEN-4", p["max_duration_ms"] >= 3 * p["min_window_ms"])
    demand("GEN-4", 1024 <= p["max_block_bytes"] <= 4 * 2**20 and 1 <= p["max_block_transactions"] <= 10_000)


def genesis_state(genesis):
    check_genesis(genesis)
    joined = [validator | {"rotated_at": None, "approvals": []} for validator in genesis["validators"]]
    version = {"protocol_version": genesis["protocol_version"], "upgrade": None}
    state = State(
        network=encoding.network_id(genesis),
        parameters=genesis["parameters"],
        governance={"validators": joined, "set_version": 0} | version,
        height=0,
        time=genesis["time"],
        tip=encoding.genesis_block_id(genesis),
    )
    for balance in genesis["balances"]:
        state.pay(balance["account"], balance["amount"])
    return state


# Blocks (page 6)


@dataclass
class Run:
    """A block that is being executed."""

    state: State
    judge: object
    receipts: list = field(default_factory=list)
    events: list = field(default_factory=list)


def apply_block(state, block, judge):
    """The run after `block`. `state` stays as it is."""
    check_header(state, block)
    run = start(state, block["height"], block["time"], judge)
    for signed in block["transactions"]:
        try:
            execute(run, signed)
        except Refused as refused:
            raise Refused("BLK-8", refused.rule) from None
    demand("BLK-9", block["state_root"] == run.state.root())
    run.state.tip = encoding.block_id(block)
    return run


def check_header(state, block):
    demand("UPG-3", state.version_at(state.height + 1) <= KNOWN_VERSION)
    demand("BLK-1", block["version"] == state.version_at(state.height + 1))
    demand("BLK-2", block["network"] == state.network)
    demand("BLK-3", block["height"] == state.height + 1)
    demand("BLK-4", block["parent"] == state.tip)
    demand("BLK-5", block["time"] > state.time)
    demand("BLK-6", state.validator(block["proposer"]))
    demand("BLK-7", len(block["transactions"]) <= state.parameters["max_block_transactions"])
    demand("BLK-7", len(encode(encoding.Block, block)) <= state.parameters["max_block_bytes"])


def start(parent, height, time, judge):
    """Settles what is due, before the first transaction (SET-1)."""
    state = parent.copy()
    state.height, state.time = height, time
    run = Run(state, judge)
    upgrade_if_due(run)
    due = sorted((settles_at(c), name) for name, c in state.competitions.items() if c["ending"] is None)
    for deadline, name in due:
        if deadline <= time:
            settle(run, state.competitions[name])
    return run


def execute(run, signed):
    """Checks and carries out one transaction; a refused one leaves no trace."""
    state, transaction = run.state, signed["transaction"]
    name, sender, action = encoding.transaction_id(signed), transaction["sender"], transaction["action"]
    demand("TX-1", transaction["network"] == state.network)
    length = len(encode(encoding.SignedTransaction, signed))
    demand("TX-4", length <= state.parameters["max_block_bytes"] - EMPTY_BLOCK_BYTES)
    demand("TX-2", is_signed(signed))
    demand("TX-3", transaction["nonce"] == state.account(sender)["nonce"] != 2**64 - 1)
    receipt = {
        "transaction": name,
        "height": state.height,
        "index": len(run.receipts),
        "time": state.time,
        "sender": sender,
        "action": action,
        "competition": None,
        "registration": None,
        "status": "applied",
    }
    ACTIONS[action](run, transaction, receipt)
    account = state.account(sender)
    state.set_account(sender, account["balance"], account["nonce"] + 1)
    run.receipts.append(receipt)


def is_signed(signed):
    account = bytes.fromhex(signed["transaction"]["sender"])
    return ed25519.verify(account, encoding.signing_bytes(signed["transaction"]), bytes.fromhex(signed["signature"]))


def demand_balance(state, sender, amount):
    demand("TX-5", amount <= state.account(sender)["balance"])


def transfer(run, transaction, receipt):
    sender, amount = transaction["sender"], transaction["amount"]
    demand("TRF-1", amount >= 1)
    demand_balance(run.state, sender, amount)
    run.state.pay(sender, -amount)
    run.state.pay(transaction["to"], amount)
    run.events.append({"event": "transferred", "from": sender, "to": transaction["to"], "amount": amount})


# Validators and upgrades (page 6)


def sending_validator(state, transaction):
    validator = state.validator(transaction["sender"])
    demand("VAL-1", validator)
    return validator


def approve(run, transaction, _receipt):
    state, measure = run.state, transaction["measure"]
    governance, validators = state.governance, state.governance["validators"]
    validator = sending_validator(state, transaction)
    demand("VAL-2", transaction["set_version"] == governance["set_version"])
    demand("VAL-3", measure not in validator["approvals"])
    if measure["measure"] == "set_power":
        check_power(state, measure["account"], measure["power"])
    else:
        demand("UPG-1", measure["version"] == state.version_at(state.height) + 1 and measure["height"] > state.height)
    validator["approvals"] = [*validator["approvals"], measure][-8:]  # VAL-5
    power, total = sum(v["power"] for v in validators if measure in v["approvals"]), sum(v["power"] for v in validators)
    event = {"event": "approved", "validator": transaction["sender"], "measure": measure}
    run.events.append(event | {"power": power, "total": total})
    if 3 * power > 2 * total:
        take_effect(run, measure)


def check_power(state, account, power):
    validators = state.governance["validators"]
    present = state.validator(account)
    others = [v["power"] for v in validators if v["account"] != account]
    demand("VAL-4", power != (present["power"] if present else 0))
    demand("VAL-4", 1 <= len(others) + (power > 0) <= 256 and sum(others) + power <= 2**60)
    demand("VAL-4", present or ed25519.is_usable(bytes.fromhex(account)))


def take_effect(run, measure):
    governance = run.state.governance
    if measure["measure"] == "upgrade":
        governance["upgrade"] = {"version": measure["version"], "height": measure["height"]}
        keep_approvals(governance, lambda approved: approved != measure)
        run.events.append({"event": "upgrade_scheduled"} | governance["upgrade"])
        return
    account, power = measure["account"], measure["power"]
    if validator := run.state.validator(account):
        validator["power"] = power
    else:
        governance["validators"].append({"account": account, "power": power, "rotated_at": None, "approvals": []})
    governance["validators"] = [v for v in governance["validators"] if v["power"] > 0]
    governance["set_version"] += 1
    keep_approvals(governance, lambda _: False)
    event = {"event": "power_set", "account": account, "power": power}
    run.events.append(event | {"set_version": governance["set_version"]})


def keep_approvals(governance, keeps):
    for validator in governance["validators"]:
        validator["approvals"] = list(filter(keeps, validator["approvals"]))


def rotate_key(run, transaction, _receipt):
    state, old, new = run.state, transaction["sender"], transaction["to"]
    validator = sending_validator(state, transaction)
    message = encoding.possession_bytes(state.network, old)
    demand("VAL-6", ed25519.is_usable(bytes.fromhex(new)) and state.validator(new) is None)
    demand("VAL-6", ed25519.verify(bytes.fromhex(new), message, bytes.fromhex(transaction["possession"])))
    last = validator["rotated_at"]
    demand("VAL-7", last is None or state.height >= last + 64)
    validator["account"], validator["rotated_at"] = new, state.height
    keep_approvals(state.governance, lambda approved: approved.get("account") != new)
    for each in state.governance["validators"]:
        each["approvals"] = [a | {"account": new} if a.get("account") == old else a for a in each["approvals"]]
    run.events.append({"event": "key_rotated", "from": old, "to": new})


def upgrade_if_due(run):
    governance, version = run.state.governance, run.state.version_at(run.state.height)
    if version != governance["protocol_version"]:
        governance["protocol_version"], governance["upgrade"] = version, None
        keep_approvals(governance, lambda approved: approved["measure"] != "upgrade")
        run.events.append({"event": "upgraded", "version": version})


# Competitions (page 4)


def settles_at(competition):
    return competition["spec"]["key_until" if competition["key"] is None else "prove_until"]


def find_competition(run, name, receipt):
    competition = run.state.competitions.get(name)
    demand("CMP-1", competition is not None)
    demand("CMP-2", competition["ending"] is None)
    receipt["competition"] = name
    return competition


def find_registration(run, transaction, receipt, rule):
    name = transaction["registration"]
    all_of_them = ((c, r) for c in run.state.competitions.values() for r in c["registrations"])
    competition, registration = next(((c, r) for c, r in all_of_them if r["id"] == name), (None, None))
    demand("CMP-1", registration is not None)
    demand("CMP-2", competition["ending"] is None)
    demand(rule, registration["competitor"] == transaction["sender"])
    receipt["competition"], receipt["registration"] = competition["id"], name
    return competition, registration


def check_terms(spec, parameters, time):
    def controls(text, allowed=""):
        return any(unicodedata.category(c) == "Cc" and c not in allowed for c in text)

    task, metric, minimum = spec["task"], spec["metric"], spec["minimum"]
    of_classes = task["kind"] == "classification"
    demand("OPEN-1", 1 <= len(spec["title"].encode()) <= 120 and not controls(spec["title"]))
    demand("OPEN-1", len(spec["description"].encode()) <= 8192 and not controls(spec["description"], "\n\t"))
    width, samples = len(spec["encoding"]), spec["samples"]
    demand("OPEN-2", 1 <= width <= 65_536)
    demand("OPEN-2", 2 <= task["classes"] <= 1024 if of_classes else abs(task["exponent"]) <= 256)
    demand("OPEN-2", parameters["min_samples"] <= samples <= 1_000_000 and width * samples <= 2**28)
    demand("OPEN-2", 1 <= spec["max_parameters"] <= 2**27)
    if of_classes:
        word = scoring.name(metric)
        demand("OPEN-9", word in ("accuracy", "top_k", "balanced_accuracy", "macro_f1"))
        demand("OPEN-9", word != "top_k" or 1 <= metric["top_k"]["k"] < task["classes"])
        demand("OPEN-9", minimum["kind"] == "none" or minimum.get("millionths", 2**32) <= 1_000_000)
    else:
        demand("OPEN-9", metric in ("mse", "rmse", "mae", "r2"))
        demand("OPEN-9", minimum["kind"] == "none" or int(minimum.get("sum", 2**128)) <= 2**100)
    for blob in (spec["sealed_data"], spec["training_data"]):
        demand("OPEN-3", blob is None or 1 <= blob["length"] <= 2**30)
    times = [max(spec["opens_at"], time), spec["register_until"], spec["key_until"], spec["prove_until"]]
    for begin, end in zip(times, times[1:]):
        demand("OPEN-4", end > begin and end - begin >= parameters["min_window_ms"])
    demand("OPEN-4", spec["prove_until"] - time <= parameters["max_duration_ms"])
    payouts = spec["payouts"]
    demand("OPEN-5", 1 <= len(payouts) <= 64 and payouts == sorted(payouts, reverse=True) and payouts[-1] > 0)
    demand("OPEN-5", sum(payouts) == 10_000)
    demand("OPEN-6", spec["submissions_per_registration"] >= 1 and spec["registrations_per_account"] >= 1)


def open_competition(run, transaction, receipt):
    state, host, spec = run.state, transaction["sender"], transaction["spec"]
    prize, bond = transaction["prize"], transaction["bond"]
    check_terms(spec, state.parameters, state.time)
    demand("OPEN-7", spec["deposit"] >= state.parameters["min_deposit"])
    demand("OPEN-7", bond >= state.parameters["min_bond"] and prize >= 1)
    demand_balance(state, host, prize + bond)
    name = encoding.competition_id(receipt["transaction"])
    receipt["competition"] = name
    state.pay(host, -prize - bond)
    state.competitions[name] = {
        "id": name,
        "host": host,
        "spec": spec,
        "spec_digest": encoding.spec_digest(spec),
        "prize": prize,
        "bond": bond,
        "opened": {"height": state.height, "index": receipt["index"]},
        "opened_at": state.time,
        "escrow": prize + bond,  # OPEN-8
        "key": None,
        "key_height": None,
        "registrations": [],
        "ending": None,
    }
    event = {"event": "opened", "competition": name, "title": spec["title"], "host": host}
    run.events.append(event | {"prize": prize, "bond": bond})


def cancel_competition(run, transaction, receipt):
    competition = find_competition(run, transaction["competition"], receipt)
    demand("CAN-1", competition["host"] == transaction["sender"])
    demand("CAN-2", not competition["registrations"])
    host, name = competition["host"], competition["id"]
    payments = [  # CAN-3
        payment(host, competition["prize"], "unclaimed_prize"),
        payment(host, competition["bond"], "bond"),
    ]
    close(run, competition, payments, {"ending": "cancelled"})
    run.events.append({"event": "cancelled", "competition": name, "payments": payments})


def register(run, transaction, receipt):
    state, sender, model = run.state, transaction["sender"], transaction["model"]
    competition = find_competition(run, transaction["competition"], receipt)
    spec, registrations = competition["spec"], competition["registrations"]
    demand("REG-2", spec["opens_at"] <= state.time < spec["register_until"])
    demand("REG-3", competition["host"] != sender)
    own = [r["model"] for r in registrations if r["competitor"] == sender]
    demand("REG-4", len(own) < spec["registrations_per_account"])
    demand("REG-5", model not in own)
    demand("REG-6", len(registrations) < 4096)
    demand_balance(state, sender, spec["deposit"])
    name = encoding.registration_id(receipt["transaction"])
    receipt["registration"] = name
    state.pay(sender, -spec["deposit"])  # REG-7
    competition["escrow"] += spec["deposit"]
    registration = {  # REG-1
        "id": name,
        "competition": competition["id"],
        "competitor": sender,
        "model": model,
        "registered": {"height": state.height, "index": receipt["index"]},
        "registered_at": state.time,
        "deposit": "held",
        "submissions": [],
        "rank": None,
        "paid": 0,
    }
    registrations.append(registration)
    event = about("registered", registration) | {"model": model, "deposit": spec["deposit"]}
    run.events.append(event)


def about(event, registration):
    names = {"competition": registration["competition"], "registration": registration["id"]}
    return {"event": event} | names | {"competitor": registration["competitor"]}


def withdraw(run, transaction, receipt):
    competition, registration = find_registration(run, transaction, receipt, "WD-1")
    spec = competition["spec"]
    demand("WD-2", run.state.time < spec["register_until"])
    competition["registrations"].remove(registration)  # WD-3
    competition["escrow"] -= spec["deposit"]
    run.state.pay(registration["competitor"], spec["deposit"])
    run.events.append(about("withdrawn", registration) | {"deposit": spec["deposit"]})


def release_key(run, transaction, receipt):
    competition = find_competition(run, transaction["competition"], receipt)
    spec, key = competition["spec"], transaction["key"]
    demand("KEY-1", competition["host"] == transaction["sender"])
    demand("KEY-4", competition["key"] is None)
    demand("KEY-2", spec["register_until"] <= run.state.time < spec["key_until"])
    demand("KEY-3", encoding.key_commitment(key) == spec["key_commitment"])
    demand("KEY-5", known(run.judge.test_set(spec, key)) == "valid")
    competition["key"], competition["key_height"] = key, run.state.height
    run.events.append({"event": "key_released", "competition": competition["id"]})


def known(verdict):
    if verdict is None:
        raise Waiting
    return verdict


def is_possible(metric, tally, samples, task):
    numbers, counts = [int(number) for number in tally], 3 * task.get("classes", 0)
    match scoring.name(metric):
        case "accuracy" | "top_k":
            return len(numbers) == 1 and numbers[0] <= samples
        case "balanced_accuracy" | "macro_f1":
            hits, false_positives, false_negatives = (sum(numbers[i::3]) for i in range(3))
            adds_up = hits + false_negatives == samples and false_positives == false_negatives
            return len(numbers) == counts and adds_up
        case "r2":
            return len(numbers) == 2
    return len(numbers) == 1


def submit_proof(run, transaction, receipt):
    state, tally, proof = run.state, transaction["tally"], transaction["proof"]
    competition, registration = find_registration(run, transaction, receipt, "SUB-1")
    spec, submissions = competition["spec"], registration["submissions"]
    demand("SUB-2", competition["key"] is not None and state.time < spec["prove_until"])
    demand("SUB-6", registration["deposit"] != "forfeited")
    demand("SUB-3", len(submissions) < spec["submissions_per_registration"])
    demand("SUB-4", is_possible(spec["metric"], tally, spec["samples"], spec["task"]))
    demand("SUB-5", 1 <= proof["length"] <= 2**20)
    demand("SUB-7", all(proof["id"] != submission["proof"]["id"] for submission in submissions))
    claim = proof_claim(state, competition, registration, transaction)
    verdict = known(run.judge.proof(claim, proof))
    at = {"height": state.height, "time": state.time}
    record = {"transaction": receipt["transaction"], "tally": tally, "proof": proof, "verdict": verdict}
    submissions.append(record | at)  # SUB-8
    if verdict == "valid":
        shown = {"metric": spec["metric"], "tally": tally, "samples": spec["samples"], "task": spec["task"]}
        run.events.append(about("proof_accepted", registration) | shown)
        return
    registration["deposit"] = "forfeited"  # SUB-9
    competition["escrow"] -= spec["deposit"]
    state.treasury += spec["deposit"]
    receipt |= {"status": "refused", "reason": "invalid_proof"}
    lost = {"claimed": tally, "deposit": spec["deposit"], "reason": "invalid_proof"}
    run.events.append(about("proof_refused", registration) | lost)


def proof_claim(state, competition, registration, transaction):
    """SUB-10."""
    spec = competition["spec"]
    context = {
        "network": state.network,
        "competition": competition["id"],
        "registration": registration["id"],
        "competitor": registration["competitor"],
        "nonce": transaction["nonce"],
    }
    return {
        "context": context,
        "model": registration["model"],
        "data": spec["data_digest"],
        "samples": spec["samples"],
        "width": len(spec["encoding"]),
        "task": spec["task"],
        "max_parameters": spec["max_parameters"],
        "metric": spec["metric"],
        "tally": transaction["tally"],
    }


ACTIONS = {
    "transfer": transfer,
    "open_competition": open_competition,
    "cancel_competition": cancel_competition,
    "register": register,
    "withdraw": withdraw,
    "release_key": release_key,
    "submit_proof": submit_proof,
    "approve": approve,
    "rotate_key": rotate_key,
}


# Settlement (page 5)


def payment(account, amount, reason, registration=None):
    return {"account": account, "amount": amount, "reason": reason, "registration": registration}


def settle(run, competition):
    """SET-4, or without a winner VOID-1 to VOID-3."""
    name, host, prize, bond = (competition[part] for part in ("id", "host", "prize", "bond"))
    deposits = [
        payment(r["competitor"], competition["spec"]["deposit"], "deposit", r["id"])
        for r in competition["registrations"]
        if r["deposit"] == "held"
    ]
    ranks = scoring.rank_competition(competition) if competition["key"] else []
    payments, to_treasury = [payment(r["competitor"], r["amount"], "prize", r["registration"]) for r in ranks], 0
    payments.append(payment(host, prize - sum(r["amount"] for r in ranks), "unclaimed_prize"))
    holders = competition["registrations"]
    if competition["key"] or not holders:
        payments += [payment(host, bond, "bond"), *deposits]
    else:
        share, to_treasury = divmod(bond, len(holders))  # VOID-2
        payments += deposits + [payment(r["competitor"], share, "bond_share", r["id"]) for r in holders]
    payments = [p for p in payments if p["amount"] > 0]
    if ranks:
        close(run, competition, payments, {"ending": "paid"}, ranks)
        run.events.append({"event": "settled", "competition": name, "ranks": ranks, "payments": payments})
        return
    reason = "no_score" if competition["key"] else "key_missed"
    close(run, competition, payments, {"ending": "void", "reason": reason}, to_treasury=to_treasury)
    event = {"event": "voided", "competition": name, "reason": reason}
    run.events.append(event | {"payments": payments, "to_treasury": to_treasury})


def close(run, competition, payments, ending, ranks=(), to_treasury=0):
    """Pays the whole escrow out."""
    assert competition["escrow"] == sum(p["amount"] for p in payments) + to_treasury
    competition["escrow"] = 0
    competition["ending"] = {"ending": ending["ending"], "height": run.state.height} | ending
    for registration in competition["registrations"]:
        if registration["deposit"] == "held":
            registration["deposit"] = "returned"
        for rank in ranks:
            if rank["registration"] == registration["id"]:
                registration["rank"], registration["paid"] = rank["rank"], rank["amount"]
    for each in payments:
        run.state.pay(each["account"], each["amount"])
    run.state.treasury += to_treasury
