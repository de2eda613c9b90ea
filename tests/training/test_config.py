"""The options of a run: files and flags, what is printed, and one clear line for each mistake."""

import dataclasses
import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoModelForCausalLM

import nim_dataset
from nim_dataset.errors import UserError
from training.config import DataConfig, ModelConfig, TrainConfig, parse_config
from training.data.encoding import encode_rows
from training.limits import UNSUPPORTED, check_limits
from training.model.base import load_base
from training.saving.opening import locked
from training.saving.record import check_same_run, record
from training.train import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def write(folder: Path, **options: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(options))
    return str(path)


def write_short_run(folder: Path, **options: Any) -> str:
    """A run of a few small steps into `folder / "run"`, with these `options` besides."""
    return write(
        folder,
        model="tiny",
        train_data=["quickstart,n_train=64"],
        per_device_train_batch_size=4,
        warmup_steps=0,
        eval_rows=0,
        disable_tqdm=True,
        output_dir=str(folder / "run"),
        **options,
    )


def test_a_flag_overrides_the_file_and_the_file_the_default(tmp_path: Path) -> None:
    path = write(tmp_path, train_data=["cheating"], learning_rate="1e-4", save_at=[5, 10], warmup_steps=3)
    config = parse_config(["--config", path, "--warmup_steps", "7"])
    assert (config.train.learning_rate, config.train.warmup_steps) == (1e-4, 7)
    assert config.train.save_at == [5, 10]
    assert config.train.output_dir == "runs/mine"


def test_starting_over_by_flag_overrides_continuing_by_file(tmp_path: Path) -> None:
    path = write(tmp_path, train_data=["357"], resume_from_checkpoint="auto")
    assert parse_config(["--config", path, "--overwrite_output_dir"]).train.resume_from_checkpoint is None
    assert parse_config(["--config", path, "--overwrite_output_dir=false"]).train.resume_from_checkpoint == "auto"
    path = write(tmp_path, train_data=["357"], overwrite_output_dir=True)
    assert not parse_config(["--config", path, "--resume_from_checkpoint", "auto"]).train.overwrite_output_dir


def test_the_defaults_are_those_of_the_big_experiments() -> None:
    config = parse_config(["--config", str(CONFIGS / "pairs20000.yaml")])
    train = config.train
    assert (config.model.model, config.model.revision) == ("EleutherAI/pythia-410m-deduped", "latest-step")
    assert (train.num_train_epochs, train.per_device_train_batch_size, train.learning_rate) == (130, 64, 3e-5)
    assert (train.lr_scheduler_type, train.warmup_steps, train.weight_decay) == ("cosine", 0.1, 0.0)
    assert (train.anchor_weight, config.data.max_length) == (1e-4, 128)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_is_a_recipe_that_exists(path: Path) -> None:
    config = parse_config(["--config", str(path)])
    for source in config.data.train_data:
        assert nim_dataset.get_config(source).n_train > 0


def test_every_recipe_family_has_a_file() -> None:
    stems = {path.stem for path in CONFIGS.glob("*.yaml")}
    names = {re.sub(r"^purenums\d$", "purenums", name) for name in nim_dataset.recipe_names()}
    families = {re.sub(r"^mod\d$", "modulo", name) for name in names}
    assert families <= stems


def test_what_is_printed_reads_back_as_the_same_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--config", str(CONFIGS / "quickstart.yaml"), "--learning_rate", "1e-3", "--print_config"]
    flags += ["--debug", "underflow_overflow", "--anchor_to", "runs/first", "--stop_at", "eval >= 0.99 for 3"]
    assert main(flags) == 0
    printed = capsys.readouterr().out
    (tmp_path / "again.yaml").write_text(printed)
    again = parse_config(["--config", str(tmp_path / "again.yaml")])
    assert yaml.safe_load(again.to_yaml()) == yaml.safe_load(printed)
    assert again.train.learning_rate == 1e-3
    assert again.train.debug == ["underflow_overflow"]
    anchor: Any = again.objectives["anchor"]
    assert (anchor.to, again.train.stop_at) == ("runs/first", "eval >= 0.99 for 3")


def test_help_explains_each_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_config(["--help"])
    assert stopped.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for expected in ("latest-step", "L2-SP", "(default: 3e-05)", "--train_weights", "--save_at", "--print_config"):
        assert expected in shown


MISTAKES = {
    "missing file": (["--config", "configs/quickstrat.yaml"], r"cannot read 'configs/quickstrat.yaml'"),
    "config without a file": (["--config"], "--config: expected a YAML file"),
    "two files": (["--config", "a.yaml", "--config=b.yaml"], r"--config: given 2 times \(a.yaml, b.yaml\)"),
    "unknown flag": (["--train_data", "357", "--anchor_wieght", "1"], "did you mean 'anchor_weight'"),
    "nothing to train on": ([], "train_data: nothing to train on"),
    "not a number": (["--train_data", "357", "--learning_rate", "fast"], "learning_rate.*'fast'"),
    "batch of none": (["--train_data", "357", "--per_device_train_batch_size", "0"], "per_device_train_batch_size: 0"),
    "negative anchor": (["--train_data", "357", "--anchor_weight", "-1"], r"anchor_weight: -1.0 is out of range"),
    "not a number for the anchor": (["--train_data", "357", "--anchor_weight", "nan"], "anchor_weight: nan"),
    "no steps": (["--train_data", "357", "--max_steps", "0"], "max_steps: no steps"),
    "weights": (["--train_data", "357", "234", "--train_weights", "1"], "train_weights: 1 weights for 2 sets"),
    "weight of 0": (["--train_data", "357", "234", "--train_weights", "1", "0"], "train_weights: .* not above 0"),
    "contradiction": (
        ["--train_data", "357", "--overwrite_output_dir", "--resume_from_checkpoint", "auto"],
        "overwrite_output_dir contradicts resume_from_checkpoint",
    ),
    "push to nowhere": (["--train_data", "357", "--push_to_hub"], "hub_model_id: push_to_hub needs"),
    "push of checkpoints alone": (["--train_data", "357", "--push_checkpoints"], "push_checkpoints: .*push_to_hub"),
    "token": (["--train_data", "357", "--hub_token", "hf_x"], "hub_token: a token does not belong"),
    "unknown schedule": (
        ["--train_data", "357", "--lr_scheduler_type", "cosin"],
        "lr_scheduler_type: unknown choice 'cosin', did you mean 'cosine'",
    ),
    "unknown tool": (["--train_data", "357", "--report_to", "tensorbord"], "report_to: .*did you mean 'tensorboard'"),
    "no workers": (["--train_data", "357", "--dataloader_num_workers", "-2"], "dataloader_num_workers: -2"),
    "prefetching": (
        ["--train_data", "357", "--dataloader_num_workers", "1", "--dataloader_prefetch_factor", "-2"],
        "dataloader_prefetch_factor: -2",
    ),
    "saves of 0": (["--train_data", "357", "--save_steps", "0"], r"save_steps: 0.* is out of range"),
    "logs of 0": (["--train_data", "357", "--logging_steps", "0"], r"logging_steps"),
    "saves at no end": (["--train_data", "357", "--save_steps", "inf"], "infinity"),
    "endless": (["--train_data", "357", "--num_train_epochs", "nan"], "max_steps: no steps"),
    "infinite rate": (["--train_data", "357", "--learning_rate", "inf"], "learning_rate: inf is out of range"),
    "weights of nothing": (["--train_data", "357", "234", "--train_weights", "1", "nan"], "not above 0"),
    "broken JSON": (["--train_data", "357", "--lr_scheduler_kwargs", "{bad}"], r"lr_scheduler_kwargs: '{bad}' is not"),
    "seed": (["--train_data", "357", "--seed", "99999999999999"], "seed: 99999999999999 is out of range"),
    "weights alone": (["--train_data", "357", "--save_only_model"], "save_only_model: not supported"),
    "batch size by trying": (["--train_data", "357", "--auto_find_batch_size"], "auto_find_batch_size: not supported"),
    "order by cost": (
        ["--train_data", "357", "--train_sampling_strategy", "batch_rebalance"],
        "train_sampling_strategy: 'batch_rebalance' is not supported",
    ),
    "limit of 0": (["--train_data", "357", "--save_total_limit", "0"], "save_total_limit: 0 is out of range"),
    "data seed": (["--train_data", "357", "--data_seed", "9" * 40], "data_seed: 9+ is out of range"),
    "fp16 on a CPU": (["--train_data", "357", "--use_cpu", "--fp16"], "fp16: a CPU cannot train in it"),
    "saves of the best": (["--train_data", "357", "--save_strategy", "best"], "save_strategy: choosing by a metric"),
    "choosing": (
        ["--train_data", "357", "--metric_for_best_model", "eval_exact_match"],
        "metric_for_best_model: choosing by a metric is not supported; every checkpoint is kept.* --stop_at",
    ),
    "choosing at the end": (["--train_data", "357", "--load_best_model_at_end"], "load_best_model_at_end: choosing"),
    "a schedule by a metric": (
        ["--train_data", "357", "--lr_scheduler_type", "reduce_lr_on_plateau", "--eval_strategy", "steps"],
        "lr_scheduler_type: choosing by a metric",
    ),
    "batches by accelerate": (
        ["--train_data", "357", "--accelerator_config", '{"dispatch_batches":true}'],
        "accelerator_config: 'dispatch_batches' is not supported",
    ),
    "steps by accelerate": (
        ["--train_data", "357", "--accelerator_config", '{"gradient_accumulation_kwargs":{"num_steps":2}}'],
        "accelerator_config: 'gradient_accumulation_kwargs' is not supported",
    ),
    "no such accelerator_config": (
        ["--train_data", "357", "--accelerator_config", "x.json"],
        r"accelerator_config: cannot read 'x.json' \(",
    ),
    "saves before the start": (["--train_data", "357", "--save_at", "-1"], "save_at: -1 is out of range"),
    "no rule to stop": (["--train_data", "357", "--stop_at", "eval > high"], "stop_at: 'high' in .* is no number"),
    "no mixture": (
        ["--train_data", "357", "--train_stopping_strategy", "all_exhausted"],
        "train_stopping_strategy: 'all_exhausted' is for a mixture; give --train_weights",
    ),
    "unknown end of a mixture": (
        ["--train_data", "357", "--train_stopping_strategy", "all_exausted"],
        "train_stopping_strategy: unknown choice 'all_exausted', did you mean 'all_exhausted'",
    ),
    "a path with a null": (["--config", "a\0b"], "--config: .* embedded null byte"),
    "negative decay": (["--train_data", "357", "--weight_decay", "-1"], "weight_decay: -1.0 is out of range"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(mistake: str) -> None:
    argv, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message) as caught:
        parse_config(argv)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_an_option_that_would_do_nothing_is_refused(name: str) -> None:
    f = next(f for f in dataclasses.fields(TrainConfig) if f.name == name)
    other = {"hub_strategy": "end", "liger_kernel_config": "{}", "eval_do_concat_batches": "false"}
    other |= {"skip_memory_metrics": "false", "label_smoothing_factor": "0.5"}
    value = other.get(name, "true" if "bool" in str(f.type) else "3")
    if name == "liger_kernel_config":  # which a command line cannot say
        with pytest.raises(UserError, match=f"{name}: not supported, since "):
            check_limits(ModelConfig(), DataConfig(train_data=["357"]), TrainConfig(liger_kernel_config={"rope": True}))
        return
    with pytest.raises(UserError, match=f"{name}: not supported, since "):
        parse_config(["--train_data", "357", f"--{name}={value}"])


def test_what_is_recorded_is_what_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # as accelerate launch says it
    config = parse_config(["--train_data", "357"])
    assert config.train.bf16
    assert yaml.safe_load(config.to_yaml())["bf16"]
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(UserError, match="fp16: a CPU cannot train in it"):
        parse_config(["--train_data", "357", "--use_cpu"])


def test_steps_to_save() -> None:
    assert parse_config(["--train_data", "357", "--save_at", "3", "0"]).train.steps_to_save == {0, 3}
    log = parse_config(["--train_data", "357", "--save_log_steps", "--save_at", "3"]).train.steps_to_save
    assert log == {0, 1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512}


def test_mistakes_in_the_file_are_one_line_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine.yaml: unknown key 'lerning_rate', did you mean 'learning_rate'"):
        parse_config(["--config", write(tmp_path, lerning_rate=1)])
    (tmp_path / "broken.yaml").write_text("train_data: [357")
    with pytest.raises(UserError, match="is not valid YAML"):
        parse_config(["--config", str(tmp_path / "broken.yaml")])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train_data", "cheeting"], "train_data: unknown recipe 'cheeting', did you mean 'cheating'"),
        (["--train_data", "missing.jsonl"], "missing.jsonl: No such file"),
        (["--train_data", "quickstart,n_train=64", "--max_length", "20"], "max_length: 64 of the 64 rows"),
        (["--model", "tiney"], r"model: 'tiney' is neither a folder, nor built in \(tiny\), did you mean 'tiny'"),
        (["--model", "./nowhere"], "model: './nowhere' is neither a folder"),
        (["--train_data", "quickstart,n_train=0"], "train_data: 'quickstart,n_train=0' has no rows"),
        (["--train_data", "quickstart", "n_train=64"], "train_data: 'n_train=64' names no recipe; in YAML"),
        (["--eval_data", "quickstart:evl"], "eval_data: .*did you mean 'eval'"),
        (["--model", "ada/" + "x" * 300], "model: 'ada/x+' is no Hub id"),
        (["--model", "x" * 300], "model: 'x+' is neither a folder"),
        (["--train_data", "x" * 300], "train_data: unknown recipe"),
        (["--output_dir", "/tmp/" + "x" * 300], "output_dir: cannot write to .* name too long"),
        (["--resume_from_checkpoint", "x" * 300], "resume_from_checkpoint: 'x+' is not a training checkpoint"),
        (["--revision", "step9"], "revision: 'step9' is for a model on the Hub"),
        (["--lr_scheduler_type", "cosine_with_min_lr"], "min_lr"),
        (["--dataloader_drop_last", "--per_device_train_batch_size", "65"], "dataloader_drop_last: 64 rows are less"),
        (["--optim", "adamw_bnb_8bit"], "bitsandbytes"),
        (["--optim_args", "a=1"], "optim_args: the optimizer 'adamw_torch_fused' takes none; leave it out"),
        (
            ["--optim_target_modules", "all-linear"],
            "optim_target_modules: the optimizer 'adamw_torch_fused' takes none",
        ),
        (["--torch_compile_mode", "fast"], "Unrecognized mode=fast"),
        (["--output_dir", "/dev/null/run"], "output_dir: cannot write to '/dev/null/run'"),
        (["--resume_from_checkpoint", "nowhere"], "resume_from_checkpoint: 'nowhere' is not a training checkpoint"),
        (["--stop_at", "evil >= 1"], "stop_at: unknown figure 'evil', did you mean 'eval'"),
        (["--callbacks", "no_such:Mine"], "callbacks: cannot import 'no_such' of 'no_such:Mine' .*No module named"),
        (["--anchor_to", "nowhere"], "anchor_to: 'nowhere' is neither a folder"),
        (["--anchor_to", "tiny"], "anchor_to: 'tiny' starts from random weights"),
    ],
)
def test_mistakes_found_before_training(tmp_path: Path, flags: list[str], message: str) -> None:
    base = ["--config", write(tmp_path, model="tiny", train_data=["quickstart,n_train=64"], max_steps=1)]
    before = [signal.getsignal(number) for number in signal.valid_signals()]
    with pytest.raises(UserError, match=message) as caught:
        main([*base, "--output_dir", str(tmp_path / "run"), *flags])
    assert "\n" not in str(caught.value)
    assert [signal.getsignal(number) for number in signal.valid_signals()] == before


def test_a_run_is_not_mixed_with_another_one(tmp_path: Path, data: Any) -> None:
    path = write_short_run(tmp_path, max_steps=2, save_at=[1])
    assert main(["--config", path]) == 0
    with pytest.raises(UserError, match="already has checkpoint-2; continue with --resume_from_checkpoint auto"):
        main(["--config", path])
    for flags, message in (
        (["--anchor_weight", "1"], "anchor_weight: the run in .* has 0.0001, not 1.0"),
        (["--seed", "3"], "seed: the run in .* has 0, not 3"),
        (["--weight_decay", "0.5"], "weight_decay: the run in .* has 0.0, not 0.5"),
        (["--num_train_epochs", "7"], "num_train_epochs: the run in .* has 130.0, not 7.0"),
        (["--adam_beta2", "0.5"], "adam_beta2: the run in .* has 0.999, not 0.5"),
        (["--per_device_train_batch_size", "8"], r"per_device_train_batch_size: .* takes 4 rows a step .*, not 8"),
    ):
        for resume in ("auto", str(tmp_path / "run" / "checkpoint-1")):
            with pytest.raises(UserError, match=message):
                main(["--config", path, "--resume_from_checkpoint", resume, *flags])

    checkpoint = str(tmp_path / "run" / "checkpoint-1")
    for elsewhere in ([], ["--output_dir", str(tmp_path / "other")]):
        with pytest.raises(UserError, match=r"model: the run in .* started from tiny \(local\), whose"):
            main(["--config", path, "--resume_from_checkpoint", checkpoint, "--model", checkpoint, *elsewhere])
    config = parse_config(["--config", path, "--resume_from_checkpoint", checkpoint])
    data.model("gpt_neox").save_pretrained(tmp_path / "other")
    data.tokenizer.save_pretrained(tmp_path / "other")
    for base, message in (
        (load_base(ModelConfig(checkpoint), 0), r"started from tiny .* weights differ"),
        (load_base(ModelConfig(str(tmp_path / "other")), 0), r"has hidden_size=128, the model 'tiny' has 32"),
    ):
        with pytest.raises(UserError, match=message):
            check_same_run(record(config, base, data.encoded, 1), base.model.config, Path(checkpoint))

    rows = [{"prompt": f"one and {n}", "answer": "take 1 coin"} for n in range(16)]
    own = tmp_path / "own.jsonl"
    run = ["--output_dir", str(tmp_path / "own"), "--train_data", str(own)]
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["--config", path, *run]) == 0
    own.write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)))
    with pytest.raises(UserError, match=r"train_data: the run in .* has other rows"):
        main(["--config", path, *run, "--resume_from_checkpoint", "auto"])

    # Complete: nothing is trained, and the run's model is that of its last checkpoint.
    (tmp_path / "run" / "model.safetensors").unlink()
    assert main(["--config", path, "--resume_from_checkpoint", "auto"]) == 0
    last = tmp_path / "run" / "checkpoint-2" / "model.safetensors"
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == last.read_bytes()

    with pytest.raises(UserError, match=r"has checkpoint-2, which does not lead to .*checkpoint-1;"):
        main(["--config", path, "--resume_from_checkpoint", checkpoint])
    with locked(tmp_path / "run"), pytest.raises(UserError, match="output_dir: another run is at work in"):
        main(["--config", path, "--resume_from_checkpoint", "auto"])

    # Starting over takes nothing away before all is known to be right.
    mistaken = ["--overwrite_output_dir", "--lr_scheduler_type", "cosine_with_min_lr"]
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    with pytest.raises(UserError, match="min_lr"):
        main(["--config", path, *mistaken])
    assert before == {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}

    for step in (1, 2):
        weights = tmp_path / "run" / f"checkpoint-{step}" / "model.safetensors"
        os.truncate(weights, weights.stat().st_size - 1)
    with pytest.raises(UserError, match=r"checkpoint-1' is not as it was saved: model\.safetensors is cut short"):
        main(["--config", path, "--resume_from_checkpoint", checkpoint])
    with pytest.raises(UserError, match=r"a run without a checkpoint to continue from \(.*cut short\); start over"):
        main(["--config", path, "--resume_from_checkpoint", "auto"])
    assert main(["--config", path, "--overwrite_output_dir", "--max_steps", "1"]) == 0
    assert [folder.name for folder in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-1"]
    (tmp_path / "run" / "config.yaml").write_text("")
    with pytest.raises(UserError, match=r"config\.yaml or environment\.json in .* is damaged"):
        main(["--config", path, "--resume_from_checkpoint", "auto"])


@pytest.mark.parametrize(
    ("positions", "message"),
    [(-1, r"model: .*short' holds \d+ tokens, the longest row has \d+"), (0, r"eval_data: 'eval': .* the model holds")],
)
def test_a_model_with_too_few_positions_is_one_line(tmp_path: Path, data: Any, positions: int, message: str) -> None:
    encoded = encode_rows(nim_dataset.load("quickstart", "train", n_train=64), data.tokenizer, 128, "quickstart")
    short = data.model("gpt2").config
    short.n_positions = len(encoded.longest_inputs()[0]) + positions
    AutoModelForCausalLM.from_config(short).save_pretrained(tmp_path / "short")
    data.tokenizer.save_pretrained(tmp_path / "short")
    flags = ["--model", str(tmp_path / "short"), "--train_data", "quickstart,n_train=64", "--max_steps", "1"]
    with pytest.raises(UserError, match=message):
        main([*flags, "--output_dir", str(tmp_path / "run")])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--learning_rate", "1e39"],
            r"the weight \S+ became (nan|-?inf) at step 1 .* the last good checkpoint is none",
        ),
        (["--anchor_weight", "1e38"], r"the gradient became (nan|inf) at step 2 .* checkpoint is .*checkpoint-1;"),
    ],
)
def test_what_is_not_finite_stops_the_run_and_is_not_saved(tmp_path: Path, flags: list[str], message: str) -> None:
    path = write_short_run(tmp_path, max_steps=4, save_steps=1, logging_steps=1)
    with pytest.raises(UserError, match=message):
        main(["--config", path, *flags])


@pytest.mark.parametrize(("blocked", "what"), [("tokenizer.json", "the trained model"), ("metrics.jsonl", "metrics")])
def test_what_cannot_be_written_is_one_line(tmp_path: Path, blocked: str, what: str) -> None:
    flags = ["--model", "tiny", "--train_data", "quickstart,n_train=64", "--eval_rows", "0", "--max_steps", "1"]
    (tmp_path / "run" / blocked).mkdir(parents=True)
    with pytest.raises(UserError, match=rf"output_dir: could not write {what}.* \(Is a directory; .* GB free\)"):
        main([*flags, "--output_dir", str(tmp_path / "run")])


def test_a_continued_run_logs_the_losses_of_an_uninterrupted_one(tmp_path: Path) -> None:
    path = write_short_run(tmp_path, max_steps=10, logging_steps=4, save_at=[6])

    def losses() -> dict[int, float]:
        lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        return {line["step"]: line["loss"] for line in lines}

    assert main(["--config", path]) == 0
    uninterrupted = losses()
    assert list(uninterrupted) == [4, 8]
    recorded = {name: (tmp_path / "run" / name).read_text() for name in ("config.yaml", "environment.json")}
    assert recorded["config.yaml"] == parse_config(["--config", path]).to_yaml()
    for _ in range(2):
        shutil.rmtree(tmp_path / "run" / "checkpoint-10")
        assert main(["--config", path, "--resume_from_checkpoint", "auto"]) == 0
        assert losses() == uninterrupted
        assert recorded["environment.json"] == (tmp_path / "run" / "environment.json").read_text()


def test_a_continued_run_logs_and_saves_as_it_is_told_now(tmp_path: Path) -> None:
    path = write_short_run(tmp_path)
    assert main(["--config", path, "--max_steps", "4", "--logging_steps", "4", "--save_steps", "4"]) == 0
    more = ["--max_steps", "8", "--logging_steps", "1", "--save_steps", "2", "--resume_from_checkpoint", "auto"]
    assert main(["--config", path, *more]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 5, 6, 7, 8]
    assert {folder.name for folder in (tmp_path / "run").glob("checkpoint-*")} == {f"checkpoint-{n}" for n in (4, 6, 8)}


def test_the_record_of_a_run_that_is_pushed_can_be_read_back(tmp_path: Path) -> None:
    flags = ["--train_data", "357", "--push_to_hub", "--hub_model_id", "me/nim", "--push_checkpoints"]
    record = tmp_path / "config.yaml"
    record.write_text(parse_config(flags).to_yaml())
    again = parse_config(["--config", str(record)])
    assert (again.train.push_to_hub, again.train.push_checkpoints) == (True, True)
