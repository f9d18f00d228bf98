"""Write dequantize.json: random blocks of every tensor type and what the gguf wheel decodes them to.

    python make_dequantize.py

Made with gguf 0.19.0 and NumPy 2.4.6, seed 20260101. Scales are kept finite, all other bits are random.
"""

import base64
import json
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

# Byte offsets of the half-precision scales in a block.
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def main() -> None:
    random = np.random.default_rng(20260101)
    cases = {}
    for name in ["F32", "F16", "BF16", *HALVES]:
        kind = GGMLQuantizationType[name]
        values, size = GGML_QUANT_SIZES[kind]
        count = max(4, 64 // values)
        blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
        if name in HALVES:
            for offset in HALVES[name]:
                scales = random.normal(0, 0.05, count).astype(np.float16)
                scales[0] = np.float16(6e-8)  # a subnormal
                blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(count, 2)
        else:
            plain = random.normal(0, 3, count).astype(np.float32)
            plain[:4] = [0.0, -0.0, np.inf, 1e-7]
            blocks = {"F32": plain.view(np.uint8), "F16": plain.astype(np.float16).view(np.uint8), "BF16": (plain.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)}[name]
        decoded = dequantize(blocks.reshape(1, -1), kind).astype(np.float32) if name not in ("F32", "F16") else blocks.view(np.float32 if name == "F32" else np.float16).astype(np.float32)
        cases[name] = {"bytes": encode(blocks), "values": encode(decoded)}
    path = Path(__file__).parent / "dequantize.json"
    path.write_text(json.dumps({"source": "gguf 0.19.0 dequantize, see make_dequantize.py; little-endian, base64", "cases": cases}, indent=1) + "\n")


def encode(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


main()
