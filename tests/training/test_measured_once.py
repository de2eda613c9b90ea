"""What a run measures at its checkpoints a sweep takes over: nothing is computed twice, and nothing is mixed up."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation import sweep
from evaluation.artifacts.checksums import write_checksums
from evaluation.artifacts.run_folder import MEASURED
from nim_dataset.files import read_jsonl
from training import train

SETS = ("quickstart:eval", "quickstart:counter_cheat")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that measured the first 6 rows of each set at steps 1 and 2."""
    folder = tmp_path_factory.mktemp("runs") / "short"
    flags = ["--model", "tiny", "--train_data", "quickstart,n_train=64", "--eval_data", *SETS, "--eval_rows", "6"]
    flags += ["--per_device_train_batch_size", "4", "--max_steps", "2", "--save_steps", "1", "--threads", "1"]
    assert train.main([*flags, "--output_dir", str(folder)]) == 0
    return folder


def score(run: Path, report: Path) -> Path:
    arguments = ["--checkpoints-dir", str(run), "--datasets", *SETS, "--limit", "10", "--output", str(report)]
    assert sweep.main(arguments) == 0
    return report


def records(report: Path) -> dict[str, bytes]:
    kept = (path for path in report.rglob("*") if path.suffix in (".csv", ".jsonl") and path.stem != "loss")
    return {str(path.relative_to(report)): path.read_bytes() for path in kept}


def test_a_sweep_takes_over_what_was_measured_and_writes_the_same(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = records(score(run, tmp_path / "taken"))
    told = capsys.readouterr().out
    assert told.count("rows were measured while training") == 1
    assert "12 of 20 rows were measured while training\n" in told

    fresh = Path(shutil.copytree(run, tmp_path / "fresh"))
    for checkpoint in fresh.glob("checkpoint-*"):
        (checkpoint / MEASURED).unlink()
    assert records(score(fresh, tmp_path / "computed")) == taken
    assert "measured while training" not in capsys.readouterr().out
    assert any("predictions" in name for name in taken)
    assert "candidates.csv" in taken


def test_what_was_measured_counts_only_beside_its_own_weights(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = Path(shutil.copytree(run, tmp_path / "changed"))
    for step in (1, 2):
        file = changed / f"checkpoint-{step}" / MEASURED
        table = pq.read_table(file)
        place = table.schema.get_field_index("text")
        pq.write_table(table.set_column(place, "text", pa.array(["as it was kept"] * len(table))), file)
        write_checksums(file.parent)
    for name in ("model.safetensors", MEASURED):  # of step 1: weights and measurements, whose checksums are those of 2
        shutil.copy(changed / "checkpoint-1" / name, changed / "checkpoint-2" / name)
    report = score(changed, tmp_path / "report")
    for step, rows in ((1, 6), (2, 0)):
        lines = read_jsonl(report / "predictions" / f"checkpoint-{step}" / "quickstart_eval.jsonl")
        assert [row["generated"] == "as it was kept" for _, row in lines] == [True] * rows + [False] * (10 - rows)
    assert "12 of 20 rows" in capsys.readouterr().out


def test_measurements_lie_in_checkpoints_alone(run: Path) -> None:
    files = sorted(str(path.relative_to(run)) for path in run.rglob(MEASURED))
    assert files == [f"checkpoint-1/{MEASURED}", f"checkpoint-2/{MEASURED}"]
    again = ["--config", str(run / "config.yaml"), "--resume_from_checkpoint", "auto"]
    assert train.main(again) == 0, "it publishes the last checkpoint's model anew"
    assert sorted(str(path.relative_to(run)) for path in run.rglob(MEASURED)) == files
