"""The canonical encoding, digests and names (page 2, rules ENC-1 to ENC-5).

A value is what its JSON is (page 2, "JSON"): records are dictionaries, digests and keys hexadecimal text, numbers of a
tally decimal text. A type knows how to `write` a value as bytes and how to `read` one back.
"""

from functools import lru_cache

import blake3


class Malformed(Exception):
    """Bytes that encode no value (ENC-2): "truncated", "left over", "too long" or "not canonical"."""


class Reader:
    def __init__(self, data):
        self.data, self.position = data, 0

    def take(self, count):
        part = self.data[self.position : self.position + count]
        if len(part) < count:
            raise Malformed("truncated")
        self.position += count
        return part


def encode(kind, value):
    return kind.write(value)


def decode(kind, data):
    reader = Reader(data)
    value = kind.read(reader)
    if reader.position < len(data):
        raise Malformed("left over")
    return value


class Integer:
    """Little-endian, of fixed width, within limits where a decoder has them."""

    def __init__(self, size, signed=False, least=None, most=None):
        self.size, self.signed, self.least, self.most = size, signed, least, most

    def write(self, value):
        return value.to_bytes(self.size, "little", signed=self.signed)

    def read(self, reader):
        value = int.from_bytes(reader.take(self.size), "little", signed=self.signed)
        if (self.least is not None and value < self.least) or (self.most is not None and value > self.most):
            raise Malformed("not canonical")
        return value


class Decimal(Integer):
    """An integer that is decimal text in JSON."""

    def write(self, value):
        return super().write(int(value))

    def read(self, reader):
        return str(super().read(reader))


class Hex:
    def __init__(self, size):
        self.size = size

    def write(self, value):
        return bytes.fromhex(value)

    def read(self, reader):
        return reader.take(self.size).hex()


def read_length(reader, limit):
    length = U32.read(reader)
    if length > limit:
        raise Malformed("too long")
    return length


class Text:
    def __init__(self, limit):
        self.limit = limit

    def write(self, value):
        data = value.encode()
        return U32.write(len(data)) + data

    def read(self, reader):
        data = reader.take(read_length(reader, self.limit))
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise Malformed("not canonical") from None


class Sequence:
    def __init__(self, item, limit, least=0):
        self.item, self.limit, self.least = item, limit, least

    def write(self, values):
        return U32.write(len(values)) + b"".join(map(self.item.write, values))

    def read(self, reader):
        values = [self.item.read(reader) for _ in range(read_length(reader, self.limit))]
        if len(values) < self.least:
            raise Malformed("not canonical")
        return values


class Option:
    def __init__(self, item):
        self.item = item

    def write(self, value):
        return b"\0" if value is None else b"\1" + self.item.write(value)

    def read(self, reader):
        return self.item.read(reader) if read_tag(reader, 2) else None


def read_tag(reader, count):
    tag = U8.read(reader)
    if tag >= count:
        raise Malformed("not canonical")
    return tag


class Record:
    """Fields in order; after them, perhaps, the fields of a choice, which JSON shows beside the others."""

    def __init__(self, then=None, **fields):
        self.then, self.fields = then, fields

    def write(self, value):
        fields = b"".join(kind.write(value[name]) for name, kind in self.fields.items())
        return fields + (self.then.write(value) if self.then else b"")

    def read(self, reader):
        value = {name: kind.read(reader) for name, kind in self.fields.items()}
        return value | (self.then.read(reader) if self.then else {})


class Choice:
    """A tag byte, then the fields of that case; `key` names the case in JSON."""

    def __init__(self, key, **cases):
        self.key, self.names, self.cases = key, list(cases), cases

    def write(self, value):
        name = value[self.key]
        return bytes([self.names.index(name)]) + self.cases[name].write(value)

    def read(self, reader):
        name = self.names[read_tag(reader, len(self.names))]
        return {self.key: name} | self.cases[name].read(reader)


class Word:
    """A tag byte that is a word in JSON."""

    def __init__(self, *words):
        self.words = words

    def write(self, value):
        return bytes([self.words.index(value)])

    def read(self, reader):
        return self.words[read_tag(reader, len(self.words))]


class MetricType:
    """A word, or {"top_k": {"k": 5}}."""

    words = ("accuracy", "top_k", "balanced_accuracy", "macro_f1", "mse", "rmse", "mae", "r2")

    def write(self, value):
        if isinstance(value, dict):
            return b"\1" + U16.write(value["top_k"]["k"])
        return bytes([self.words.index(value)])

    def read(self, reader):
        word = self.words[read_tag(reader, len(self.words))]
        return {"top_k": {"k": U16.read(reader)}} if word == "top_k" else word


class EndingType:
    """One tag for the ending and, of a void competition, the reason."""

    tags = (("paid", None), ("void", "key_missed"), ("void", "no_score"), ("cancelled", None))

    def write(self, value):
        tag = self.tags.index((value["ending"], value.get("reason")))
        return bytes([tag]) + U64.write(value["height"])

    def read(self, reader):
        ending, reason = self.tags[read_tag(reader, len(self.tags))]
        value = {"ending": ending, "height": U64.read(reader)}
        return value | ({"reason": reason} if reason else {})


U8, U16, U32, U64 = Integer(1), Integer(2), Integer(4), Integer(8)
Digest, Key, Signature = Hex(32), Hex(32), Hex(64)
Amount = Height = Time = Nonce = U64

# Competitions
Task = Choice("kind", classification=Record(classes=U32), regression=Record(exponent=Integer(2, signed=True)))
Metric = MetricType()
Tally = Sequence(Decimal(16, most=2**100), limit=3072, least=1)
Minimum = Choice("kind", none=Record(), at_least=Record(millionths=U32), at_most=Record(sum=Decimal(16)))
Feature = Record(
    exponent=Integer(2, signed=True, least=-1000, most=1000),
    offset=Integer(8, signed=True, least=-(2**52), most=2**52),
    max=Integer(2, most=4095),
)
Blob = Record(id=Digest, length=U64)
Spec = Record(
    title=Text(120),
    description=Text(8192),
    encoding=Sequence(Feature, 65_536),
    task=Task,
    samples=U32,
    metric=Metric,
    max_parameters=U64,
    training_data=Option(Blob),
    sealed_data=Blob,
    data_digest=Digest,
    key_commitment=Digest,
    opens_at=Time,
    register_until=Time,
    key_until=Time,
    prove_until=Time,
    payouts=Sequence(U16, 64),
    deposit=Amount,
    submissions_per_registration=U8,
    registrations_per_account=U8,
    minimum=Minimum,
)

# Genesis, transactions, blocks
Parameters = Record(
    min_samples=U32,
    min_deposit=Amount,
    min_bond=Amount,
    min_window_ms=U64,
    max_duration_ms=U64,
    max_block_bytes=U32,
    max_block_transactions=U32,
)
Genesis = Record(
    name=Text(64),
    protocol_version=U16,
    time=Time,
    validators=Sequence(Record(account=Key, power=U64), 256),
    balances=Sequence(Record(account=Key, amount=Amount), 65_536),
    parameters=Parameters,
)
Measure = Choice("measure", set_power=Record(account=Key, power=U64), upgrade=Record(version=U16, height=Height))
Action = Choice(
    "action",
    transfer=Record(to=Key, amount=Amount),
    open_competition=Record(spec=Spec, prize=Amount, bond=Amount),
    cancel_competition=Record(competition=Digest),
    register=Record(competition=Digest, model=Digest),
    withdraw=Record(registration=Digest),
    release_key=Record(competition=Digest, key=Key),
    submit_proof=Record(registration=Digest, tally=Tally, proof=Blob),
    approve=Record(measure=Measure, set_version=U64),
    rotate_key=Record(to=Key, possession=Signature),
)
Transaction = Record(network=Digest, sender=Key, nonce=Nonce, then=Action)
SignedTransaction = Record(transaction=Transaction, signature=Signature)
Block = Record(
    version=U16,
    network=Digest,
    height=Height,
    time=Time,
    parent=Digest,
    proposer=Key,
    state_root=Digest,
    transactions=Sequence(SignedTransaction, 10_000),
)

# What the state root covers
Account = Record(balance=Amount, nonce=Nonce)
Position = Record(height=Height, index=U32)
Verdict = Word("invalid", "valid")
Submission = Record(transaction=Digest, tally=Tally, proof=Blob, verdict=Verdict, height=Height, time=Time)
Registration = Record(
    id=Digest,
    competition=Digest,
    competitor=Key,
    model=Digest,
    registered=Position,
    registered_at=Time,
    deposit=Word("held", "returned", "forfeited"),
    submissions=Sequence(Submission, 255),
    rank=Option(U32),
    paid=Amount,
)
Competition = Record(  # without its terms, which their digest stands for
    id=Digest,
    host=Key,
    spec_digest=Digest,
    prize=Amount,
    bond=Amount,
    opened=Position,
    opened_at=Time,
    escrow=Amount,
    key=Option(Key),
    key_height=Option(Height),
    registrations=Sequence(Registration, 4096),
    ending=Option(EndingType()),
)

Validator = Record(account=Key, power=U64, rotated_at=Option(Height), approvals=Sequence(Measure, 8))
Governance = Record(
    validators=Sequence(Validator, 256),
    set_version=U64,
    protocol_version=U16,
    upgrade=Option(Record(version=U16, height=Height)),
)

# What a judge is asked about a proof
Context = Record(network=Digest, competition=Digest, registration=Digest, competitor=Key, nonce=Nonce)
ProofClaim = Record(
    context=Context,
    model=Digest,
    data=Digest,
    samples=U32,
    width=U32,
    task=Task,
    max_parameters=U64,
    metric=Metric,
    tally=Tally,
)


class DatasetType:
    """Width, task and number of samples, then all inputs, then all targets."""

    head = Record(width=U32, task=Task, samples=U32)

    def target(self, task):
        if task["kind"] == "regression":
            return Integer(4, signed=True, least=-(2**24), most=2**24)
        return Integer(2, most=task["classes"] - 1)

    def write(self, value):
        kind = self.target(value["task"])
        head = self.head.write(value | {"samples": len(value["targets"])})
        return head + b"".join(map(U16.write, value["inputs"])) + b"".join(map(kind.write, value["targets"]))

    def read(self, reader):
        head = self.head.read(reader)
        width, samples, task = head["width"], head["samples"], head["task"]
        if width > 65_536 or samples > 1_000_000:
            raise Malformed("too long")
        of_classes = task["kind"] == "classification"
        possible = 1 <= task["classes"] <= 1024 if of_classes else abs(task["exponent"]) <= 256
        if not possible or not 1 <= width * samples <= 2**28:
            raise Malformed("not canonical")
        inputs = [Integer(2, most=4095).read(reader) for _ in range(samples * width)]
        targets = [self.target(task).read(reader) for _ in range(samples)]
        return {"width": width, "task": task, "inputs": inputs, "targets": targets}


Dataset = DatasetType()

SIGNING_CONTEXT = b"agon 2026-11 transaction signature"
POSSESSION_CONTEXT = b"agon 2026-11 validator key possession"


@lru_cache(maxsize=1 << 12)
def digest(use, data):
    """A digest of the kind that page 2 calls `use`, such as "block id"."""
    return blake3.derive_key("agon 2026-11 " + use, data).hex()


def blob_id(data):
    return blake3.blake3(data).hex()


def network_id(genesis):
    return digest("network id", encode(Genesis, genesis))


def genesis_block_id(genesis):
    return digest("block id", encode(Genesis, genesis))


def block_id(block):
    return digest("block id", encode(Block, block))


def signing_bytes(transaction):
    return SIGNING_CONTEXT + encode(Transaction, transaction)


def possession_bytes(network, old):
    return POSSESSION_CONTEXT + bytes.fromhex(network + old)


def transaction_id(signed):
    return digest("transaction id", encode(SignedTransaction, signed))


def competition_id(transaction):
    return digest("competition id", bytes.fromhex(transaction))


def registration_id(transaction):
    return digest("registration id", bytes.fromhex(transaction))


def key_commitment(key):
    return digest("data key commitment", bytes.fromhex(key))


def spec_digest(spec):
    return digest("competition specification", encode(Spec, spec))


def bucket_digests(kind, records):
    """Of `records` by name: the digests of their 256 buckets, first to last (rule ENC-4)."""
    buckets = [[] for _ in range(256)]
    for name, record in sorted(records.items()):
        buckets[int(name[:2], 16)].append(bytes.fromhex(name) + encode(kind, record))
    found = (digest("state bucket", U32.write(len(bucket)) + b"".join(bucket)) for bucket in buckets)
    return b"".join(map(bytes.fromhex, found))
