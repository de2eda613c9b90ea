"""The prompts of games under other names, as tokens.

A template is a prompt with a mark where a name stands. Its tokens under new names are those of the text, joined from
pieces: what stands between the names, and each name with the space before it, which are tokenized once. That is exact
for tokenizers that split a text at its words first, such as Pythia's; whether it is, `Renamer.add` finds out by
comparing, and where it is not, each text is tokenized as a whole.
"""

import re
from collections.abc import Sequence
from itertools import chain

from transformers import PreTrainedTokenizerBase

from evaluation.measures.positions import NAMES
from evaluation.tokens import encode_prompts
from nim_dataset.errors import UserError
from nim_dataset.games import parse_prompts

Pair = tuple[str, str]
MARKS = ("\x00", "\x01")
"""What stands for each player's name: no name has it, since names are printable."""
PIECES = re.compile(f"( ?[{''.join(MARKS)}])")


def rename(template: str, pair: Pair) -> str:
    """The prompt of a template, under these names."""
    return template.replace(MARKS[0], pair[0]).replace(MARKS[1], pair[1])


def templates_of(prompts: Sequence[str]) -> tuple[list[str], list[Pair]]:
    """The template of each prompt, and its names; raises `UserError` for prompts of no game with two players."""
    templates, pairs, nameless = [], [], 0
    for prompt, game in zip(prompts, parse_prompts(prompts)[0], strict=True):
        spans = game.spans(prompt) if game is not None else {}
        if not all(spans.get(player) for player in NAMES):
            nameless += 1
            continue
        first, second = (prompt[slice(*spans[player][0])] for player in NAMES)
        places = [(*span, mark) for player, mark in zip(NAMES, MARKS, strict=True) for span in spans[player]]
        template = prompt
        for start, stop, mark in sorted(places, reverse=True):
            template = template[:start] + mark + template[stop:]
        templates.append(template)
        pairs.append((first, second))
    if nameless:
        raise UserError(
            f"objectives.contrastive: {nameless:,} of the {len(prompts):,} rows tell no game with players' names, so"
            " there is nothing to rename; train on rows that do"
        )
    return templates, pairs


class Renamer:
    """Tokenizes templates under names as `encode_prompts` tokenizes the prompts that they make."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.exact = True
        """Whether the pieces have given the tokens of each text so far."""
        self.begin: list[int] = []
        """The tokens with which the tokenizer begins a text."""
        self.pieces: dict[str, list[int]] = {}

    def add(self, templates: Sequence[str], pairs: Sequence[Pair]) -> None:
        """Looks whether pieces are exact for templates like these, under names like these."""
        wholes = encode_prompts(self.tokenizer, [rename(*each) for each in zip(templates, pairs, strict=True)])
        self.begin, joined = [], self._joined(templates, pairs)
        self.begin = wholes[0][: len(wholes[0]) - len(joined[0])]
        self.exact = self.exact and wholes == [[*self.begin, *tokens] for tokens in joined]

    def __call__(self, templates: Sequence[str], pairs: Sequence[Pair]) -> list[list[int]]:
        """The tokens of each template's prompt under the names at its place."""
        if self.exact:
            return self._joined(templates, pairs)
        return encode_prompts(self.tokenizer, [rename(*each) for each in zip(templates, pairs, strict=True)])

    def _joined(self, templates: Sequence[str], pairs: Sequence[Pair]) -> list[list[int]]:
        texts = [
            [rename(piece, pair) for piece in PIECES.split(template) if piece]
            for template, pair in zip(templates, pairs, strict=True)
        ]
        if new := sorted({piece for text in texts for piece in text} - self.pieces.keys()):
            ids = self.tokenizer(new, add_special_tokens=False, return_attention_mask=False)["input_ids"]
            self.pieces.update(zip(new, ids, strict=True))
        return [[*self.begin, *chain.from_iterable(self.pieces[piece] for piece in text)] for text in texts]
