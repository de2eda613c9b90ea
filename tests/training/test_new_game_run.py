"""A game from a file outside the package goes all the way: it is trained on, swept, and has a page of its own."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluation import sweep
from nim_dataset.games import GAMES
from training.train import main

PARITY = Path(__file__).parents[1] / "nim_dataset" / "toy_games" / "parity.py"
WORDS_OF_NIM = ("names", "unseen", "max_remove", "pile", "coin", "cheat", "neutral", "scar", "wins", "player")


@pytest.fixture
def parity() -> Iterator[None]:
    """The game is known during the test."""
    spec = importlib.util.spec_from_file_location("toy_parity", PARITY)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    yield
    del GAMES["parity"]


@pytest.mark.slow
@pytest.mark.usefixtures("parity")
def test_a_game_of_its_own_is_trained_on_and_swept(tmp_path: Path) -> None:
    run, report = tmp_path / "run", tmp_path / "report"
    flags = ("--train_data", "parity", "--per_device_train_batch_size", "4", "--eval_rows", "10")
    steps = ("--max_steps", "4", "--save_at", "2", "--logging_steps", "1", "--warmup_steps", "0")
    assert main(["--model", "tiny", *flags, *steps, "--output_dir", str(run)]) == 0

    where = ("--checkpoints-dir", str(run), "--output", str(report))
    assert sweep.main([*where, "--datasets", "parity:eval", "--limit", "20"]) == 0
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "Is " in page
    written = r"<strong>Right: (even|odd)\. Written: .*?</strong>"  # the untrained model's, which knows Nim's words
    text = re.sub(rf"<(style|script)>.*?</\1>|<title>.*?</title>|{written}", "", page, flags=re.S)
    found = [word for word in WORDS_OF_NIM if re.search(rf"\b{word}", text)]
    assert found == []
