"""Write golden values for the tiny model, computed in float64 from its GGUF.

    python golden.py --models MODELS_FOLDER

Reads tiny.gguf; writes tiny-golden.json. Every text is run with BOS in front;
the encode cases are without BOS.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

from reference import logits_of, read_gguf

TEXTS = [
    "Call me Ishmael. Some years ago—never mind how long precisely—having little or no money",
    "“Well, Prince, so Genoa and Lucca are now just family estates of the Buonapartes.",
]
ENCODE_CASES = [
    "",
    "Hello, world!",
    "the whale",
    " the whale",
    "I'm sure they've said it's what we'll do, if you'd let them; don't.",
    "“It’s nothing,” said Natásha.",
    "In 1805 and 1812: 3.14159 + 2,718 = ?",
    "one  two   three    four",
    "  leading and trailing  ",
    "first line\nsecond line\n\n    CHAPTER II\n\n",
    "tabs\tand\r\nreturns \n \n mixed",
    "naïve café, Ærøskøbing, Привет, 日本語, ٣٤",
    "emoji: 🐋🚢 and e\u0301 combined, \u00a0no-break",
    "x==y && z!=0 // snake_case CamelCase <b>",
    "'twas 'S 'LL it'S n't 're",
]
GREEDY_PROMPT = "The old man looked at the sea, and"
GREEDY_LENGTH = 32


def golden_text(model, text: str) -> dict:
    """Ids with BOS, last position's logits, mean loss of the text's tokens."""
    ids = [model.bos] + model.tokenizer.encode(text).ids
    logits = logits_of(model, ids)
    top = logits.max(axis=-1, keepdims=True)
    log_totals = top[:, 0] + np.log(np.exp(logits - top).sum(axis=-1))
    losses = [log_totals[i] - logits[i, ids[i + 1]] for i in range(len(ids) - 1)]
    return {
        "text": text,
        "ids": ids,
        "mean_nll_nats": round(float(np.mean(losses)), 9),
        "last_logits": [round(float(value), 6) for value in logits[-1]],
    }


def golden_greedy(model) -> dict:
    """The likeliest next token, again and again."""
    prompt = [model.bos] + model.tokenizer.encode(GREEDY_PROMPT).ids
    ids = list(prompt)
    smallest_margin = np.inf
    for _ in range(GREEDY_LENGTH):
        last = logits_of(model, ids)[-1]
        second, first = np.sort(last)[-2:]
        smallest_margin = min(smallest_margin, first - second)
        ids.append(int(np.argmax(last)))
    continuation = ids[len(prompt) :]
    return {
        "prompt": GREEDY_PROMPT,
        "prompt_ids": prompt,
        "continuation_ids": continuation,
        "continuation": model.tokenizer.decode(continuation),
        "smallest_logit_margin": round(float(smallest_margin), 6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    options = parser.parse_args()
    path = options.models / "tiny.gguf"
    model = read_gguf(path)
    golden = {
        "about": "float64 values from the dequantized tiny.gguf; ids of texts and of the prompt start with BOS, those of encode cases do not",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "texts": [golden_text(model, text) for text in TEXTS],
        "encode": [
            {"text": text, "ids": model.tokenizer.encode(text).ids} for text in ENCODE_CASES
        ],
        "greedy": golden_greedy(model),
    }
    target = options.models / "tiny-golden.json"
    target.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(golden["greedy"]["continuation"], golden["greedy"]["smallest_logit_margin"])
    print([text["mean_nll_nats"] for text in golden["texts"]])


if __name__ == "__main__":
    main()
