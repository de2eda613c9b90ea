"""A tokenizer that remembers: the same prompts are put to every checkpoint of a run, and tokenized once."""

from array import array
from typing import Any

from transformers import PreTrainedTokenizerBase

PLAIN = {"add_special_tokens": False, "return_attention_mask": False}
"""The options of a call that is remembered: token ids and nothing else."""
MOST = 100_000
"""So many texts are remembered, of a few hundred bytes each; further ones are tokenized whenever they come."""

Encoded = dict[str, "array[int]"]
"""Text -> its token ids."""


class Remembering:
    """`tokenizer` in all but that a list of texts is tokenized once where only token ids are asked for.

    `encoded` is what is known already, of a tokenizer that gives the same ids; it grows.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> None:
        self.tokenizer, self.encoded = tokenizer, encoded

    def __call__(self, text: Any, **options: Any) -> Any:
        if options != PLAIN or not isinstance(text, list):
            return self.tokenizer(text, **options)
        new = [each for each in dict.fromkeys(text) if each not in self.encoded]
        if len(self.encoded) + len(new) > MOST:
            return self.tokenizer(text, **options)
        if new:
            ids = self.tokenizer(new, **options)["input_ids"]
            self.encoded.update((each, array("i", row)) for each, row in zip(new, ids, strict=True))
        return {"input_ids": [self.encoded[each].tolist() for each in text]}

    def __len__(self) -> int:
        return len(self.tokenizer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)
