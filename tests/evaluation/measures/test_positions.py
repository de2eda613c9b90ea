"""`positions` finds what a prompt tells, in the tokens of any tokenizer that knows its characters."""

import re

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import nim_dataset
from evaluation.measures.measure import CannotMeasureError
from evaluation.measures.positions import positions
from nim_dataset.errors import UserError

SPLITTERS = {
    "byte_level": pre_tokenizers.ByteLevel(add_prefix_space=False),  # as Pythia's
    "single_digits": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),  # as SmolLM2's
    "metaspace": pre_tokenizers.Metaspace(),
}


@pytest.fixture(scope="module")
def tokenizers(tiny_tokenizer):
    texts = [
        row["prompt"] for spec in ("cheating:eval", "terminology:eval") for row in nim_dataset.load_source(spec, 200)
    ]
    made = {"tiny": tiny_tokenizer}
    for name, splitter in SPLITTERS.items():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = splitter
        tokenizer.decoder = decoders.Metaspace() if name == "metaspace" else decoders.ByteLevel()
        alphabet = [] if name == "metaspace" else pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train_from_iterator(
            texts, trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
        )
        made[name] = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    return made


def expected(row: dict) -> dict[str, list[tuple[int, int]]]:
    """Where the items stand in characters, read off the text by eye, so to speak."""
    prompt = row["prompt"]
    found = {
        name: [m.span() for m in re.finditer(rf"\b{row[name]}\b", prompt)] for name in ("player_one", "player_two")
    }
    found["coins"] = [m.span(1) for m in re.finditer(r"There are (\d+) ", prompt)]
    found["max_remove"] = [m.span(1) for m in re.finditer(r"between 1 and (\d+) ", prompt)]
    trace = prompt[prompt.index("So far:") :]
    found["moves"] = [
        (m.start(1) + len(prompt) - len(trace), m.end(1) + len(prompt) - len(trace))
        for m in re.finditer(r" (\d+) \w+\.\n", trace)
    ]
    return found


@pytest.mark.parametrize("kind", ["tiny", *SPLITTERS])
def test_every_item_is_found(kind, tokenizers):
    tokenizer = tokenizers[kind]
    for spec in ("cheating:eval", "varcheating:eval", "numocc4:eval", "terminology:eval"):
        rows = nim_dataset.load_source(spec, limit=30)
        found = positions(rows["prompt"], tokenizer)
        encoded = tokenizer(rows["prompt"][:], add_special_tokens=False, return_offsets_mapping=True)
        for index, row in enumerate(rows):
            offsets = np.array(encoded["offset_mapping"][index])
            assert found.ids[index] == encoded["input_ids"][index]
            assert found.at("decision")[index].tolist() == [[len(offsets) - 1] * 2]
            assert len(row["trace"]) == (found.at("moves")[index, :, 0] >= 0).sum()
            for item, spans in expected(row).items():
                there = [tuple(span) for span in found.at(item)[index].tolist() if span != [-1, -1]]
                touched = [np.flatnonzero((offsets[:, 1] > start) & (offsets[:, 0] < stop)) for start, stop in spans]
                assert there == [(tokens[0], tokens[-1]) for tokens in touched], (spec, item, row["prompt"])


def test_first_last_numbered_and_masks(tokenizers):
    rows = nim_dataset.load_source("terminology:eval", limit=20)  # traces of several lengths
    found = positions(rows["prompt"], tokenizers["byte_level"])
    for index, row in enumerate(rows):
        names = found.at("player_one")[index]
        shown = names[names[:, 0] >= 0].tolist()
        assert found.at("player_one first")[index].tolist() == shown[:1]
        assert found.at("player_one last")[index].tolist() == shown[-1:]
        ninth = found.at("moves 9")[index, 0].tolist()
        assert (ninth == [-1, -1]) == (len(row["trace"]) < 9), "an item that a prompt lacks says so"
        mask_T = found.mask("names")[index]
        both = [*shown, *(span for span in found.at("player_two")[index].tolist() if span[0] >= 0)]
        assert np.flatnonzero(mask_T).tolist() == sorted(t for first, last in both for t in range(first, last + 1))
    assert found.at("names").shape[1] == found.at("player_one").shape[1] + found.at("player_two").shape[1]


def test_other_games_other_texts_and_mistakes(tokenizers, tiny_tokenizer):
    found = positions(["What is 4821 mod 3?", "Who are you?"], tokenizers["single_digits"])
    first, last = found.at("operand")[0, 0]
    assert tokenizers["single_digits"].decode(found.ids[0][first : last + 1]).strip() == "4821"
    assert found.at("operand")[1].tolist() == [[-1, -1]]
    assert found.at("decision")[1].tolist() == [[found.tokens_N[1] - 1] * 2]
    with pytest.raises(UserError, match="unknown item 'modulo', did you mean 'modulus'"):
        found.at("modulo")
    with pytest.raises(UserError, match="after an item comes first, last, or a number from 1"):
        found.at("modulus second")

    class Slow(PreTrainedTokenizerFast):
        is_fast = property(lambda self: False)

    with pytest.raises(CannotMeasureError, match="Slow does not tell which characters a token stands for"):
        positions(["What is 1 mod 3?"], Slow(tokenizer_object=tiny_tokenizer.backend_tokenizer))
