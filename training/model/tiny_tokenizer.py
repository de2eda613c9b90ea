"""A tokenizer for the built-in models, trained on the recipe's own text in about a second.

Nim prompts are one template with a few slots: the numbers and the players' names. The text is therefore cut at the
slots (every digit stands alone, every word of a name stands alone), and byte-pair merges run freely over what is left
between them, across spaces and line ends. The constant stretches of the template so become single tokens, a prompt
shrinks to some forty tokens, and a model of under a million parameters can spend its attention on the digits and the
names. Any other text still encodes (byte by byte where nothing was merged), so such a model can be scored on other
recipes too.
"""

import re
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|padding|>"
VOCAB_SIZE = 1024


def name_words(names: Iterable[str | None], limit: int = 500) -> list[str]:
    """The distinct words of the players' names, at most `limit`: with more, names are open-ended text."""
    words = sorted({word for name in set(names) if name for word in name.split()})
    return words if len(words) <= limit else []


def build_tokenizer(texts: Iterable[str], names: Iterable[str | None]) -> PreTrainedTokenizerFast:
    """A fast tokenizer trained on `texts`, in which digits and the words of `names` always stand alone.

    Same texts, same tokenizer. It pads on the left, ends with `<|endoftext|>` and adds no tokens of its own.
    """
    # A word takes the space before it along: names are then as many tokens as words. "-1" is one token: then every
    # move is decided at the same place in the answer, right after the verb.
    slots = "|".join(["-?[0-9]", *(rf" ?\b{re.escape(word)}\b" for word in name_words(names))])
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
        min_frequency=20,
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
