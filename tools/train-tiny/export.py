"""Write a trained run as GGUF, and its figures beside it.

    python export.py --run RUN_FOLDER --models MODELS_FOLDER BOOK.txt BOOK.txt ...

Writes tiny.gguf and tiny.json. The books must be those of the training: their
held-out parts are what the figures in bits a byte are measured on.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import gguf
import jax.numpy as jnp
import numpy as np

from model import Config
from reference import read_gguf
from tokenizer import BOS, BOS_ID, EOS, EOS_ID, encode, load_tokenizer
from train import bits_per_byte, read_books

NAME = "kvquant-tiny"
LICENSE = "apache-2.0"


def permute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of a q or k projection (heads * D, W) for GGUF.

    Training pairs element i of a head with i + D/2 in RoPE; a GGUF of the
    "llama" architecture pairs 2i with 2i + 1.
    """
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def write_gguf(path: Path, config: Config, weights: dict[str, np.ndarray], tokenizer) -> None:
    """2-D weights become Q8_0; norms stay float32."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(NAME)
    writer.add_license(LICENSE)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(config.ffn)
    writer.add_head_count(config.query_heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_vocab_size(config.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)

    tokens = [tokenizer.id_to_token(number) for number in range(config.vocabulary)]
    types = [
        gguf.TokenType.CONTROL if token in (BOS, EOS) else gguf.TokenType.NORMAL
        for token in tokens
    ]
    merges = [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(BOS_ID)
    writer.add_eos_token_id(EOS_ID)
    writer.add_add_bos_token(True)

    for name, weight in weights.items():
        if name.endswith("attn_q"):
            weight = permute(weight, config.query_heads)
        elif name.endswith("attn_k"):
            weight = permute(weight, config.kv_heads)
        kind = gguf.GGMLQuantizationType.Q8_0 if weight.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name + ".weight", gguf.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("books", nargs="+", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--titles", nargs="*", default=[], help="titles of the books, for the record")
    options = parser.parse_args()

    config = Config()
    tokenizer = load_tokenizer(options.run / "tokenizer.json")
    with np.load(options.run / "weights.npz") as stored:
        trained = {name: stored[name] for name in stored.files}
    options.models.mkdir(parents=True, exist_ok=True)
    path = options.models / "tiny.gguf"
    write_gguf(path, config, trained, tokenizer)
    print(f"{path}: {path.stat().st_size} bytes")

    held_out = [
        np.array(encode(tokenizer, text), np.int32) for _, text in read_books(options.books)
    ]
    on_device = {name: jnp.asarray(w, jnp.float32) for name, w in read_gguf(path).weights.items()}
    run = json.loads((options.run / "run.json").read_text())
    figures = {}
    for length in (512, config.context):
        figures[f"fp32_windows_of_{length}"] = run.pop(f"held_out_bits_per_byte_{length}")
        measured = bits_per_byte(config, on_device, held_out, tokenizer, length)
        figures[f"q8_0_windows_of_{length}"] = round(measured, 4)
    print(figures)

    sidecar = {
        "name": NAME,
        "license": LICENSE,
        "training_data": options.titles or [book.name for book in options.books],
        "held_out": "the last 5 % of each book",
        "held_out_bits_per_byte": figures,
        "weights": int(sum(w.size for w in trained.values())),
        "shape": asdict(config),
        "training": run,
    }
    (options.models / "tiny.json").write_text(json.dumps(sidecar, indent=2) + "\n")


if __name__ == "__main__":
    main()
