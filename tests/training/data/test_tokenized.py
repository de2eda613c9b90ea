"""`export --tokenized` writes what training sees, so that another trainer has the same tokens and the same loss."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import load_dataset
from torch.nn.functional import cross_entropy
from transformers import DataCollatorForSeq2Seq

from nim_dataset import load
from nim_dataset.__main__ import main
from training.data.encoding import AnswerCollator, encode_rows

from ..conftest import ROOT, environment

RECIPE = "345678,n_train=8200,n_eval=40"
"""More than a block of rows, of several lengths."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenized")
    command = [sys.executable, "-m", "nim_dataset", "export", RECIPE, "--tokenized", "tiny", "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert f"{folder}/train.parquet: 8,200 rows, the longest of " in done.stdout
    return folder


def test_the_tokens_are_those_of_training(data: Any, exported: Path, tmp_path: Path) -> None:
    files = {split: str(exported / f"{split}.parquet") for split in ("train", "eval")}
    found = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))
    for split, rows in load("345678", n_train=8200, n_eval=40).items():
        expected = encode_rows(rows, data.tokenizer, 256, split)
        assert len(found[split]) == len(expected)
        for i, row in enumerate(found[split]):
            item = expected[i]
            ids, answer_tokens = item["input_ids"].tolist(), item["answer_tokens"]
            assert row["input_ids"] == ids
            assert row["labels"] == [-100] * (len(ids) - answer_tokens) + ids[-answer_tokens:]
            assert row["attention_mask"] == [1] * len(ids)


def test_another_trainers_collator_gives_the_same_loss(data: Any, exported: Path, tmp_path: Path) -> None:
    rows = load_dataset("parquet", data_files=str(exported / "eval.parquet"), cache_dir=str(tmp_path))["train"]
    model = data.model("llama").eval()
    theirs = model(**DataCollatorForSeq2Seq(data.tokenizer)(list(rows.select(range(8))))).loss
    encoded = encode_rows(load("345678", "eval", n_train=8200, n_eval=40), data.tokenizer, 256, "eval")
    batch = AnswerCollator(data.tokenizer.pad_token_id)([encoded[i] for i in range(8)])
    labels_BK = batch.pop("shift_labels")
    del batch["labels"]
    with torch.no_grad():
        logits_BKV = model(**batch).logits
    assert theirs.item() == pytest.approx(cross_entropy(logits_BKV.flatten(0, 1), labels_BK.flatten()).item(), rel=1e-5)


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", RECIPE, "--tokenized", "tin", "--output", str(tmp_path / "out")])
    assert capsys.readouterr().err == (
        "error: --tokenized: 'tin' is neither a folder, nor built in (tiny), did you mean 'tiny'?,"
        " nor a Hub id such as 'EleutherAI/pythia-70m-deduped'\n"
    )
    assert not (tmp_path / "out").exists()


def test_without_the_libraries_of_training_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "training.data.tokenized", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)  # by which Python finds it no more
    with pytest.raises(SystemExit, match="2"):
        main(["export", RECIPE, "--tokenized", "tiny", "--output", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert told.startswith("error: --tokenized: not installed: transformers; pip install 'nim-testbed[train]'")
    assert told.count("\n") == 1
