"""The tiny Llama decoder in JAX.

Weights are a flat dictionary: tensor name (as in the GGUF file) -> array.
Every projection is stored as (outputs, inputs), and applied as x @ w.T.

Shape letters: B batch, T positions, W width, H query heads, G key/value heads,
R = H / G query heads for one key/value head, D head dimension.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Config:
    """The model's shape."""

    vocabulary: int = 1024
    width: int = 256
    layers: int = 4
    query_heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    ffn: int = 640
    context: int = 2048
    norm_epsilon: float = 1e-5
    rope_base: float = 10000.0


def initial_weights(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Random float32 weights; the embedding is also the output projection."""
    random = np.random.default_rng(seed)
    q_width = config.query_heads * config.head_dim
    kv_width = config.kv_heads * config.head_dim

    def normal(outputs: int, inputs: int, deviation: float) -> np.ndarray:
        return random.normal(0, deviation, (outputs, inputs)).astype(np.float32)

    into = config.width**-0.5
    # What adds to the residual stream starts small: 2 additions a layer.
    out_scale = (2 * config.layers) ** -0.5
    weights = {"token_embd": normal(config.vocabulary, config.width, 0.02)}
    for layer in range(config.layers):
        block = f"blk.{layer}."
        weights[block + "attn_norm"] = np.ones(config.width, np.float32)
        weights[block + "attn_q"] = normal(q_width, config.width, into)
        weights[block + "attn_k"] = normal(kv_width, config.width, into)
        weights[block + "attn_v"] = normal(kv_width, config.width, into)
        weights[block + "attn_output"] = normal(
            config.width, q_width, q_width**-0.5 * out_scale
        )
        weights[block + "ffn_norm"] = np.ones(config.width, np.float32)
        weights[block + "ffn_gate"] = normal(config.ffn, config.width, into)
        weights[block + "ffn_up"] = normal(config.ffn, config.width, into)
        weights[block + "ffn_down"] = normal(
            config.width, config.ffn, config.ffn**-0.5 * out_scale
        )
    weights["output_norm"] = np.ones(config.width, np.float32)
    return weights


def rms_norm(x: jax.Array, gain: jax.Array, epsilon: float) -> jax.Array:
    """x (..., W), gain (W) -> (..., W)."""
    mean_square = jnp.mean(x * x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(mean_square + epsilon) * gain


def rope_tables(config: Config, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """positions (T) -> cosines and sines, each (T, D/2)."""
    pair = jnp.arange(0, config.head_dim, 2) / config.head_dim
    angles = positions[:, None] * config.rope_base ** -pair[None, :]
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, cosines: jax.Array, sines: jax.Array) -> jax.Array:
    """Rotate x (B, T, heads, D) by position; element i pairs with i + D/2."""
    first, second = jnp.split(x, 2, axis=-1)
    cosines, sines = cosines[:, None, :], sines[:, None, :]
    return jnp.concatenate(
        [first * cosines - second * sines, second * cosines + first * sines], axis=-1
    )


def causal_attention(q: jax.Array, k: jax.Array, v: jax.Array, block: int) -> jax.Array:
    """q (B, T, H, D), k and v (B, T, G, D) -> (B, T, H * D).

    Queries go in blocks; a block looks only at keys up to its own end, which
    leaves out most of the work that the causal mask would throw away.
    """
    batch, length, heads, head_dim = q.shape
    groups = k.shape[2]
    # (B, G, R, T, D), and (B, G, T, D)
    q = q.reshape(batch, length, groups, heads // groups, head_dim)
    q = q.transpose(0, 2, 3, 1, 4) * head_dim**-0.5
    k = k.transpose(0, 2, 1, 3)
    v = v.transpose(0, 2, 1, 3)
    outputs = []
    for start in range(0, length, block):
        end = min(start + block, length)
        scores = jnp.einsum("bgrtd,bgsd->bgrts", q[:, :, :, start:end], k[:, :, :end])
        visible = jnp.arange(end)[None, :] <= jnp.arange(start, end)[:, None]
        probabilities = jax.nn.softmax(jnp.where(visible, scores, -1e30), axis=-1)
        outputs.append(jnp.einsum("bgrts,bgsd->bgrtd", probabilities, v[:, :, :end]))
    joined = jnp.concatenate(outputs, axis=3)
    return joined.transpose(0, 3, 1, 2, 4).reshape(batch, length, heads * head_dim)


def forward(weights: dict, config: Config, tokens: jax.Array, block: int = 64) -> jax.Array:
    """tokens (B, T) -> logits (B, T, vocabulary)."""
    batch, length = tokens.shape
    cosines, sines = rope_tables(config, jnp.arange(length))

    def heads_of(x: jax.Array) -> jax.Array:
        return x.reshape(batch, length, -1, config.head_dim)

    x = weights["token_embd"][tokens]
    for layer in range(config.layers):
        w = {
            name: weights[f"blk.{layer}.{name}"]
            for name in (
                "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output",
                "ffn_norm", "ffn_gate", "ffn_up", "ffn_down",
            )
        }
        h = rms_norm(x, w["attn_norm"], config.norm_epsilon)
        q = rotate(heads_of(h @ w["attn_q"].T), cosines, sines)
        k = rotate(heads_of(h @ w["attn_k"].T), cosines, sines)
        v = heads_of(h @ w["attn_v"].T)
        x = x + causal_attention(q, k, v, block) @ w["attn_output"].T
        h = rms_norm(x, w["ffn_norm"], config.norm_epsilon)
        gated = jax.nn.silu(h @ w["ffn_gate"].T) * (h @ w["ffn_up"].T)
        x = x + gated @ w["ffn_down"].T
    x = rms_norm(x, weights["output_norm"], config.norm_epsilon)
    return x @ weights["token_embd"].T


def token_losses(weights: dict, config: Config, inputs: jax.Array, targets: jax.Array) -> jax.Array:
    """inputs and targets (B, T) -> negative log-likelihoods in nats (B, T)."""
    logits = forward(weights, config, inputs)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen
