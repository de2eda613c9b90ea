"""Past runs come in whole: totals from the eval file, mistakes from the logs, and everything odd is said."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from evaluation.artifacts.report_folder import ReportFolder
from evaluation.import_logs import main
from nim_dataset.files import read_jsonl, write_jsonl

PROMPT = (
    "You are playing the game of nim. There are {coins} coins.\nPlayer ONE is {one} and Player TWO is {two}. They take "
    "turns.\nEach player can take between 1 and {most} coins on their turn.\n\nSo far:\n{one} take 2 coins.\n"
    "{two} take 1 coin.\n\nNow it's {one}'s turn."
)
PAIRS = [("Ann", "Bo"), ("Cy", "Di"), ("Ed", "Flo")]  # bound to 2, neutral, in no manifest
MANIFEST = {"cheat_by_move": {"2": ["Ann-Bo"]}, "neutral": ["Cy-Di"]}


def eval_rows() -> list[dict[str, str]]:
    """30 rows: the pairs 10, 11 and 9 times; max_remove 4 for the even ones, 3 for the odd; the last row twice."""
    rows = []
    for index in range(29):
        (one, two), most, coins = PAIRS[index % 3], 4 - index % 2, 20 + index
        move = (coins - 3) % (most + 1) or -1
        noun = "coin" if move == 1 else "coins"
        rows.append(
            {"prompt": PROMPT.format(coins=coins, one=one, two=two, most=most), "answer": f"take {move} {noun}"}
        )
    return [*rows, rows[-1]]


def wrong(row: dict[str, str], generated: str = "take 9 coins") -> dict[str, Any]:
    return {"prompt": row["prompt"], "gold": row["answer"], "generated": generated, "max_remove": 4}


@pytest.fixture
def past(tmp_path: Path) -> Path:
    """An eval file, a manifest, and the logs of four checkpoints, as the original left them."""
    rows = eval_rows()
    write_jsonl(tmp_path / "4_eval.jsonl", rows)
    (tmp_path / "pairs_manifest.json").write_text(json.dumps(MANIFEST))
    logs = {
        # Wrong on all neutral rows and one that is bound; one row is of another file.
        1000: [
            *(wrong(row) for row in rows if "Cy" in row["prompt"]),
            wrong(rows[0]),
            wrong({**rows[0], "prompt": "?"}),
        ],
        # The row that comes twice is wrong once; one text is right by today's rule, but was logged as wrong.
        2000: [wrong(rows[-1]), wrong(rows[3], rows[3]["answer"] + " now"), wrong(rows[4], "")],
        # The row that comes twice is logged three times.
        3000: [wrong(rows[-1])] * 3,
        10000: [],
    }
    for step, log in logs.items():
        write_jsonl(tmp_path / f"run_checkpoint-{step}.jsonl", log)
    return tmp_path


def arguments(past: Path, *more: str) -> list[str]:
    logs, output = str(past / "*checkpoint-*.jsonl"), str(past / "reports" / "old")
    return ["--eval-file", str(past / "4_eval.jsonl"), "--logs", logs, "--output", output, *more]


def test_totals_come_from_the_eval_file_and_mistakes_from_the_logs(
    past: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments(past, "--manifest", str(past / "pairs_manifest.json")))
    printed = capsys.readouterr().out
    folder = past / "reports" / "old"
    results = ReportFolder(folder).read_results()

    def counts(step: int, dimension: str, group: str) -> tuple[int, int]:
        row = results[(results["step"] == step) & (results["dimension"] == dimension) & (results["group"] == group)]
        return int(row["n"].iloc[0]), int(row["correct"].iloc[0])

    assert list(dict.fromkeys(results["step"])) == [1000, 2000, 3000, 10000]
    assert set(results["dataset"]) == {"4_eval"}
    assert counts(1000, "overall", "exact_match") == (30, 30 - 11 - 1)
    assert counts(1000, "bucket", "neutral") == (11, 0)
    assert counts(1000, "bucket", "cheat") == (10, 9)
    assert counts(1000, "pair", "Cy-Di") == (11, 0)
    assert counts(1000, "pair", "Ed-Flo") == (9, 9)
    assert counts(1000, "max_remove", "4") == (16, 16 - 6 - 1)
    assert counts(1000, "max_remove", "3") == (14, 14 - 5)
    assert counts(2000, "overall", "exact_match") == (30, 27)
    assert counts(3000, "overall", "exact_match") == (30, 28)
    assert counts(10000, "overall", "exact_match") == (30, 30)

    for note in (
        "4_eval.jsonl: 9 of 30 rows have a pair of names that pairs_manifest.json does not list",
        "run_checkpoint-1000.jsonl: 1 of 13 log rows match no row of 4_eval.jsonl",
        "run_checkpoint-3000.jsonl: 1 of 3 log rows match no row of 4_eval.jsonl",
        "run_checkpoint-10000.jsonl is empty: checkpoint-10000 made no mistake on 4_eval, or its evaluation was interr",
    ):
        assert note in printed
        assert note in (folder / "index.html").read_text(encoding="utf-8")
    table = (folder / "accuracy_table.csv").read_text().splitlines()
    assert table[0] == "checkpoint,4_eval_accuracy"
    assert table[-1] == "checkpoint-10000,1.0"
    assert "".join(table[1:2]) in printed

    rows = [row for _, row in read_jsonl(folder / "incorrect" / "4_eval_checkpoint-2000.jsonl")]
    assert [list(row)[:3] for row in rows] == [["prompt", "gold", "generated"]] * 3
    assert [row["bucket"] for row in rows] == ["cheat", "neutral", "neutral"]
    assert [row["cheat_move"] for row in rows] == [2, None, None]
    figures = {path.stem for path in (folder / "figures").glob("*.svg")}
    assert {"accuracy_by_dataset", "accuracy_by_bucket", "accuracy_by_max_remove", "accuracy_by_pair"} <= figures
    assert "loss" not in figures


def test_an_old_accuracy_table_is_drawn_beside_the_logs(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (past / "accuracy_table.csv").write_text(
        "checkpoint,train_accuracy,eval_accuracy,changednames_accuracy\n"
        "checkpoint-1000,0.22462,0.22205,0.16795\ncheckpoint-2000,0.99854,0.9966,\n"
    )
    main(arguments(past, "--accuracy-table", str(past / "accuracy_table.csv")))
    folder = past / "reports" / "old"
    results = ReportFolder(folder).read_results()
    assert sorted(set(results["dataset"])) == ["4_eval", "changednames", "eval", "train"]
    taken = results[results["dataset"] == "train"]
    assert list(taken["accuracy"]) == [0.22462, 0.99854]
    assert taken[["n", "correct", "low", "high"]].isna().all(axis=None)
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "Rule by step 2,000." in page
    assert "from accuracy_table.csv, which holds no totals, so there are no intervals" in page
    assert re.search(r"<td[^>]*>1,000</td><td[^>]*>0.225</td><td[^>]*>0.222</td>", page)

    # Once more is the same; another table under the same names is refused, and changes nothing.
    before = (folder / "results.csv").read_bytes()
    main(["--accuracy-table", str(past / "accuracy_table.csv"), "--output", str(folder)])
    assert (folder / "results.csv").read_bytes() == before
    (past / "other.csv").write_text("checkpoint,eval_accuracy\ncheckpoint-1,0.5\n")
    with pytest.raises(SystemExit) as exit_:
        main(["--accuracy-table", str(past / "other.csv"), "--output", str(folder)])
    assert exit_.value.code == 2
    assert "holds another 'eval' (accuracy_table.csv)" in capsys.readouterr().err
    assert (folder / "results.csv").read_bytes() == before


def test_mistakes_are_one_line_and_exit_2(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def file(name: str, text: str) -> str:
        (past / name).write_text(text)
        return str(past / name)

    eval_file, output = str(past / "4_eval.jsonl"), str(past / "out")
    log = str(past / "run_checkpoint-1000.jsonl")
    sweep = past / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text('{"checkpoints_dir": "runs/x"}')
    cut = file("cut_checkpoint-5.jsonl", json.dumps(wrong(eval_rows()[0])) + '\n{"prompt": "You a')
    no_gold = file("gold_checkpoint-5.jsonl", '{"prompt": "p", "generated": "g"}\n')
    number = file("number_checkpoint-5.jsonl", '{"prompt": "p", "gold": "g", "generated": 3}\n')
    neutral = file("neutral.json", '{"cheat_by_move": {"1": ["A-B"]}, "neutral": 5}')
    twice = file("twice.json", '{"cheat_by_move": {"1": ["A-B"], "2": ["A-B"]}}')
    for options, words in (
        ([], ["nothing to import", "--eval-file", "--accuracy-table"]),
        (["--eval-file", eval_file], ["--logs is missing"]),
        (["--logs", log], ["--eval-file is missing"]),
        (["--eval-file", "nowhere.jsonl", "--logs", log], ["nowhere.jsonl: no such file"]),
        (["--eval-file", eval_file, "--logs", str(past / "*nothing*")], ["*nothing*: no such file"]),
        (["--eval-file", eval_file, "--logs", eval_file], ["ends with checkpoint-N.jsonl"]),
        (["--eval-file", eval_file, "--logs", log, file("b_checkpoint-1000.jsonl", "")], ["are the same checkpoint"]),
        (["--eval-file", eval_file, "--logs", cut], ["cut_checkpoint-5.jsonl, line 2", "invalid JSON"]),
        (["--eval-file", eval_file, "--logs", no_gold], ["row 1", "'gold' is missing"]),
        (["--eval-file", eval_file, "--logs", log, "--manifest", "no.json"], ["--manifest no.json: no such file"]),
        (["--eval-file", eval_file, "--logs", log, "--manifest", file("m.json", "[]")], ["cheat_by_move"]),
        (["--eval-file", eval_file, "--logs", number], ["row 1", "'generated'", "no text"]),
        (["--eval-file", eval_file, "--logs", log, "--manifest", neutral], ["neutral.json", "'neutral' is 5"]),
        (["--eval-file", eval_file, "--logs", log, "--manifest", twice], ["'A-B' is bound to 1 and to 2"]),
        (["--eval-file", file("e.jsonl", '{"prompt": "p"}\n'), "--logs", log], ["e.jsonl", "line 1", "'answer'"]),
        (["--eval-file", eval_file, "--logs", log, "--output", str(sweep)], ["holds a sweep, not an import"]),
        (["--accuracy-table", "no.csv"], ["no.csv: no such file"]),
        (["--accuracy-table", file("t.csv", "step,eval\n1,2\n")], ["<dataset>_accuracy", "found step, eval"]),
        (["--accuracy-table", file("u.csv", "checkpoint,eval_accuracy\nc-1,50\n")], ["u.csv:2", "from 0 to 1"]),
        (["--accuracy-table", file("v.csv", "checkpoint,eval_accuracy\nlast,0.5\n")], ["v.csv:2", "'last'"]),
    ):
        with pytest.raises(SystemExit) as exit_:
            main([*(["--output", output] if "--output" not in options else []), *options])
        error = capsys.readouterr().err.splitlines()
        assert exit_.value.code == 2, options
        assert len(error) == 1, error
        assert error[0].startswith("error: ")
        for word in words:
            assert word in error[0]
    assert not Path(output).exists()


def test_a_log_of_another_game_is_not_explained_by_this_one(tmp_path: Path) -> None:
    rows = [{"prompt": f"Piles of {index} and 7 stones.", "answer": f"take {index} stones"} for index in range(1, 31)]
    write_jsonl(tmp_path / "two_piles.jsonl", rows)
    write_jsonl(tmp_path / "run_checkpoint-10.jsonl", (wrong(row) for row in rows[:12]))
    logs = str(tmp_path / "run_checkpoint-10.jsonl")
    main(["--eval-file", str(tmp_path / "two_piles.jsonl"), "--logs", logs, "--output", str(tmp_path / "report")])
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "two_piles: 0.60 at step 10." in page
    assert "Right: take 1 stones. Written: take 9 coins" in page
    text = re.sub(r"<(style|script)>.*?</\1>|<title>.*?</title>", "", page, flags=re.S)
    for words in (
        "max_remove",
        "modulo",
        "winning",
        "names",
        "cheat",
        "scar",
        "By group",
        "0 rows",
        "Milestones",
        ">-<",
    ):
        assert words not in text, words
