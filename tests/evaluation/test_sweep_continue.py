"""A sweep goes on where it stopped, takes in what is new, and never mixes or overwrites what was made otherwise."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluation import sweep
from nim_dataset.errors import UserError, exit_on_user_error

SWEEP = Path(sweep.__file__)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of every file."""
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()
    }


def tables(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (content, _) in snapshot(folder).items() if name.endswith((".csv", ".jsonl"))}


@pytest.fixture
def output(swept, tmp_path) -> Path:
    """A copy of the finished sweep's folder."""
    return Path(shutil.copytree(swept.output, tmp_path / "report"))


@pytest.fixture
def run_folder(small_run, tmp_path) -> Path:
    """A copy of the run."""
    return Path(shutil.copytree(small_run.folder, tmp_path / "run"))


def arguments_for(run_folder: Path, output: Path, *sets: str) -> list[str]:
    where = ["--checkpoints-dir", str(run_folder), "--output", str(output), "--limit", "20"]
    return [*where, "--datasets", *(sets or ("leaky_names:eval",))]


def test_only_what_is_missing_is_scored(swept, output, capsys):
    before = snapshot(output)
    lost = output / "predictions" / "checkpoint-20" / "leaky_names_counter_cheat.jsonl"
    lost.unlink()
    (output / "results.csv").write_text("cut")
    assert sweep.main([*swept.arguments, "--output", str(output)]) == 0
    after = snapshot(output)
    assert tables(output) == tables(swept.output)
    assert [n for n in after if n.startswith("predictions") and after[n][1] != before[n][1]] == [
        str(lost.relative_to(output))
    ]
    assert "[1/1] checkpoint-20  leaky_names:counter_cheat" in capsys.readouterr().out


def test_a_killed_sweep_continues(swept, tmp_path, command_env):
    output = tmp_path / "report"
    arguments = [*swept.arguments, "--output", str(output)]
    process = subprocess.Popen([sys.executable, str(SWEEP), *arguments], env=command_env, stderr=subprocess.DEVNULL)
    while not list(output.glob("predictions/checkpoint-0/*.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(UserError, match=r"--output .*report: another sweep or import is at work there"):
        sweep.main(arguments)
    process.kill()
    process.wait()
    assert len(list(output.glob("predictions/*/*.jsonl"))) < 9, "it was over before it was killed"
    assert sweep.main(arguments) == 0
    assert tables(output) == tables(swept.output)


@pytest.mark.slow
def test_ctrl_c_is_one_line_and_the_sweep_continues(swept, tmp_path, command_env):
    output = tmp_path / "report"
    arguments = [*swept.arguments, "--output", str(output)]
    command = [sys.executable, str(SWEEP), *arguments]
    process = subprocess.Popen(command, env=command_env, stderr=subprocess.PIPE, text=True)
    while not list(output.glob("predictions/checkpoint-0/*.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    told = [line for line in process.communicate()[1].splitlines() if line.strip()]
    assert process.returncode == 130
    assert told[-1] == f"interrupted: the same command continues with what is missing in {output}"
    assert not any("Traceback" in line for line in told)
    assert sweep.main(arguments) == 0
    assert tables(output) == tables(swept.output)


def test_sets_and_checkpoints_can_be_added(run_folder, tmp_path, small_run):
    output = tmp_path / "report"
    late = shutil.move(run_folder / "checkpoint-40", tmp_path / "checkpoint-40")
    assert sweep.main(arguments_for(run_folder, output)) == 0
    shutil.move(late, run_folder / "checkpoint-40")
    assert sweep.main(arguments_for(run_folder, output, "leaky_names:unseen_names", "leaky_names:eval")) == 0
    # A checkpoint that is gone stays in the tables.
    shutil.rmtree(run_folder / "checkpoint-0")
    assert sweep.main(arguments_for(run_folder, output)) == 0
    header, *rows = (output / "accuracy_table.csv").read_text().splitlines()
    assert header == "checkpoint,leaky_names:eval_accuracy,leaky_names:unseen_names_accuracy"
    assert [row.split(",")[0] for row in rows] == ["checkpoint-0", "checkpoint-20", "checkpoint-40"]
    assert all(all(row.split(",")) for row in rows)


def test_one_models_folder(small_run, tmp_path):
    assert sweep.main(arguments_for(small_run.folder / "checkpoint-40", tmp_path / "report")) == 0
    assert (tmp_path / "report" / "results.csv").read_text().splitlines()[1].startswith("checkpoint-40,40,")


def test_another_game(small_run, tmp_path):
    output = tmp_path / "report"
    assert sweep.main(arguments_for(small_run.folder, output, "mod3:eval", "mod6:eval")) == 0
    lines = (output / "results.csv").read_text().splitlines()[1:]
    assert {line.split(",")[3] for line in lines} == {"overall", "coset", "candidates"}
    assert any(",coset,modulus=6 mod 2,20," in line for line in lines)
    described = json.loads((output / "sweep.json").read_text())["datasets"]
    assert {name: entry["chance"] for name, entry in described.items()} == {"mod3:eval": 1 / 3, "mod6:eval": 1 / 6}
    assert "max_remove" not in (output / "index.html").read_text(encoding="utf-8")


def test_the_tokenizer_of_the_run_serves_its_checkpoints(run_folder, tmp_path):
    for checkpoint in run_folder.glob("checkpoint-*"):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(checkpoint / name, run_folder / name)
            (checkpoint / name).unlink()
    assert sweep.main(arguments_for(run_folder, tmp_path / "report")) == 0


def test_watch_scores_what_comes_until_the_run_is_over(small_run, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "WATCH_SECONDS", 0.5)
    run_folder = tmp_path / "run"
    run_folder.mkdir()

    def train():
        for step in (0, 40):
            time.sleep(1)
            shutil.copytree(small_run.folder / f"checkpoint-{step}", run_folder / f"checkpoint-{step}")
        time.sleep(1)
        for path in (small_run.folder / "checkpoint-40").iterdir():
            shutil.copy(path, run_folder / path.name)

    training = threading.Thread(target=train)
    training.start()
    assert sweep.main([*arguments_for(run_folder, tmp_path / "report"), "--watch"]) == 0
    training.join()
    rows = (tmp_path / "report" / "accuracy_table.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["checkpoint-0", "checkpoint-40"]


def cut_short(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def lose_a_weight(checkpoint: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    del weights["gpt_neox.layers.1.mlp.dense_h_to_4h.weight"]
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})


def not_a_number(checkpoint: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    weights["gpt_neox.final_layer_norm.weight"][3] = torch.nan
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})


def no_weights(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()


def bad_config(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_text("{")


def test_broken_checkpoints_are_told_and_the_others_scored(small_run, tmp_path, capsys):
    run_folder = tmp_path / "run"
    damages = {1: cut_short, 2: lose_a_weight, 3: not_a_number, 4: no_weights, 5: bad_config}
    for step in (*damages, 40):
        checkpoint = run_folder / f"checkpoint-{step}"
        shutil.copytree(small_run.folder / "checkpoint-40", checkpoint)
        damages.get(step, lambda _: None)(checkpoint)
    arguments = arguments_for(run_folder, tmp_path / "report")
    assert sweep.main(arguments) == 1
    error = capsys.readouterr().err
    assert "5 broken checkpoint(s) not scored:" in error
    for step, words in ((1, "loaded"), (2, "1 weights are missing"), (3, "not finite"), (4, "loaded"), (5, "loaded")):
        (line,) = [line for line in error.splitlines() if line.startswith(f"checkpoint-{step}:")]
        assert words in line
    assert len((tmp_path / "report" / "accuracy_table.csv").read_text().splitlines()) == 2

    # Mended, it is scored with the rest.
    shutil.copy(small_run.folder / "checkpoint-40" / "config.json", run_folder / "checkpoint-5" / "config.json")
    assert sweep.main(arguments) == 1
    assert len((tmp_path / "report" / "accuracy_table.csv").read_text().splitlines()) == 3


def test_only_broken_checkpoints(run_folder, tmp_path, capsys):
    for checkpoint in run_folder.glob("checkpoint-*"):
        cut_short(checkpoint)
    assert sweep.main(arguments_for(run_folder, tmp_path / "report")) == 1
    assert "3 broken checkpoint(s)" in capsys.readouterr().err
    assert not (tmp_path / "report" / "results.csv").exists()


def test_what_was_made_otherwise_is_not_touched(swept, output, run_folder, tmp_path):
    def refuse(message: str, *changes: str, arguments: list[str] = swept.arguments) -> None:
        before = snapshot(output)
        with pytest.raises(UserError, match=message) as caught:
            sweep.main([*arguments, *changes, "--output", str(output)])
        assert "\n" not in str(caught.value)
        assert snapshot(output) == before

    refuse("--limit was 40, now 41", "--limit", "41")
    refuse("--checkpoints-dir was .*small, now .*run", "--checkpoints-dir", str(run_folder))
    other = tmp_path / "old_eval.jsonl"
    other.write_text('{"prompt": "One", "answer": "two"}\n')
    refuse("the rows of old_eval are not those that were scored", "--datasets", str(other))
    (output / "sweep.json").write_text("{")
    refuse("sweep.json: cannot be read")
    (output / "sweep.json").unlink()
    refuse("exists, and no sweep made it")


def test_a_run_trained_anew_is_not_taken_for_the_old_one(run_folder, tmp_path):
    arguments = arguments_for(run_folder, tmp_path / "report")
    assert sweep.main(arguments) == 0
    for name in ("model.safetensors",):
        shutil.copy(run_folder / "checkpoint-0" / name, run_folder / "checkpoint-20" / name)
    before = snapshot(tmp_path / "report")
    with pytest.raises(UserError, match=r"another checkpoint-20 \(its weights have changed"):
        sweep.main(arguments)
    assert snapshot(tmp_path / "report") == before


def test_mistakes(small_run, run_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    output = tmp_path / "report"

    def refuse(message: str, arguments: list[str]) -> None:
        with pytest.raises(UserError, match=message) as caught:
            sweep.main(arguments)
        assert "\n" not in str(caught.value)
        assert not output.exists()

    (tmp_path / "empty").mkdir()
    refuse("no checkpoints here", arguments_for(tmp_path / "empty", output))
    refuse("no such folder, did you mean .*/run'", arguments_for(tmp_path / "rnu", output))
    refuse("did you mean 'leaky_names", arguments_for(run_folder, output, "leaky_name:eval"))
    refuse("did you mean 'eval'", arguments_for(run_folder, output, "leaky_names:evil"))
    refuse("nothing.jsonl", arguments_for(run_folder, output, "nothing.jsonl"))
    refuse("'leaky_names:eval' comes twice", arguments_for(run_folder, output, "leaky_names:eval", "leaky_names:eval"))
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "One", "answer": "two"}\n{"prompt": "One"}\n')
    refuse(r"bad.jsonl, line 2: 'answer' is missing", arguments_for(run_folder, output, str(bad)))
    for value in ("true", str(2**70)):
        bad.write_text(f'{{"prompt": "One", "answer": "two", "cheat_move": {value}}}\n')
        refuse(r"bad.jsonl, line 1: 'cheat_move' is", arguments_for(run_folder, output, "leaky_names:eval", str(bad)))
    refuse("cannot be written", arguments_for(run_folder, bad / "report"))
    refuse("comes twice .*a/x.jsonl and b/x.jsonl", arguments_for(run_folder, output, "a/x.jsonl", "b/x.jsonl"))
    refuse("--limit.*at least 1, got '0'", [*arguments_for(run_folder, output), "--limit", "0"])
    refuse("required: --checkpoints-dir", ["--datasets", "357:eval", "--output", str(output)])


def test_a_full_disk_is_a_mistake_of_one_line_and_the_sweep_goes_on(small_run, tmp_path, capsys):
    arguments = arguments_for(small_run.folder, tmp_path / "report")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))  # room for settings, but for no predictions
    try:
        with pytest.raises(SystemExit) as exit_, exit_on_user_error():
            sweep.main(arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert exit_.value.code == 2
    file = tmp_path / "report" / "incorrect" / "leaky_names_eval_checkpoint-0.jsonl"
    assert capsys.readouterr().err == f"error: {file}: File too large\n"
    assert not list((tmp_path / "report").rglob("*.tmp"))
    assert sweep.main(arguments) == 0


def test_a_prompt_that_is_too_long_is_named(small_run, tmp_path):
    rows = [{"prompt": "Take some. " * words, "answer": "take 1 coin"} for words in (1, 400)]
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = arguments_for(small_run.folder, tmp_path / "report", str(tmp_path / "long.jsonl"))
    with pytest.raises(UserError, match=r"^checkpoint-0, long: row 1: prompt and answer take [0-9]+ tokens, .*=512$"):
        sweep.main(arguments)


def test_a_tokenizer_that_does_not_match(run_folder, tmp_path):
    arguments = arguments_for(run_folder, tmp_path / "report")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        os.rename(run_folder / "checkpoint-0" / name, tmp_path / name)
    with pytest.raises(UserError, match="checkpoint-0: no tokenizer"):
        sweep.main(arguments)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["added_tokens"] += [{**content["added_tokens"][0], "id": 5000 + i, "content": f"<{i}>"} for i in range(9)]
    (run_folder / "checkpoint-0" / "tokenizer.json").write_text(json.dumps(content))
    shutil.copy(tmp_path / "tokenizer_config.json", run_folder / "checkpoint-0")
    with pytest.raises(UserError, match=r"checkpoint-0: its tokenizer does not match: .* tokens, but the model embeds"):
        sweep.main(arguments)
