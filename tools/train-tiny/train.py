"""Train the tiny model on text files.

    python train.py --out RUN_FOLDER BOOK.txt BOOK.txt ...

Writes to RUN_FOLDER: tokenizer.json, weights.npz (newest), run.json (figures).
"""

import argparse
import json
import math
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from model import Config, initial_weights, token_losses
from tokenizer import BOS_ID, encode, load_tokenizer, train_tokenizer

HELD_OUT = 0.05  # the last part of each book
BETA1, BETA2, ADAM_EPSILON = 0.9, 0.98, 1e-9


def read_books(paths: list[Path]) -> list[tuple[str, str]]:
    """Each book as (training text, held-out text), cut at a line's end."""
    books = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        cut = text.index("\n", int(len(text) * (1 - HELD_OUT))) + 1
        books.append((text[:cut], text[cut:]))
    return books


def windows(tokens: np.ndarray, length: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cut tokens (N) into inputs and targets, each (windows, length).

    Inputs are BOS and then the targets but the last. A last part shorter than
    `length` is left out.
    """
    count = (len(tokens) - start) // length
    targets = tokens[start : start + count * length].reshape(count, length)
    inputs = np.concatenate([np.full((count, 1), BOS_ID, targets.dtype), targets[:, :-1]], axis=1)
    return inputs, targets


def batches(books: list[np.ndarray], length: int, batch: int, random: np.random.Generator):
    """Endless (inputs, targets) pairs, each (batch, length).

    Every epoch shuffles all windows of all books, cut from a new random start.
    """
    while True:
        cuts = [windows(book, length, int(random.integers(length))) for book in books]
        inputs = np.concatenate([cut[0] for cut in cuts])
        targets = np.concatenate([cut[1] for cut in cuts])
        order = random.permutation(len(inputs))
        for first in range(0, len(order) - batch + 1, batch):
            chosen = order[first : first + batch]
            yield inputs[chosen], targets[chosen]


@partial(jax.jit, static_argnums=(0,), donate_argnums=(1, 2, 3))
def train_step(config, weights, mean, square, step, rate, decay, clip, inputs, targets):
    """One AdamW step; `mean` and `square` are the gradient's running moments."""

    def loss_of(weights):
        return jnp.mean(token_losses(weights, config, inputs, targets))

    loss, gradient = jax.value_and_grad(loss_of)(weights)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradient.values()))
    shrink = jnp.minimum(1.0, clip / norm)
    new_weights, new_mean, new_square = {}, {}, {}
    for name, w in weights.items():
        g = gradient[name] * shrink
        m = BETA1 * mean[name] + (1 - BETA1) * g
        s = BETA2 * square[name] + (1 - BETA2) * g * g
        direction = (m / (1 - BETA1**step)) / (jnp.sqrt(s / (1 - BETA2**step)) + ADAM_EPSILON)
        if w.ndim == 2:  # norms are not decayed
            direction = direction + decay * w
        new_weights[name] = w - rate * direction
        new_mean[name], new_square[name] = m, s
    return new_weights, new_mean, new_square, loss, norm


@partial(jax.jit, static_argnums=(0,))
def summed_loss(config, weights, inputs, targets):
    """Negative log-likelihood of a batch in nats."""
    return jnp.sum(token_losses(weights, config, inputs, targets))


def bits_per_byte(config, weights, tokens_of_texts, tokenizer, length: int) -> float:
    """Loss over all whole windows of the texts, in bits a byte of text."""
    nats, byte_count = 0.0, 0
    for tokens in tokens_of_texts:
        inputs, targets = windows(tokens, length)
        for row in range(len(inputs)):
            nats += float(summed_loss(config, weights, inputs[row : row + 1], targets[row : row + 1]))
            byte_count += token_byte_count(tokenizer, targets[row])
    return nats / math.log(2) / byte_count


def token_byte_count(tokenizer, tokens: np.ndarray) -> int:
    """Bytes of text for which the tokens stand (a byte is one vocabulary character)."""
    return sum(len(tokenizer.id_to_token(int(token))) for token in tokens)


def learning_rate(step: int, steps: int, warm_up: int, peak: float) -> float:
    """Linear warm-up, then a cosine down to a fiftieth of the peak."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("books", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=20240501)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--long-steps", type=int, default=200, help="how many of the steps, at the end, are long")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4, help="sequences of --length a step")
    parser.add_argument("--long-length", type=int, default=2048)
    parser.add_argument("--long-batch", type=int, default=1)
    parser.add_argument("--warm-up", type=int, default=60)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--save-every", type=int, default=400)
    parser.add_argument("--stop-after", type=int, default=None, help="for timing only")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    books = read_books(options.books)
    tokenizer_path = options.out / "tokenizer.json"
    if not tokenizer_path.exists():
        train_tokenizer([text for text, _ in books]).save(str(tokenizer_path))
    tokenizer = load_tokenizer(tokenizer_path)
    training = [np.array(encode(tokenizer, text), np.int32) for text, _ in books]
    held_out = [np.array(encode(tokenizer, text), np.int32) for _, text in books]
    train_tokens = sum(map(len, training))
    held_out_bytes = sum(len(text.encode()) for _, text in books)
    print(f"{train_tokens} training tokens, {sum(map(len, held_out))} held out, "
          f"{held_out_bytes / sum(map(len, held_out)):.3f} bytes a token", flush=True)

    config = Config()
    weights = {name: jnp.asarray(w) for name, w in initial_weights(config, options.seed).items()}
    print(f"{sum(w.size for w in weights.values())} weights", flush=True)
    mean = {name: jnp.zeros_like(w) for name, w in weights.items()}
    square = {name: jnp.zeros_like(w) for name, w in weights.items()}
    random = np.random.default_rng(options.seed)
    short = batches(training, options.length, options.batch, random)
    long = batches(training, options.long_length, options.long_batch, random)

    started, tokens_seen, running = time.time(), 0, None
    for step in range(options.steps):
        is_long = step >= options.steps - options.long_steps
        inputs, targets = next(long if is_long else short)
        rate = learning_rate(step, options.steps, options.warm_up, options.rate)
        weights, mean, square, loss, norm = train_step(
            config, weights, mean, square, step + 1.0, rate, options.decay, options.clip, inputs, targets
        )
        tokens_seen += inputs.size
        running = float(loss) if running is None else 0.98 * running + 0.02 * float(loss)
        if step % 20 == 0 or step < 5:
            print(f"step {step} loss {running:.4f} norm {float(norm):.2f} rate {rate:.5f} "
                  f"tokens {tokens_seen} seconds {time.time() - started:.0f}", flush=True)
        if step + 1 == options.stop_after:
            return
        last = step + 1 == options.steps
        if last or (step + 1) % options.save_every == 0:
            np.savez(options.out / "weights.tmp.npz", **{name: np.asarray(w) for name, w in weights.items()})
            (options.out / "weights.tmp.npz").rename(options.out / "weights.npz")
            figures = {
                "seed": options.seed,
                "steps": step + 1,
                "steps_planned": options.steps,
                "long_steps": options.long_steps,
                "tokens_seen": tokens_seen,
                "training_tokens": train_tokens,
                "sequence_length": options.length,
                "batch": options.batch,
                "long_sequence_length": options.long_length,
                "long_batch": options.long_batch,
                "optimizer": "AdamW",
                "betas": [BETA1, BETA2],
                "peak_rate": options.rate,
                "schedule": "linear warm-up, cosine to 2 % of the peak",
                "warm_up_steps": options.warm_up,
                "weight_decay": options.decay,
                "gradient_clip": options.clip,
                "training_loss_nats_per_token": round(running, 4),
                "seconds": round(time.time() - started),
            }
            # Both lengths at the end; only the short one, for a glance, before.
            for length in (options.length, options.long_length) if last else (options.length,):
                figures[f"held_out_bits_per_byte_{length}"] = round(
                    bits_per_byte(config, weights, held_out, tokenizer, length), 4
                )
            (options.out / "run.json").write_text(json.dumps(figures, indent=2) + "\n")
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
