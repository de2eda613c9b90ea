"""Runs on the Hub: pushed by the training itself and by `python -m training.push`, loaded back, scored."""

import csv
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from hub_client import RECIPE, Client, TrainedRun
from huggingface_hub import ModelCard, ModelCardData, parse_eval_result_entries

from training.hub.model_card import NOT_REPRODUCED

MODEL = {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
WHOLE = MODEL | {".gitattributes", "README.md", "config.yaml", "environment.json", "metrics.jsonl"}


def push(run: Path, *more: str) -> list[str]:
    return ["-m", "training.push", str(run), "--repo-id", "ada/model", *more]


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_training_pushes_the_run(trained: TrainedRun) -> None:
    repo = trained.hub.repo("ada/trained")
    assert repo.trees_of("main") == [{".gitattributes"}, WHOLE]
    assert trained.hub.asked("POST /v1/shards")  # Xet
    assert repo.read("model.safetensors") == (trained.folder / "model.safetensors").read_bytes()
    assert "ada/trained (public: everyone can see it)" in trained.output


def test_each_checkpoint_is_a_branch(trained: TrainedRun) -> None:
    repo = trained.hub.repo("ada/trained")
    assert set(repo.branches) == {"main", "step-2", "step-4"}
    for step in (2, 4):
        assert repo.trees_of(f"step-{step}") == [MODEL | {".gitattributes"}]  # it came into being complete
        weights = (trained.folder / f"checkpoint-{step}" / "model.safetensors").read_bytes()
        assert repo.read("model.safetensors", f"step-{step}") == weights


def test_the_card_says_what_the_run_was(trained: TrainedRun) -> None:
    repo = trained.hub.repo("ada/trained")
    card = ModelCard(repo.read("README.md").decode())
    assert isinstance(card.data, ModelCardData)
    assert card.data.base_model == "ada/base"
    assert f"at `step10`, commit `{trained.base_commit}`" in card.text
    assert f"| Training data | `{RECIPE}` |" in card.text
    assert "| Anchor weight (L2-SP) | 0.5 |" in card.text
    assert "4 steps of 16 rows" in card.text
    options = yaml.safe_load((trained.folder / "config.yaml").read_text())
    assert options["push_to_hub"] is True
    shown = set(options) - set(NOT_REPRODUCED) - {"hub_model_id"}
    assert shown == set(re.findall(r"^\| `(\w+)` \|", card.text.partition("## Hyper")[2], re.M))
    last = [line for line in map(json.loads, (trained.folder / "metrics.jsonl").open()) if "eval_exact_match" in line][
        -1
    ]
    assert {result.dataset_split: result.metric_value for result in card.data.eval_results or []} == {
        "eval": last["eval_exact_match"],
        **{r: last[f"eval_{r}_exact_match"] for r in ("cheat_consistent", "counter_cheat", "neutral", "unseen_names")},
    }


def test_the_published_config_reproduces_the_run(trained: TrainedRun, tmp_path: Path) -> None:
    repo = trained.hub.repo("ada/trained")
    (tmp_path / "config.yaml").write_bytes(repo.read("config.yaml"))
    args = ["--config", str(tmp_path / "config.yaml"), "--output_dir", str(tmp_path / "again")]
    trained.client.ok("training/train.py", *args)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == repo.read("model.safetensors")


def test_the_model_loads_back(trained: TrainedRun) -> None:
    loaded = trained.client.script(f"""
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer

for revision, folder in (("main", "."), ("step-2", "checkpoint-2")):
    theirs = AutoModelForCausalLM.from_pretrained("ada/trained", revision=revision)
    ours = AutoModelForCausalLM.from_pretrained({str(trained.folder)!r} + "/" + folder)
    assert all(torch.equal(a, b) for a, b in zip(theirs.state_dict().values(), ours.state_dict().values(), strict=True))
    assert theirs.generation_config.eos_token_id == ours.generation_config.eos_token_id is not None
card = ModelCard.load("ada/trained")
card.validate()
data = card.data
assert (data.license, data.base_model, data.base_model_relation) == ("apache-2.0", "ada/base", "finetune")
assert {{"nim", "shortcut-learning", "l2-sp"}} <= set(data.tags)
tokenizer = AutoTokenizer.from_pretrained("ada/trained")
inputs = tokenizer("You are playing the game of nim.", return_tensors="pt")
assert theirs.generate(**inputs, max_new_tokens=2).shape[1] > inputs.input_ids.shape[1]
print(tokenizer.padding_side)
""")
    assert loaded == "left\n"


def test_the_cards_code_runs(trained: TrainedRun) -> None:
    card = trained.hub.repo("ada/trained").read("README.md").decode()
    code = card.partition("```python\n")[2].partition("```")[0]
    assert "AutoModelForCausalLM" in code
    assert trained.client.script(code)


def test_checkpoints_on_the_hub_are_scored_and_the_figure_is_shown(
    trained: TrainedRun, client: Client, tmp_path: Path
) -> None:
    report = tmp_path / "reports" / trained.folder.name
    trained.client.ok(
        "evaluation/sweep.py",
        "--checkpoints-dir",
        "ada/trained",
        "--datasets",
        f"{RECIPE}:eval",
        "--output",
        str(report),
        "--limit",
        "8",
    )
    with open(report / "results.csv") as file:
        assert {row["step"] for row in csv.DictReader(file)} == {"2", "4"}

    client.ok(*push(trained.folder, "--report", str(report)))
    files = client.hub.repo("ada/model").files()
    assert files["figures/accuracy_by_dataset.png"].startswith(b"\x89PNG")
    assert "](figures/accuracy_by_dataset.png)" in files["README.md"].decode()


def test_pushing_again_uploads_nothing_and_results_are_linked_to_their_dataset(
    trained: TrainedRun, client: Client
) -> None:
    data = ("-m", "nim_dataset", "push", "--repo-id", "ada/nim", "--configs")
    client.ok(*data, RECIPE)
    client.hub.create("ada/model", files={"README.md": b"---\ndatasets: ada/other\n---\nMine\n"})
    args = push(trained.folder, "--checkpoints", "--dataset-id", "ada/nim")
    client.ok(*args)
    repo = client.hub.repo("ada/model")
    heads = dict(repo.branches)
    client.hub.requests.clear()
    client.ok(*args)
    assert repo.branches == heads
    assert not client.hub.asked("^PUT|^DELETE|/commit/|/branch/|/repos/create")

    card = ModelCard(repo.read("README.md").decode())
    assert isinstance(card.data, ModelCardData)
    assert card.data.datasets == ["ada/other", "ada/nim"]
    results = card.data.eval_results or []
    assert {(r.dataset_type, r.dataset_config) for r in results} == {("ada/nim", "quickstart")}
    entries = parse_eval_result_entries(yaml.safe_load(repo.read(".eval_results/nim.yaml")))
    assert {entry.task_id.removeprefix("quickstart_"): entry.value for entry in entries} == {
        result.dataset_split: result.metric_value for result in results
    }
    head = client.hub.repo("ada/nim", "dataset").branches["main"]
    assert {(entry.dataset_id, entry.dataset_revision) for entry in entries} == {("ada/nim", head)}

    client.ok(*data, f"{RECIPE},seed=5")
    line = client.error(*push(trained.folder, "--dataset-id", "ada/nim/data"))
    assert line == "error: --dataset-id: there is no dataset 'ada/nim/data' on the Hub, or none that you may see"
    again = " ".join(("python", *data, RECIPE))
    assert client.error(*args) == f"error: --dataset-id: ada/nim does not hold the rows of '{RECIPE}'; {again}"


@pytest.mark.parametrize(
    "fault",
    [
        {"pattern": "POST /api/models/ada/model/commit/main", "status": 429, "headers": {"Retry-After": "1"}},
        {"pattern": "POST /api/models/ada/model/commit/main", "lose_answer": True},
        {"pattern": "PUT /upload/", "drop_after": 100},
        {"pattern": "POST /api/repos/create", "status": 500},
        {"pattern": "POST /api/models/ada/model/branch/step-2", "lose_answer": True},
    ],
    ids=lambda fault: f"{fault['pattern'].rsplit('/', 2)[-2]}-{next(k for k in fault if k != 'pattern')}",
)
def test_a_fault_that_passes_is_outlasted(trained: TrainedRun, client: Client, fault: dict) -> None:
    client.hub.multipart_above, client.hub.chunk_size = 20_000, 25_000  # the weights go up in several parts
    before = contents(trained.folder)
    injected = client.hub.fail(**fault)
    client.ok(*push(trained.folder, "--checkpoints"))
    assert injected.times == 0
    repo = client.hub.repo("ada/model")
    assert repo.trees_of("main") == [{".gitattributes"}, WHOLE]
    assert set(repo.branches) == {"main", "step-2", "step-4"}
    assert client.hub.asked("POST /api/complete/")
    assert contents(trained.folder) == before


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"pattern": "POST .*/commit/main", "status": 500}, "the Hub answers 500 (injected fault)"),
        ({"pattern": "PUT /upload/", "status": 403}, "the token may not write to ada/model"),
        ({"pattern": "POST .*/preupload/", "status": 401}, "the Hub rejects the token (invalid or expired)"),
        ({"pattern": "POST .*/commit/main", "status": 429, "headers": {"Retry-After": "9999"}}, "rate limit"),
    ],
    ids=["500", "403", "401", "429"],
)
def test_a_fault_that_stays_is_one_line(trained: TrainedRun, client: Client, fault: dict, message: str) -> None:
    before = contents(trained.folder)
    client.hub.fail(times=99, **fault)
    line = client.error(*push(trained.folder))
    assert message in line
    assert f"the run is safe in {trained.folder}" in line
    assert client.hub.repo("ada/model").trees_of("main") == [{".gitattributes"}]
    assert contents(trained.folder) == before

    client.hub.faults.clear()
    again = line.partition("again: python ")[2].partition(")")[0]
    client.ok(*again.split())
    assert client.hub.repo("ada/model").trees_of("main") == [{".gitattributes"}, WHOLE]


def test_the_training_token_is_nowhere(trained: TrainedRun) -> None:
    token = trained.hub.token
    assert token not in trained.output
    files = [path for path in trained.client.home.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if token.encode() in path.read_bytes()] == []
    for repo in trained.hub.repos.values():
        assert not [content for content in repo.blobs.values() if token.encode() in content]


def test_credentials_are_checked_before_training(client: Client, tmp_path: Path) -> None:
    client.hub.expire(client.hub.token)
    folder = tmp_path / "run"
    line = client.error(
        "training/train.py",
        "--model",
        "tiny",
        "--train_data",
        RECIPE,
        "--max_steps",
        "1",
        "--output_dir",
        str(folder),
        "--push_to_hub",
        "--hub_model_id",
        "ada/model",
    )
    assert line.startswith("error: cannot push to ada/model: the Hub rejects the token (invalid or expired)")
    assert not folder.exists()
    assert len(client.hub.requests) == 1


def test_a_folder_that_is_no_run(trained: TrainedRun, client: Client, tmp_path: Path) -> None:
    assert "config.yaml is missing" in client.error(*push(tmp_path))
    run = shutil.copytree(trained.folder, tmp_path / "run")
    (run / "model.safetensors").unlink()
    assert "no *.safetensors here" in client.error(*push(run))
    assert not client.hub.requests


def test_a_token_in_the_run_is_not_published(trained: TrainedRun, client: Client, tmp_path: Path) -> None:
    run = shutil.copytree(trained.folder, tmp_path / "run")
    with open(run / "config.yaml", "a") as file:
        file.write(f"note: {client.hub.token}\n")
    line = client.error(*push(run))
    assert line.startswith("error: config.yaml holds a Hugging Face token")
    assert client.hub.token not in line
    assert not client.hub.requests


def test_private_is_private(trained: TrainedRun, client: Client) -> None:
    said = client.ok(*push(trained.folder, "--private"))
    assert "ada/model (private: only you and your organization see it)" in said
    assert client.hub.repo("ada/model").private
    client.hub.repo("ada/model").private = False
    assert "is public on the Hub already" in client.error(*push(trained.folder, "--private"))


def test_what_people_changed_on_the_hub_stays(trained: TrainedRun, client: Client) -> None:
    client.ok(*push(trained.folder, "--checkpoints"))
    repo = client.hub.repo("ada/model")
    ours = repo.read("README.md").decode()
    changed = "license: gpl-3.0  # asked our lawyer\nextra_gated_prompt: Please\nlibrary_name:"
    edited = ours.replace("library_name:", changed)
    edited = edited.replace("# model\n", "# A model of mine\n\nBefore.\n") + "\nAfter.\n"
    theirs = {
        "README.md": edited.encode(),
        "notes.md": b"mine",
        "adapter/model.safetensors": b"mine",
        "lora.safetensors": b"m",
    }
    client.hub.commit("ada/model", theirs)
    client.hub.commit("ada/model", {"README.md": b"Mine"}, "step-2")
    assert "README.md: unchanged" in client.ok(*push(trained.folder, "--checkpoints"))
    files = repo.files()
    assert {path: files.get(path) for path in theirs} == theirs
    assert repo.read("README.md", "step-2") == b"Mine"

    other = edited.replace("4 steps of 16 rows", "5 steps").replace("value: 0", "value: 7").encode()
    client.hub.commit("ada/model", {"README.md": other})
    said = client.ok(*push(trained.folder, "--checkpoints"))
    assert (
        "README.md: 'model-index' changed, all else kept; edited on the Hub, so not written anew: section 'run'" in said
    )
    card = repo.read("README.md").decode()
    assert ModelCard(card).data.to_dict() == ModelCard(edited).data.to_dict()
    assert card.partition("---\n\n#")[2] == other.decode().partition("---\n\n#")[2]
    assert changed in card

    client.ok(*push(trained.folder, "--checkpoints", "--overwrite-card"))
    assert repo.read("README.md").decode() == ours


def test_a_card_that_cannot_be_kept_is_one_line(trained: TrainedRun, client: Client) -> None:
    client.hub.create("ada/model", files={"README.md": b"---\nlicense: [mit\n---\n"})
    assert client.error(*push(trained.folder)).startswith(
        "error: README.md of ada/model: its YAML metadata cannot be read"
    )
    assert not client.hub.asked("^(POST|PUT|DELETE)")
