"""Byte-level BPE tokenizer of the tiny model: training, saving, loading."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY_SIZE = 1024
BOS = "<|bos|>"
EOS = "<|eos|>"
BOS_ID = 0
EOS_ID = 1


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Learn the merges from `texts`.

    The vocabulary is: two special tokens, 256 byte symbols, then the merges.
    The pre-tokenizer is GPT-2's regular expression, without a prefix space.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=True
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY_SIZE
    assert tokenizer.token_to_id(BOS) == BOS_ID
    assert tokenizer.token_to_id(EOS) == EOS_ID
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer that `train_tokenizer` made and `save` wrote."""
    return Tokenizer.from_file(str(path))


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of `text`, without BOS."""
    return tokenizer.encode(text, add_special_tokens=False).ids
