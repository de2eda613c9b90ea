"""`lens`, `patch` and `probe` against what is known without them; and a sweep that runs them all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from evaluation import sweep
from evaluation.measures.candidates import Candidates
from evaluation.measures.lens import Lens
from evaluation.measures.linear_probe import Split, accuracy_interval, chance, linear_probe
from evaluation.measures.measure import CannotMeasureError, find_measures
from evaluation.measures.mlp_probe import mlp_probe
from evaluation.measures.patch import Patch, PatchNoise
from evaluation.measures.probe import Probe
from evaluation.measures.residual_stream import ResidualStream

from .conftest import FAMILIES, SIZE

END = "<|endoftext|>"


def cells(records: Sequence[dict], kind: str, layer: int, position: str) -> list[float]:
    return [
        cell["p_cheat"]
        for row in records
        for cell in row["cells"]
        if (cell["kind"], cell["layer"], cell["position"]) == (kind, layer, position)
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_layers_lens_and_the_names_of_the_twin(name, family, tiny_tokenizer, subject):
    """The last layer's lens is the model; with all names of the twin at layer 0, the run is the twin's."""
    model = family(name)
    some = subject(model, tiny_tokenizer, "quickstart:counter_cheat", limit=6, batch_size=50)
    twins = subject(model, tiny_tokenizer, "quickstart:neutral", limit=6)
    own, other = Candidates().records(some), Candidates().records(twins)

    def probability(record: dict, move: int) -> float:
        log_p = np.array(record["log_probabilities"])
        return float(np.exp(log_p - np.logaddexp.reduce(log_p))[record["moves"].index(move)])

    lens = Lens().records(some)
    assert [len(row["p_right"]) for row in lens] == [4] * 6
    assert [row["p_right"][-1] for row in lens] == pytest.approx([probability(r, r["move"]) for r in own], abs=1e-4)
    assert np.abs(np.diff([row["p_right"] for row in lens], axis=1)).max() > 1e-3

    patched = Patch().records(some)
    bound = [record["cheat_move"] for record in own]
    lying = [probability(record, move) for record, move in zip(own, bound, strict=True)]
    neutral = [probability(record, move) for record, move in zip(other, bound, strict=True)]
    assert cells(patched, "restore", 0, "none") == pytest.approx(lying, abs=1e-4)
    assert cells(patched, "induce", 0, "none") == pytest.approx(neutral, abs=1e-4)
    assert cells(patched, "restore", 0, "names") == pytest.approx(neutral, abs=1e-4)
    assert cells(patched, "induce", 0, "names") == pytest.approx(lying, abs=1e-4)
    assert cells(patched, "restore", 0, "coins") == pytest.approx(lying, abs=1e-4)  # the coins are the same
    assert np.abs(np.subtract(lying, neutral)).max() > 1e-3
    later = np.array([cells(patched, "restore", layer, "names") for layer in range(3)])
    assert np.abs(np.diff(later, axis=0)).max() > 1e-4, "the layer makes no difference"

    blurred = PatchNoise().records(some)
    assert cells(blurred, "denoise", 0, "names") == pytest.approx(lying, abs=1e-4)
    assert cells(blurred, "denoise", 0, "none") != pytest.approx(lying, abs=1e-3)
    assert not any("forward" in vars(module) for module in model.modules())
    assert Candidates().records(some) == own, "something was left in the model"


def test_twins_whose_tokens_do_not_align_are_left_out_and_told(subject):
    """With a token for each byte, names of other lengths have other numbers of tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate([*alphabet, END])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)
    model = LlamaForCausalLM(LlamaConfig(**SIZE, intermediate_size=32, vocab_size=len(fast), eos_token_id=256)).eval()
    told: list[str] = []
    some = subject(model, fast, "cheating:counter_cheat", 8, tell=told.append)
    (patch,) = find_measures(["patch"])
    records = patch.records(some)
    pairs = zip(some.eval_set.rows, subject(model, fast, "cheating:counter_neutral", 8).eval_set.rows, strict=True)
    same = [[len(one[side]) == len(other[side]) for side in ("player_one", "player_two")] for one, other in pairs]
    counts = {place: len(cells(records, "restore", 0, place)) for place in ("names", "player_one first", "decision")}
    assert counts == {"names": sum(map(all, same)), "player_one first": sum(first for first, _ in same), "decision": 8}
    assert counts["names"] < counts["player_one first"] < 8
    assert len(told) == len(set(told))
    where = "patch: cheating:counter_cheat: 'names'"
    assert f"{where} leaves out {8 - counts['names']} of 8 pairs, whose tokens there do not align" in told


def test_probes_read_what_is_there_and_no_memory():
    """A direction that means the label is read in groups that were not seen; one that means the group is not."""
    draws = np.random.default_rng(0)
    group_N = np.repeat(np.arange(40), 15)
    label_N = np.tile(np.arange(4), 10)[group_N]
    noise_ND = draws.normal(size=(len(group_N), 32))
    meaning_CD, memory_GD = draws.normal(size=(4, 32)), draws.normal(size=(40, 32))
    states = [noise_ND, noise_ND + 2 * meaning_CD[label_N], noise_ND + 4 * memory_GD[group_N]]
    states_PND = torch.tensor(np.stack(states), dtype=torch.float32)
    split = Split.by_group(label_N, group_N.tolist())
    assert split is not None
    assert all(len(set(split.fold_N[group_N == group])) == 1 for group in range(40))
    for probe in (linear_probe, mlp_probe):
        right_PN = probe(states_PND, split)
        nothing, meaning, memory = (accuracy_interval(right_N, split) for right_N in right_PN)
        assert meaning["low"] > 0.95
        assert nothing["accuracy"] < 0.35
        assert memory["accuracy"] < 0.4
        assert memory["high"] - memory["low"] > 2 * (nothing["high"] - nothing["low"]), "rows of a group are alike"
    assert chance(split) == pytest.approx(0.25, abs=0.01)
    assert Split.by_group(np.array([0, 0, 1]), ["a", "b", "c"]) is None  # a class of one group
    by_place = np.concatenate([linear_probe(states_PND[place : place + 1], split) for place in range(3)])
    assert (by_place == linear_probe(states_PND, split)).mean() > 0.999, "places that are fitted together do not meet"


def test_layers_are_read_in_parts_where_memory_is_short(family, tiny_tokenizer, subject, monkeypatch):
    some = subject(family("gpt_neox"), tiny_tokenizer, "quickstart:eval", limit=60)
    whole = Probe().records(some)
    monkeypatch.setattr("evaluation.measures.probe.MEMORY", 1)
    parts = Probe().records(some)
    key = ("label", "layer", "position")
    assert [[row[k] for k in key] for row in parts] == [[row[k] for k in key] for row in whole]
    assert [row["accuracy"] for row in parts] == pytest.approx([row["accuracy"] for row in whole], abs=0.02)
    assert {row["layer"] for row in parts} == {0, 1, 2, 3}
    assert {"cheat bucket", "bound move", "right move", "pile mod 5"} == {row["label"] for row in parts}


def test_a_sweep_with_all_measures(small_run, tmp_path, capsys):
    """Each writes its table and is drawn; a set that a measure cannot look at is one line, and the rest goes on."""
    sets = ["quickstart:eval", "quickstart:counter_cheat", "mod6:eval"]
    arguments = [
        "--checkpoints-dir",
        str(small_run.folder / "checkpoint-40"),
        "--output",
        str(tmp_path),
        "--limit",
        "24",
    ]
    arguments += ["--measures", "answers", "candidates", "probe", "patch", "lens", "--datasets", *sets]
    assert sweep.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("patch: quickstart:eval is left out: its rows have no twins under neutral names") == 1
    tables = {name: pd.read_csv(tmp_path / f"{name}.csv") for name in ("candidates", "probe", "patch", "lens")}
    assert list(tables["candidates"]) == ["step", "dataset", "quantity", "group", "n", "value", "low", "high"]
    assert list(tables["probe"])[2:] == ["label", "layer", "position", "n", "accuracy", "low", "high", "chance"]
    assert list(tables["patch"])[2:] == ["kind", "quantity", "layer", "position", "n", "value", "low", "high"]
    assert set(tables["patch"]["dataset"]) == {"quickstart:counter_cheat"}
    assert set(tables["lens"]["layer"]) == {0, 1, 2}
    for table in tables.values():
        assert set(table["step"]) == {40}
        assert (table["low"].dropna() <= table["high"].dropna()).all()
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for figure in ("probabilities", "coset_probability", "probing", "patching", "lens"):
        assert (tmp_path / "figures" / f"{figure}.png").is_file()
        assert f'<figure id="{figure}">' in page
    whole = {name: (tmp_path / f"{name}.csv").read_bytes() for name in tables}
    (tmp_path / "probe.csv").unlink()
    (tmp_path / "measures" / "lens" / "checkpoint-40" / "quickstart_eval.jsonl").unlink()
    assert sweep.main(arguments) == 0
    assert {name: (tmp_path / f"{name}.csv").read_bytes() for name in tables} == whole


def test_what_cannot_be_measured_is_said(small_run, tiny_tokenizer, family, subject):
    leaky = subject(small_run.model(40), small_run.tokenizer, "leaky_names:counter_cheat", 40)
    with pytest.raises(CannotMeasureError, match="no twins under neutral names"):
        Patch().records(leaky)
    told: list[str] = []
    some = subject(small_run.model(40), small_run.tokenizer, "leaky_names:counter_cheat", 40, tell=told.append)
    (probe,) = find_measures(["probe"])
    assert {row["label"] for row in probe.records(some)} == {"right move", "pile mod 2", "pile mod 4"}
    assert told == [
        "probe: leaky_names:counter_cheat: 'bound move' (4 pairs) left out: each value needs at least two to split by"
    ]
    with pytest.raises(CannotMeasureError, match="too few pairs and piles"):
        Probe().records(subject(small_run.model(40), small_run.tokenizer, "leaky_names:eval", 2))
    model = family("gpt2")
    model.transformer.h = torch.nn.Sequential(*model.transformer.h)
    with pytest.raises(CannotMeasureError, match="GPT2LMHeadModel shows no list of its 3 decoder layers"):
        ResidualStream(model)
