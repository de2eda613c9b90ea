"""`python -m nim_dataset`, as a user runs it."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nim_dataset import load, recipe_names
from nim_dataset.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
RUN = "import runpy; runpy.run_module('nim_dataset', run_name='__main__')"


def test_list_names_every_recipe(command):
    done = command("list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == recipe_names()


def test_show_tells_what_the_names_give_away(command):
    done = command("show", "pairs20000,cheat_prob=1", "--rows", "1")
    assert done.returncode == 0
    assert done.stdout.count("You are playing the game of nim.") == 6
    assert ": the answer]" in done.stdout.split("=== pairs20000:cheat_consistent")[1].split("===")[0]
    assert ": a wrong move]" in done.stdout.split("=== pairs20000:counter_cheat")[1].split("===")[0]


def test_export_writes_the_originals_files(command, small, tmp_path):
    done = command("export", small, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "data" / small
    assert "300/300" not in done.stdout
    assert "650/650" in done.stderr, "progress over all rows"
    rows = load("cheating", n_train=300, n_eval=100, n_regime=50)
    assert {path.name for path in folder.iterdir()} == {*(f"{split}.jsonl" for split in rows), "manifest.json"}
    for split in rows:
        lines = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
        assert lines == rows[split].select_columns(["prompt", "answer"]).to_list()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["cheat_by_move"] == {"2": ["Alice-Bob"]}
    assert manifest["neutral"] == ["Charles-Daniel", "Eve-Frank", "Grace-Heidi"]
    assert manifest["recipe"]["n_train"] == 300


def test_export_leaves_finished_files_intact(command, small, tmp_path):
    command("export", small, "--output", tmp_path)
    train = (tmp_path / "train.jsonl").read_bytes()
    (tmp_path / "eval.jsonl").unlink()
    (tmp_path / "eval.jsonl").mkdir()
    done = command("export", small, "--output", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: cannot write {tmp_path}/" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "train.jsonl").read_bytes() == train
    assert not list(tmp_path.glob(".*")), "no temporary files are left"


def test_export_leaves_no_split_of_another_recipe(command, small, tmp_path):
    command("export", small, "--output", tmp_path)
    (tmp_path / "notes.jsonl").touch()
    done = command("export", "357,n_train=20,n_eval=10", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"train.jsonl", "eval.jsonl", "manifest.json", "notes.jsonl"}
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "neutral.jsonl").touch()
    done = command("export", "357,n_train=20,n_eval=10", "--output", tmp_path)
    message = f"error: --output {tmp_path}: holds neutral.jsonl, which no export left there; choose another folder\n"
    assert (done.returncode, done.stderr) == (2, message)


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="only POSIX has it")
def test_no_signal_ends_a_push_when_a_connection_is_closed():
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit):
            main(["push", "--repo-id", "ada/nim", "--configs", "nothing"])
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGPIPE, before)


@pytest.mark.parametrize(("stop", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_stopped_export_leaves_no_temporary_file(tmp_path, stop, status):
    # A shell's background jobs, and so perhaps these tests, ignore SIGINT.
    python = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {RUN}"
    arguments = [sys.executable, "-c", python, "export", "pairs20000,n_train=2000000", "--output", tmp_path]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, cwd=ROOT) as export:
        while export.poll() is None and not list(tmp_path.glob(".train.jsonl.*.tmp")):
            time.sleep(0.01)
        export.send_signal(stop)
        told = export.communicate()[1]
    assert export.returncode == status
    assert "Traceback" not in told
    assert not list(tmp_path.iterdir())


def test_a_full_standard_output_is_one_line():
    for arguments in (["list"], ["show", "357", "--rows", "300"]):
        with open("/dev/full", "w") as full:
            everything = [sys.executable, "-m", "nim_dataset", *arguments]
            done = subprocess.run(everything, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        assert (done.returncode, done.stderr) == (2, "error: cannot write: No space left on device\n")


def test_export_into_what_is_no_folder(command, tmp_path):
    (tmp_path / "file").touch()
    done = command("export", "357", "--output", tmp_path / "file" / "below")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"error: cannot write {tmp_path}/file/below: Not a directory"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "cheatin"], "error: unknown recipe 'cheatin', did you mean 'cheating'? Recipes: "),
        (["export", "cheating,seeds=1"], "error: cheating: unknown option 'seeds', did you mean 'seed'? Options: "),
        (["export", "357", "--output", ""], "error: --output: got '', but the name of a folder is needed"),
        (["check"], "error: check: give either a config, or --train and --eval files"),
        (["check", "--train", "nowhere.jsonl"], "error: nowhere.jsonl: No such file or directory"),
    ],
)
def test_mistakes_are_one_line_and_status_2(command, arguments, message):
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
