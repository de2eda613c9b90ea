"""Past runs come in whole: totals from the eval file, mistakes from the logs, and everything odd is said."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from evaluation.artifacts.report_folder import COLUMNS, ReportFolder
from evaluation.import_logs import main, parse_args, read_all
from evaluation.past.imported import save
from nim_dataset.errors import UserError
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


def accuracies(folder: Path) -> dict[tuple[str, int], tuple[int, int]]:
    """(dataset, step) -> rows and right ones."""
    results = ReportFolder(folder).read_results()
    overall = results[(results["dimension"] == "overall") & (results["group"] == "exact_match")]
    keys = zip(overall["dataset"], overall["step"], strict=True)
    return dict(zip(keys, zip(overall["n"], overall["correct"], strict=True), strict=True))


def add(*argv: str) -> str:
    """Imports as the command does, without drawing; returns the notes."""
    options = parse_args(argv)
    imports = read_all(options)
    save(ReportFolder(options.output), imports)
    return "\n".join(note for each in imports for note in each.notes)


def test_gold_in_lower_case_and_other_line_ends_are_the_same_rows(past: Path) -> None:
    rows = [{**row, "answer": row["answer"].title()} for row in eval_rows()]
    write_jsonl(past / "4_eval.jsonl", rows)
    log = [
        wrong({"prompt": row["prompt"].replace("\n", " \r\n") + " ", "answer": row["answer"].lower()})
        for row in rows[:12]
    ]
    write_jsonl(past / "x_checkpoint-1.jsonl", log)
    add(*arguments(past), "--logs", str(past / "x_checkpoint-1.jsonl"))
    assert accuracies(past / "reports" / "old") == {("4_eval", 1): (30, 18)}


def test_logs_of_another_eval_file_can_be_accepted(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strangers = [wrong({"prompt": f"No {index}", "answer": "take 1 coin"}) for index in range(9)]
    write_jsonl(past / "x_checkpoint-1.jsonl", [*strangers, wrong(eval_rows()[5])])
    log = ["--logs", str(past / "x_checkpoint-1.jsonl")]
    with pytest.raises(SystemExit):
        main([*arguments(past), *log])
    assert "9 of 10 log rows (90%) match no row of 4_eval.jsonl: 'No 0'" in capsys.readouterr().err
    assert not (past / "reports").exists()
    notes = add(*arguments(past), *log, "--allow-unmatched")
    assert accuracies(past / "reports" / "old") == {("4_eval", 1): (30, 29)}
    assert "9 of 10 log rows match no row of 4_eval.jsonl; left out" in notes


def test_rows_that_a_sweep_did_not_score_are_not_right(past: Path) -> None:
    """A sweep with --limit 12, all wrong: by its sweep.json, by the option, and where nothing tells."""
    log = past / "sweep" / "incorrect" / "4_eval_checkpoint-5.jsonl"
    write_jsonl(log, [wrong(row) for row in eval_rows()[:12]])
    (past / "sweep" / "sweep.json").write_text('{"limit": 12}')
    copied = past / "copied_checkpoint-5.jsonl"
    copied.write_bytes(log.read_bytes())
    for name, options, expected, note in (
        ("told", ["--logs", str(log)], (12, 0), "only the first 12 of 30 rows of 4_eval.jsonl were scored"),
        ("option", ["--logs", str(copied), "--limit", "12"], (12, 0), "only the first 12 of 30 rows"),
        ("unknown", ["--logs", str(copied)], (30, 18), "its last wrong row is row 12 of 30"),
    ):
        assert note in add(*arguments(past), *options, "--output", str(past / name))
        assert accuracies(past / name) == {("4_eval", 5): expected}


def test_steps_are_given_found_in_the_name_and_moved_on(past: Path) -> None:
    rows = eval_rows()
    for name, wrongs in (
        ("28000incorrect_predictions", 4),
        ("46_56000", 3),
        ("inc_234", 2),
        ("double_checkpoint-7", 1),
    ):
        write_jsonl(past / f"{name}.jsonl", [wrong(row) for row in rows[:wrongs]])

    def take(log: str, *options: str) -> None:
        add(*arguments(past), "--logs", str(past / f"{log}.jsonl"), *options)

    take("28000incorrect_predictions", "--step-pattern", "^([0-9]+)incorrect")
    take("46_56000", "--step-pattern", r"_([0-9]+)\.jsonl")
    take("inc_234", "--step", "84000")
    take("double_checkpoint-7", "--step-offset", "84000")
    take("double_checkpoint-7", "--name", "other")
    folder = past / "reports" / "old"
    expected = {28000: 26, 56000: 27, 84000: 28, 84007: 29}
    together = {("4_eval", step): (30, right) for step, right in expected.items()} | {("other", 7): (30, 29)}
    assert accuracies(folder) == together
    # Another log of a checkpoint that is there is refused, and changes nothing.
    before = (folder / "results.csv").read_bytes()
    with pytest.raises(UserError, match="holds checkpoint-28000 of '4_eval' from another log"):
        take("inc_234", "--step", "28000")
    assert (folder / "results.csv").read_bytes() == before


def test_published_figures_by_max_remove_and_tables_of_the_same_columns(past: Path) -> None:
    (past / "acc_34.json").write_text('{"3": {"10000": 0.25, "20000": 1.0}, "4": {"10000": 0.15, "20000": 0.5}}')
    for name in ("one", "two"):
        (past / f"{name}.csv").write_text(f"checkpoint,eval_accuracy\ncheckpoint-10000,0.{len(name)}\n")
    folder = past / "reports" / "old"
    add("--accuracy-table", str(past / "acc_34.json"), "--step-offset", "100", "--output", str(folder))
    add("--accuracy-table", str(past / "one.csv"), "--output", str(folder))
    main(["--accuracy-table", str(past / "two.csv"), "--name", "second", "--output", str(folder)])
    results = ReportFolder(folder).read_results()
    by_k = results[results["dimension"] == "max_remove"]
    found = zip(by_k["dataset"], by_k["step"], by_k["group"], by_k["accuracy"], strict=True)
    shares = {("3", 10100): 0.25, ("4", 10100): 0.15, ("3", 20100): 1.0, ("4", 20100): 0.5}
    assert sorted(found) == sorted(("acc_34", step, group, share) for (group, step), share in shares.items())
    assert sorted((folder / "accuracy_table.csv").read_text().splitlines()) == [
        "checkpoint,eval_accuracy,second:eval_accuracy,acc_34_accuracy",
        "checkpoint-10000,0.3,0.3,",
        "checkpoint-10100,,,0.2",
        "checkpoint-20100,,,0.75",
    ]
    assert (folder / "figures" / "accuracy_by_max_remove.svg").is_file()


def test_mistakes_are_one_line_and_exit_2(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def file(name: str, text: str) -> str:
        (past / name).write_text(text)
        return str(past / name)

    eval_file, output = str(past / "4_eval.jsonl"), str(past / "out")
    log = str(past / "run_checkpoint-1000.jsonl")
    sweep = past / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text('{"checkpoints_dir": "runs/x"}')
    repeated = past / "repeated"
    repeated.mkdir()
    (repeated / "sweep.json").write_text('{"imported": {}, "notes_by_dataset": {}}')
    result = "checkpoint-1,1,eval,overall,exact_match,4,3,0.75,0.1,0.9\n"
    (repeated / "results.csv").write_text(",".join(COLUMNS) + "\n" + result * 2)
    cut = file("cut_checkpoint-5.jsonl", json.dumps(wrong(eval_rows()[0])) + '\n{"prompt": "You a')
    no_gold = file("gold_checkpoint-5.jsonl", '{"prompt": "p", "generated": "g"}\n')
    number = file("number_checkpoint-5.jsonl", '{"prompt": "p", "gold": "g", "generated": 3}\n')
    neutral = file("neutral.json", '{"cheat_by_move": {"1": ["A-B"]}, "neutral": 5}')
    twice = file("twice.json", '{"cheat_by_move": {"1": ["A-B"], "2": ["A-B"]}}')
    twice_csv = file("twice.csv", "checkpoint,eval_accuracy\nc-1,0.5\nc-2,0.5\nc-1,0.6\n")
    twice_json = file("twice_acc.json", '{"3": {"5": 0.5}, "3": {"5": 0.6}}')
    table = file("x.csv", "checkpoint,eval_accuracy\nc-1,0.5\n")
    logged, logs = ["--eval-file", eval_file, "--logs"], [log, str(past / "run_checkpoint-2000.jsonl")]
    unnamed = file("inc_357.jsonl", "")
    no_match = json.dumps(wrong({"prompt": "No 1", "answer": "take 1 coin"})) + "\n"
    others = str(past / "other_checkpoint-7.jsonl")
    strangers = [wrong({"prompt": f"No {index}", "answer": "take 1 coin"}) for index in range(4, 9)]
    write_jsonl(Path(others), [*map(wrong, eval_rows()[:4]), *strangers])
    few = str(past / "few_checkpoint-7.jsonl")
    write_jsonl(Path(few), [*map(wrong, eval_rows()[:2]), *strangers[:3]])
    for options, words in (
        ([], ["nothing to import", "--eval-file", "--accuracy-table"]),
        (["--eval-file", eval_file], ["--logs is missing"]),
        (["--logs", log], ["--eval-file is missing"]),
        (["--eval-file", "nowhere.jsonl", "--logs", log], ["nowhere.jsonl: no such file"]),
        (["--eval-file", eval_file, "--logs", str(past / "*nothing*")], ["*nothing*: no such file"]),
        (["--eval-file", eval_file, "--logs", eval_file], ["ends with checkpoint-N.jsonl"]),
        (["--eval-file", eval_file, "--logs", log, file("b_checkpoint-1000.jsonl", "")], ["are the same checkpoint"]),
        (["--eval-file", eval_file, "--logs", cut], ["cut_checkpoint-5.jsonl, line 2", "invalid JSON"]),
        (["--eval-file", eval_file, "--logs", no_gold], ["line 1", "'gold' is missing"]),
        (["--eval-file", eval_file, "--logs", log, "--manifest", "no.json"], ["--manifest no.json: no such file"]),
        (["--eval-file", eval_file, "--logs", log, "--manifest", file("m.json", "[]")], ["cheat_by_move"]),
        (["--eval-file", eval_file, "--logs", number], ["line 1", "'generated'", "no text"]),
        (["--eval-file", eval_file, "--logs", log, "--manifest", neutral], ["neutral.json", "'neutral' is 5"]),
        (["--eval-file", eval_file, "--logs", log, "--manifest", twice], ["'A-B' is bound to 1 and to 2"]),
        (["--eval-file", file("e.jsonl", '{"prompt": "p"}\n'), "--logs", log], ["e.jsonl", "line 1", "'answer'"]),
        (["--eval-file", eval_file, "--logs", log, "--output", str(sweep)], ["holds a sweep, not an import"]),
        (
            ["--accuracy-table", table, "--output", str(repeated)],
            ["results.csv, line 3: checkpoint-1 eval", "is there twice"],
        ),
        (["--accuracy-table", "no.csv"], ["no.csv: no such file"]),
        (["--accuracy-table", file("t.csv", "step,eval\n1,2\n")], ["<dataset>_accuracy", "found step, eval"]),
        (["--accuracy-table", file("u.csv", "checkpoint,eval_accuracy\nc-1,50\n")], ["u.csv:2", "from 0 to 1"]),
        (["--accuracy-table", file("v.csv", "checkpoint,eval_accuracy\nlast,0.5\n")], ["v.csv:2", "'last'"]),
        (["--accuracy-table", file("w.csv", "checkpoint,eval_accuracy\nc-1,\n")], ["w.csv: no accuracy in it"]),
        (["--accuracy-table", twice_csv], ["twice.csv:4", "'c-1' is there twice, in line 2 too"]),
        (
            ["--accuracy-table", file("z.csv", "checkpoint,a_accuracy,a_accuracy\n")],
            ["column a_accuracy is there twice"],
        ),
        (["--accuracy-table", twice_json], ["twice_acc.json", "'3' is there twice"]),
        (["--accuracy-table", file("acc_1.json", '{"3": {"5": -3.5}}')], ["max_remove 3, step 5 is '-3.5'", "0 to 1"]),
        (["--accuracy-table", file("acc_2.json", '{"3": 0.5}')], ["acc_2.json", "accuracy by max_remove and step"]),
        (["--accuracy-table", file("acc_3.json", '{"10000": {"3": 0.5}}')], ["acc_3.json", "by max_remove and step"]),
        (["--accuracy-table", table, "--step", "3"], ["--step is about logs"]),
        (["--accuracy-table", table, "--step-offset", "-2"], ["--step-offset -2", "step 1 of", "becomes -1"]),
        ([*logged, log, "--accuracy-table", file("y.csv", "checkpoint,eval_accuracy\nc-1,5\n")], ["y.csv:2"]),
        ([*logged, *logs, "--step", "3"], ["--step 3: --logs names 2 files"]),
        ([*logged, log, "--step-pattern", "("], ["--step-pattern '('", "regular expression"]),
        ([*logged, log, "--step-pattern", "run"], ["--step-pattern 'run'", "in parentheses"]),
        ([*logged, log, "--step-pattern", "x([0-9]+)"], ["'x([0-9]+)' finds no step in it"]),
        ([*logged, unnamed], ["inc_357.jsonl: the name of a log ends with", "--step", "--step-pattern"]),
        ([*logged, log, "--step", "3", "--step-pattern", "x([0-9]+)"], ["--step 3 and --step-pattern both"]),
        ([*logged, log, "--limit", "0"], ["--limit: got 0"]),
        ([*logged, others], ["other_checkpoint-7.jsonl: 5 of 9 log rows (56%) match no row of 4_eval.jsonl", "'No 4'"]),
        ([*logged, few], ["3 of 5 log rows (60%) match no row"]),
        ([*logged, file("none_checkpoint-7.jsonl", no_match)], ["1 of 1 log rows (100%)", "--allow-unmatched"]),
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
