"""Write vocabulary-only GGUF files and the texts to encode, for llama_cpp_ids.mjs.

    python make_tokenizer_cases.py FOLDER BOOK.txt STORIES_TOKENIZER.json

A byte-level BPE vocabulary is trained on the book; one file is written for each pre-tokenizer.
Needs the PyPI wheels gguf and tokenizers. Made with gguf 0.19.0, tokenizers 0.23.3.
"""

import json
import sys
from pathlib import Path

import gguf
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

TEXTS = [
    "", " ", "  ", "a", "Hello, world!", "Hello  world", " leading and trailing ", "The year 1984 and 12345678.",
    "don't DON'T we'll I'VE it's 'Tis o'clock", "line one\nline two\n\n\nline five\r\nsix\r\n\r\n", "\ttabs\t\tand\n\n  indents\n\t \n",
    "for (let i = 0; i < n; i++) { x[i] += 2.5e-3; }", "caf\u00e9 na\u00efve \u00fcber stra\u00dfe", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3067\u3059\u3002",
    "\u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0442\u0435\u043a\u0441\u0442, \u0435\u0449\u0451", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 emoji \u2764\ufe0f!", "a\u0301 combining e\u0301\u0323",
    "\u00bd \u00b2 \u0663\u0664\u0665 \u2167 numbers", "\u00a0nbsp\u2003em\u3000ideographic\u0085next", "\ufeffbom", "$100 + 5% = <105> ^~| `x`",
    "...!!!???---___***", "http://example.org/a?b=c&d=e#f", "x" * 70, " " * 17 + "x", "\n" * 9, "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0648\u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "<|im_start|>user\nHi<|im_end|>\n", "mixed123abc 4five6 7,890.12", "\u0000\u0001\u007f",
    "It was the best of times, it was the worst of times; it was the age of wisdom.", "'s 't 're'S'LL 'd", "\u2581under\u2581score", "\u017ft '\u017f",
]
PRE = ["smollm", "gpt-2", "llama-bpe", "qwen2", "default"]


def train(book: str) -> dict:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator([book], trainers.BpeTrainer(vocab_size=800, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [" ".join(pair) for pair in model["merges"]]
    # An entry that no merge makes: only a pre-tokenizer with ignored merges takes it whole.
    tokens.append("\u0120wisdom")
    types = [3] * 3 + [1] * (len(tokens) - 3)
    return {"tokens": tokens, "merges": merges, "types": types}


def start(path: Path, tokens, types) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    return writer


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    folder, book, stories = Path(sys.argv[1]), Path(sys.argv[2]).read_text("utf-8"), json.loads(Path(sys.argv[3]).read_text("utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    bpe = train(book[:400_000])
    (folder / "bpe.json").write_text(json.dumps(bpe, ensure_ascii=False))
    for pre in PRE:
        writer = start(folder / f"{pre}.gguf", bpe["tokens"], bpe["types"])
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_merges(bpe["merges"])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        finish(writer)

    # The vocabulary of stories260K with its merges turned back into scores, as llama.cpp wants them.
    vocabulary = stories["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.get)
    rank = {}
    for index, merge in enumerate(stories["model"]["merges"]):
        rank.setdefault(merge.replace(" ", ""), index)
    scores = [-float(rank[token]) if token in rank else -1e4 for token in tokens]
    types = [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
    (folder / "sentencepiece.json").write_text(json.dumps({"tokens": tokens, "scores": scores, "types": types}, ensure_ascii=False))
    writer = start(folder / "sentencepiece.gguf", tokens, types)
    writer.add_tokenizer_model("llama")
    writer.add_token_scores(scores)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    finish(writer)
    (folder / "texts.json").write_text(json.dumps(TEXTS))


main()
