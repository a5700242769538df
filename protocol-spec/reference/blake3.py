"""BLAKE3 with 32 bytes of output: hashing and key derivation, as section 2 of the BLAKE3 paper describes them."""

import struct
from functools import lru_cache

MASK = 2**32 - 1
CHUNK, BLOCK = 1024, 64
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT, DERIVE_KEY_CONTEXT, DERIVE_KEY_MATERIAL = 1, 2, 4, 8, 32, 64
COLUMNS_AND_DIAGONALS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip


def compress(chaining, block, counter, flags):
    """The first eight words of a compression: a chaining value, or with ROOT the hash."""
    v = [*chaining, *IV[:4], counter & MASK, counter >> 32, len(block), flags]
    m = struct.unpack("<16I", block.ljust(BLOCK, b"\0"))
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(COLUMNS_AND_DIAGONALS):
            va, vb, vc, vd = v[a], v[b], v[c], v[d]
            va = (va + vb + m[2 * i]) & MASK
            vd = ((vd ^ va) >> 16 | (vd ^ va) << 16) & MASK
            vc = (vc + vd) & MASK
            vb = ((vb ^ vc) >> 12 | (vb ^ vc) << 20) & MASK
            va = (va + vb + m[2 * i + 1]) & MASK
            vd = ((vd ^ va) >> 8 | (vd ^ va) << 24) & MASK
            vc = (vc + vd) & MASK
            vb = ((vb ^ vc) >> 7 | (vb ^ vc) << 25) & MASK
            v[a], v[b], v[c], v[d] = va, vb, vc, vd
        m = [m[i] for i in PERMUTATION]
    return tuple(v[i] ^ v[i + 8] for i in range(8))


@lru_cache(maxsize=1 << 14)  # states hash the same chunks over and over
def subtree(key, data, counter, flags, root):
    """The chaining value of the chunks of `data`, the first of which is number `counter`."""
    if len(data) > CHUNK:
        # to the left, the largest power of two of whole chunks that leaves something to the right
        left = CHUNK << ((len(data) - 1) // CHUNK).bit_length() - 1
        halves = subtree(key, data[:left], counter, flags, 0)
        halves += subtree(key, data[left:], counter + left // CHUNK, flags, 0)
        return compress(key, struct.pack("<16I", *halves), 0, flags | PARENT | root)
    chaining, last = key, max(len(data) - 1, 0) // BLOCK
    for i in range(last + 1):
        ends = (CHUNK_START if i == 0 else 0) | (CHUNK_END | root if i == last else 0)
        chaining = compress(chaining, data[i * BLOCK : (i + 1) * BLOCK], counter, flags | ends)
    return chaining


def words(data):
    return struct.unpack("<8I", data)


def blake3(data, key=IV, flags=0):
    return struct.pack("<8I", *subtree(key, data, 0, flags, ROOT))


def derive_key(context, data):
    key = blake3(context.encode(), flags=DERIVE_KEY_CONTEXT)
    return blake3(data, words(key), DERIVE_KEY_MATERIAL)
