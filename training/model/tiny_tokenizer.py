"""The tokenizer of the built-in models: one for all recipes and games, so that mixtures, and models that learned on one
recipe and are scored on another, can be compared.

    python -m training.model.tiny_tokenizer    # makes it from all recipes and writes configs/models/tiny/tokenizer.json

The prompts of a recipe are one template with a few slots: the numbers and the players' names. The text is therefore cut
at the slots (every digit stands alone, every word of a name stands alone), and byte-pair merges run freely over what is
left between them, across spaces and line ends. The constant stretches of the templates so become single tokens, a
prompt shrinks to some thirty tokens, and a model of under a million parameters can spend its attention on the digits
and the names. Any other text still encodes, byte by byte where nothing was merged.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from evaluation.tokens import ANSWER_PREFIX
from nim_dataset.files import write_text
from nim_dataset.recipes import get_config, recipe_names
from nim_dataset.sources import Source
from training.shipped import BUILT_IN

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|padding|>"
VOCAB_SIZE = 1024
MIN_FREQUENCY = 20
"""How often two tokens must come together to be merged."""
ROWS = 500
"""Of each split of each recipe: its first ones."""
TINY = BUILT_IN / "tiny"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the built-in models, made from what is trained on in all recipes; the same each time.

    The names of all splits are words of their own, one token each.
    """
    texts, words = [], set()
    for name in recipe_names():
        for split in get_config(name).splits:
            rows = Source.parse(f"{name}:{split}").load(ROWS)
            if split == "train":
                texts += [*rows["prompt"], *(ANSWER_PREFIX + answer for answer in rows["answer"])]
            players = [column for column in ("player_one", "player_two") if column in rows.column_names]
            words |= {word for column in players for player in set(rows[column]) for word in player.split()}
    texts += [text for word in sorted(words) for text in (word, f" {word}") for _ in range(MIN_FREQUENCY)]
    return build_tokenizer(texts, words)


def build_tokenizer(texts: Iterable[str], words: Iterable[str]) -> PreTrainedTokenizerFast:
    """A fast tokenizer trained on `texts`, in which digits and the `words` always stand alone.

    Same texts, same tokenizer. It pads on the left, ends with `<|endoftext|>` and adds no tokens of its own.
    """
    # A word takes the space before it along: names are then as many tokens as words. "-1" is one token: then every
    # move is decided at the same place in the answer, right after the verb.
    slots = rf"-?[0-9]| ?\b(?:{'|'.join(re.escape(word) for word in sorted(set(words)))})\b"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(slots), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        min_frequency=MIN_FREQUENCY,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json, with a class that transformers 4 knows as well as 5."""
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    write_text(file, json.dumps(config, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    made = make_tokenizer()
    save_tokenizer(made, TINY)
    print(f"{TINY / 'tokenizer.json'}: {len(made)} tokens")
