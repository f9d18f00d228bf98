"""The tiny model in plain NumPy, read from its GGUF file.

It shares no code with model.py, so that each can find faults in the other.
Shape letters: T positions, W width, H query heads, G key/value heads,
D head dimension.
"""

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers


@dataclass
class Model:
    """Weights by GGUF name less ".weight", in training's row order."""

    weights: dict[str, np.ndarray]
    layers: int
    query_heads: int
    kv_heads: int
    head_dim: int
    epsilon: float
    rope_base: float
    bos: int
    tokenizer: Tokenizer


def undo_permutation(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows (heads * D, W) from GGUF's order, pairs (2i, 2i + 1), to (i, i + D/2)."""
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def read_gguf(path: Path, dtype=np.float64) -> Model:
    """Read a Q8_0 GGUF; every weight comes back dequantized, as `dtype`."""
    reader = gguf.GGUFReader(path)

    def field(name: str):
        return reader.get_field(name).contents()

    query_heads = field("llama.attention.head_count")
    kv_heads = field("llama.attention.head_count_kv")
    weights = {}
    for tensor in reader.tensors:
        name = tensor.name.removesuffix(".weight")
        weight = gguf.dequantize(tensor.data, tensor.tensor_type).astype(dtype)
        if name.endswith("attn_q"):
            weight = undo_permutation(weight, query_heads)
        elif name.endswith("attn_k"):
            weight = undo_permutation(weight, kv_heads)
        weights[name] = weight

    vocabulary = {token: number for number, token in enumerate(field("tokenizer.ggml.tokens"))}
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return Model(
        weights=weights,
        layers=field("llama.block_count"),
        query_heads=query_heads,
        kv_heads=kv_heads,
        head_dim=field("llama.rope.dimension_count"),
        epsilon=field("llama.attention.layer_norm_rms_epsilon"),
        rope_base=field("llama.rope.freq_base"),
        bos=field("tokenizer.ggml.bos_token_id"),
        tokenizer=tokenizer,
    )


def rms_norm(x: np.ndarray, gain: np.ndarray, epsilon: float) -> np.ndarray:
    """x (..., W), gain (W) -> (..., W)."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * gain


def rope(x: np.ndarray, positions: np.ndarray, base: float) -> np.ndarray:
    """x (..., T, D), positions (T) -> x rotated; element i pairs with i + D/2."""
    half = x.shape[-1] // 2
    frequencies = base ** (-np.arange(half) / half)
    angles = positions[:, None] * frequencies[None, :]
    cosines, sines = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return np.concatenate(
        [first * cosines - second * sines, second * cosines + first * sines], axis=-1
    )


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def logits_of(model: Model, tokens: list[int]) -> np.ndarray:
    """tokens (T) -> logits (T, vocabulary), all positions at once, no cache."""
    length = len(tokens)
    positions = np.arange(length)
    hidden_future = positions[None, :] > positions[:, None]
    queries_for_each_key = model.query_heads // model.kv_heads
    x = model.weights["token_embd"][tokens]

    for layer in range(model.layers):

        def weight(name: str) -> np.ndarray:
            return model.weights[f"blk.{layer}.{name}"]

        h = rms_norm(x, weight("attn_norm"), model.epsilon)
        q = h @ weight("attn_q").T
        k = h @ weight("attn_k").T
        v = h @ weight("attn_v").T
        attended = np.zeros_like(q)
        for head in range(model.query_heads):
            own = slice(head * model.head_dim, (head + 1) * model.head_dim)
            kv_head = head // queries_for_each_key
            shared = slice(kv_head * model.head_dim, (kv_head + 1) * model.head_dim)
            q_head = rope(q[:, own], positions, model.rope_base)
            k_head = rope(k[:, shared], positions, model.rope_base)
            scores = q_head @ k_head.T / np.sqrt(model.head_dim)
            scores[hidden_future] = -np.inf
            attended[:, own] = softmax(scores) @ v[:, shared]
        x = x + attended @ weight("attn_output").T
        h = rms_norm(x, weight("ffn_norm"), model.epsilon)
        gated = silu(h @ weight("ffn_gate").T) * (h @ weight("ffn_up").T)
        x = x + gated @ weight("ffn_down").T

    x = rms_norm(x, model.weights["output_norm"], model.epsilon)
    return x @ model.weights["token_embd"].T
