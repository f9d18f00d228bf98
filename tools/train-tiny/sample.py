"""Sample documents from the tiny model.

    python sample.py --models MODELS_FOLDER

Reads tiny.gguf; writes tiny.txt (documents joined by blank lines) and adds the
sampling's settings to tiny.json. All documents grow together, one token each a
step, with their keys and values cached.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from reference import Model, read_gguf, rms_norm, rope, silu, softmax


class Cache:
    """Keys and values of all documents: (layers, documents, G, context, D)."""

    def __init__(self, model: Model, documents: int, context: int):
        shape = (model.layers, documents, model.kv_heads, context, model.head_dim)
        self.keys = np.zeros(shape, np.float32)
        self.values = np.zeros(shape, np.float32)


def next_logits(model: Model, cache: Cache, tokens: np.ndarray, position: int) -> np.ndarray:
    """tokens (documents), all at `position` -> logits (documents, vocabulary)."""
    documents = len(tokens)
    here = np.array([position])
    x = model.weights["token_embd"][tokens]
    for layer in range(model.layers):

        def project(name: str, inputs: np.ndarray) -> np.ndarray:
            return inputs @ model.weights[f"blk.{layer}.{name}"].T

        gain = model.weights[f"blk.{layer}.attn_norm"]
        h = rms_norm(x, gain, model.epsilon)
        # (documents, G, H / G, D) for queries, (documents, G, 1, D) for keys and values
        q = project("attn_q", h).reshape(documents, model.kv_heads, -1, 1, model.head_dim)
        q = rope(q, here, model.rope_base)[:, :, :, 0]
        k = project("attn_k", h).reshape(documents, model.kv_heads, 1, model.head_dim)
        v = project("attn_v", h).reshape(documents, model.kv_heads, 1, model.head_dim)
        cache.keys[layer][:, :, position] = rope(k, here, model.rope_base)[:, :, 0]
        cache.values[layer][:, :, position] = v[:, :, 0]
        keys = cache.keys[layer][:, :, : position + 1]
        values = cache.values[layer][:, :, : position + 1]
        scores = q @ keys.swapaxes(-1, -2) / np.float32(np.sqrt(model.head_dim))
        attended = (softmax(scores) @ values).reshape(documents, -1)
        x = x + project("attn_output", attended)
        h = rms_norm(x, model.weights[f"blk.{layer}.ffn_norm"], model.epsilon)
        x = x + project("ffn_down", silu(project("ffn_gate", h)) * project("ffn_up", h))
    x = rms_norm(x, model.weights["output_norm"], model.epsilon)
    return x @ model.weights["token_embd"].T


def choose(logits: np.ndarray, temperature: float, top_p: float, random: np.random.Generator) -> int:
    """Draw from the likeliest tokens whose probabilities first reach top_p."""
    probabilities = softmax(logits.astype(np.float64) / temperature)
    order = np.argsort(-probabilities, kind="stable")
    totals = np.cumsum(probabilities[order])
    kept = int(np.searchsorted(totals, top_p)) + 1
    drawn = random.random() * totals[kept - 1]
    return int(order[np.searchsorted(totals[:kept], drawn, side="right")])


def sample(model: Model, documents: int, length: int, temperature: float, top_p: float, seed: int) -> np.ndarray:
    """Token ids (documents, length), BOS left out."""
    random = np.random.default_rng(seed)
    cache = Cache(model, documents, length)
    tokens = np.full(documents, model.bos)
    drawn = np.zeros((documents, length), np.int64)
    for position in range(length):
        logits = next_logits(model, cache, tokens, position)
        tokens = np.array([choose(row, temperature, top_p, random) for row in logits])
        drawn[:, position] = tokens
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--documents", type=int, default=12)
    parser.add_argument("--length", type=int, default=1900, help="tokens of a document")
    options = parser.parse_args()
    model = read_gguf(options.models / "tiny.gguf", np.float32)
    drawn = sample(
        model, options.documents, options.length, options.temperature, options.top_p, options.seed
    )
    documents = [model.tokenizer.decode(row.tolist()).strip() for row in drawn]
    text = "\n\n".join(documents) + "\n"
    (options.models / "tiny.txt").write_text(text, encoding="utf-8")

    sidecar_path = options.models / "tiny.json"
    sidecar = json.loads(sidecar_path.read_text())
    sidecar["sample"] = {
        "file": "tiny.txt",
        "seed": options.seed,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "documents": options.documents,
        "tokens_each": options.length,
        "bytes": len(text.encode()),
    }
    sidecar_path.write_text(json.dumps(sidecar, indent=2) + "\n")
    print(f"{len(text.encode())} bytes")


if __name__ == "__main__":
    main()
