"""Writes the golden files of @kvquant/packing, straight from the drawings in the docstrings, one bit at a time.

Run by hand: python3 generate.py. It shares no code with the package.
Generator of codes: code n of a list is ((n * n * 2654435761 + n * 40503 + 12345) mod 2^32) >> 13, lowest `bits` bits.
"""
import hashlib
import json
import pathlib

HERE = pathlib.Path(__file__).parent


def codes(count, bits):
    return [(((n * n * 2654435761 + n * 40503 + 12345) % 2**32) >> 13) % 2**bits for n in range(count)]


def from_bits(positions, byte_count):
    """Bytes with the given (bit position -> 0/1); every position exactly once."""
    out = bytearray(byte_count)
    assert sorted(positions) == list(range(8 * byte_count))
    for position, bit in positions.items():
        out[position // 8] |= bit << (position % 8)
    return bytes(out)


def linear(values, bits):
    total = -(-len(values) * bits // 8)
    return sum(v << (bits * n) for n, v in enumerate(values)).to_bytes(total, "little")


def key_bit(bits, token, j, i):
    """Absolute bit of bit i of code j of a token in a key page."""
    lane = 31 - token if token < 32 else token
    group, c = divmod(j, 16)
    per_word = {2: 8, 3: 5, 4: 4, 5: 3}[bits]
    word, bit = (c // per_word, bits * (c % per_word) + i) if c < per_word * bits else (i, 15)
    return ((group * bits + word) * 64 + lane) * 16 + bit


VALUE_5 = {5: [(0, 5), (0, 6), (0, 7), (3, 5), (3, 6)], 6: [(1, 5), (1, 6), (1, 7), (4, 5), (4, 6)], 7: [(2, 5), (2, 6), (2, 7), (3, 7), (4, 7)]}
VALUE_3 = {6: [(0, 6), (0, 7), (2, 6)], 7: [(1, 6), (1, 7), (2, 7)]}


def value_bit(bits, head_dim, token, channel, i):
    """Absolute bit of bit i of the code of a token and channel in a value page."""
    n = (token // 4) * (head_dim // 16) + channel // 16
    lane = 4 * (channel % 16) + token % 4
    unit, v = divmod(n, {2: 4, 3: 8, 4: 2, 5: 8}[bits])
    if bits in (2, 4):
        byte, bit = 0, bits * v + i
    elif bits == 3:
        byte, bit = VALUE_3[v][i] if v >= 6 else (v // 2, 3 * (v % 2) + i)
    else:
        byte, bit = VALUE_5[v][i] if v >= 5 else (v, i)
    return ((unit * {2: 1, 3: 3, 4: 1, 5: 5}[bits] + byte) * 64 + lane) * 8 + bit


def page(bits, head_dim, place):
    values = codes(64 * head_dim, bits)
    positions = {place(t, c, i): values[t * head_dim + c] >> i & 1 for t in range(64) for c in range(head_dim) for i in range(bits)}
    return from_bits(positions, 8 * head_dim * bits)


def write(name, content):
    (HERE / name).write_text(json.dumps(content, indent=1) + "\n")


def pages(place):
    return [
        {"bits": bits, "headDim": d, "sha256": hashlib.sha256(page(bits, d, lambda t, c, i: place(bits, d, t, c, i))).hexdigest()}
        for bits in (2, 3, 4, 5)
        for d in (16, 32, 64, 80, 96, 128, 256)
    ]


def main():
    source = "generate.py; layouts drawn in src/*.ts and docs/format.md"
    write("linear.json", {
        "source": source,
        # c0 .. c7 = 0 .. 7 at three bits: 10_001_000, 1_100_011_0, 111_110_10 (bit 7 first) = 0x88 0xc6 0xfa
        "drawn": {"bits": 3, "codes": [0, 1, 2, 3, 4, 5, 6, 7], "hex": "88c6fa"},
        "generated": [{"bits": b, "count": n, "hex": linear(codes(n, b), b).hex()} for b in (1, 2, 3, 4, 5, 8) for n in (0, 1, 7, 8, 9, 31)],
    })
    # One code each, all others zero; the bytes that are not zero, worked out by hand from the drawing.
    write("key-lanes.json", {
        "source": source,
        "drawn": [
            {"why": "token 31 is lane 0; code 0 is bits 0-2 of word 0", "bits": 3, "headDim": 32, "token": 31, "column": 0, "code": 5, "bytes": {"0": 5}},
            {"why": "token 0 is lane 31; code 2 is bits 6-8 of word 0", "bits": 3, "headDim": 32, "token": 0, "column": 2, "code": 7, "bytes": {"62": 192, "63": 1}},
            {"why": "token 32 is lane 32; code 15 bits 0, 2 are bits 15 of words 0, 2", "bits": 3, "headDim": 32, "token": 32, "column": 15, "code": 5, "bytes": {"65": 128, "321": 128}},
            {"why": "second group starts at byte 384; token 63 is lane 63; code 16 + 6 is bits 3-5 of word 1", "bits": 3, "headDim": 32, "token": 63, "column": 22, "code": 3, "bytes": {"638": 24}},
            {"why": "code 14 is bits 10-14 of word 4", "bits": 5, "headDim": 16, "token": 31, "column": 14, "code": 31, "bytes": {"513": 124}},
            {"why": "code 15 bit 4 is bit 15 of word 4", "bits": 5, "headDim": 16, "token": 31, "column": 15, "code": 16, "bytes": {"513": 128}},
            {"why": "code 7 is bits 12-15 of word 1", "bits": 4, "headDim": 16, "token": 30, "column": 7, "code": 9, "bytes": {"131": 144}},
            {"why": "code 12 is bits 8-9 of word 1", "bits": 2, "headDim": 16, "token": 31, "column": 12, "code": 2, "bytes": {"129": 2}},
        ],
        "generated": pages(lambda bits, d, t, c, i: key_bit(bits, t, c, i)),
    })
    write("value-lanes.json", {
        "source": source,
        "drawn": [
            {"why": "quad 0, group 0: low nibble of the first 64 bytes; lane 4 * 1 + 2", "bits": 4, "headDim": 32, "token": 2, "column": 1, "code": 9, "bytes": {"6": 9}},
            {"why": "quad 1, group 1: vector 3, high nibble of unit 1; lane 4 * 0 + 1", "bits": 4, "headDim": 32, "token": 5, "column": 16, "code": 9, "bytes": {"65": 144}},
            {"why": "head dim 16: quad 2 is vector 2, bits 4-5 of byte 0", "bits": 2, "headDim": 16, "token": 8, "column": 15, "code": 3, "bytes": {"60": 48}},
            {"why": "head dim 16: quad 6 is vector 6: bits 0-1 in byte 0 at 6-7, bit 2 in byte 2 at 6", "bits": 3, "headDim": 16, "token": 24, "column": 0, "code": 5, "bytes": {"0": 64, "128": 64}},
            {"why": "head dim 128: quad 0, group 7: bits 0-1 in byte 1 at 6-7, bit 2 in byte 2 at 7", "bits": 3, "headDim": 128, "token": 0, "column": 112, "code": 6, "bytes": {"64": 128, "128": 128}},
            {"why": "head dim 64: quad 1, group 3 is vector 7: low 3 bits in byte 2, bit 3 in byte 3, bit 4 in byte 4, all at the top", "bits": 5, "headDim": 64, "token": 4, "column": 48, "code": 31, "bytes": {"128": 224, "192": 128, "256": 128}},
            {"why": "head dim 64: quad 1, group 1 is vector 5: low 3 bits in byte 0, high 2 in byte 3 at 5-6", "bits": 5, "headDim": 64, "token": 4, "column": 16, "code": 24, "bytes": {"192": 96}},
        ],
        "generated": pages(value_bit),
    })


main()
