"""Writes golden/page-outliers.json of @kvquant/sparse from the drawing in src/page-outliers.ts, with Python's own fp16.

Run by hand: python3 generate.py. It shares no code with the package.
"""
import json
import pathlib
import struct


def section(rows):
    """Bytes of 64 rows of (index, delta) pairs."""
    counts = sum(len(row) << (4 * token) for token, row in enumerate(rows))
    entries = [entry for row in rows for entry in row]
    out = counts.to_bytes(32, "little") + b"".join(struct.pack("<e", delta) for _, delta in entries) + bytes(index for index, _ in entries)
    return out + b"\0" * (-len(out) % 4)


def case(name, rows):
    rows = rows + [[]] * (64 - len(rows))
    return {
        "name": name,
        "counts": [len(row) for row in rows],
        "deltas": [delta for row in rows for _, delta in row],
        "indices": [index for row in rows for index, _ in row],
        "hex": section(rows).hex(),
    }


def main():
    # Drawn by hand. Counts 1, 2, 0, 1: bytes 21 10. Deltas 1.0, -2.0, 0.5, 65504: 003c 00c0 0038 ff7b. Indices 3, 0, 255, 7; no padding.
    drawn = case("drawn", [[(3, 1.0)], [(0, -2.0), (255, 0.5)], [], [(7, 65504.0)]])
    assert drawn["hex"] == "2110" + "00" * 30 + "003c00c00038ff7b" + "0300ff07"
    ragged = [[((5 * token + 17 * i * i + i) % 16 + 16 * i, ((token * 37 + i * 101) % 255 - 127) / 16) for i in range((token * 7) % 16)] for token in range(64)]
    cases = [drawn, case("empty", []), case("one entry in the last token", [[]] * 63 + [[(0, -0.125)]]), case("ragged", ragged)]
    content = {"source": "generate.py; drawn in src/page-outliers.ts and docs/format.md", "cases": cases}
    (pathlib.Path(__file__).parent / "page-outliers.json").write_text(json.dumps(content) + "\n")


main()
