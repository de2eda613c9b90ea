"""What people keep in a dataset repository survives a push: their card, their files, their configs."""

import io
import json
import re
import shlex

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hub_client import Client

SIZES = "n_train=150,n_eval=20,n_regime=15"
CARD = b"""---
# chosen with care
title: My games
license: cc-by-4.0   # not MIT
extra_gated_prompt: "Say please"
size_categories: [n<1K]
---
# My games

What I found out.
"""


def push(*configs: str) -> list[str]:
    return ["-m", "nim_dataset", "push", "--repo-id", "ada/nim", "--configs", *(f"{c},{SIZES}" for c in configs)]


def load(client: Client, *names: str) -> dict[str, int]:
    """Rows of each config's train split, loaded as a user would."""
    return json.loads(
        client.script(f"""
import json
from datasets import load_dataset

print(json.dumps({{name: load_dataset("ada/nim", name or None, split="train").num_rows for name in {names!r}}}))
""")
    )


def test_what_people_wrote_in_the_card_stays(client: Client) -> None:
    client.ok(*push("357"))
    repo = client.hub.repo("ada/nim", "dataset")
    ours = repo.read("README.md").decode()
    edited = ours.replace("license: mit", "# asked our lawyer\nlicense: gpl-3.0  # really")
    edited = edited.replace("pretty_name:", "extra_gated_prompt: Say please\npretty_name:")
    edited = edited.replace("# Nim: the rule or the shortcut", "# Ada's games\n\nA word before.") + "\nA word after.\n"
    client.hub.commit("ada/nim", {"README.md": edited.encode()}, type="dataset")

    assert "up to date: nothing to upload" in client.ok(*push("357"))
    assert repo.read("README.md").decode() == edited

    said = client.ok(*push("357", "234"))
    assert "README.md      'configs', 'dataset_info', section '234' changed, all else kept" in said
    card = repo.read("README.md").decode()
    kept = re.sub("(configs|dataset_info):\n([- ].*\n)+", "", edited).splitlines()
    assert [line for line in kept if line not in card.splitlines()] == []
    assert card.index("A word before.") < card.index("generated: about") < card.index("A word after.")
    assert load(client, "357", "234") == {"357": 150, "234": 150}


def test_a_section_that_people_edited_stays_until_it_may_be_overwritten(client: Client) -> None:
    client.ok(*push("357", "234"))
    repo = client.hub.repo("ada/nim", "dataset")
    ours = repo.read("README.md").decode()
    edited = (
        ours.replace("pip install .", "pip install numpy", 1).replace("license: mit", "license: gpl-3.0") + "Mine\n"
    )
    client.hub.commit("ada/nim", {"README.md": edited.encode()}, type="dataset")
    note = "edited on the Hub, so not written anew: section '234' (--overwrite-card replaces the whole card)"
    said = client.ok(*push("234"))
    assert "up to date: nothing to upload" in said
    assert f"README.md      {note}" in said

    said = client.ok(*push("234,seed=4", "357,seed=4"))
    assert f"README.md      'dataset_info', section '357' changed, all else kept; {note}" in said
    card = repo.read("README.md").decode()
    assert card.count("pip install numpy") == 1
    assert card.endswith("Mine\n")

    said = client.ok(*push("234"), "--overwrite-card")
    assert "README.md      'license', 'dataset_info', section '234', all that was written by hand replaced\n" in said
    theirs = repo.read("README.md").decode()
    assert theirs.startswith(ours.partition("configs:")[0])
    assert "pip install numpy" not in theirs
    assert "Mine" not in theirs
    assert theirs.count('"seed": 4') == 1  # the section of the config that was not pushed
    assert load(client, "", "234", "357") == {"": 150, "234": 150, "357": 150}  # the first config has no need of a name


def test_a_card_of_another_origin_is_added_to(client: Client) -> None:
    repo = client.hub.create("ada/nim", "dataset", files={"README.md": CARD})
    client.ok(*push("357"))
    card = repo.read("README.md")
    head, _, body = CARD.rpartition(b"---\n")
    assert card.startswith(head)
    assert body in card
    assert card.count(b"<!-- generated: ") == 2


def test_files_that_are_not_ours_stay(client: Client) -> None:
    client.ok(*push("357"))
    theirs = {
        "357/notes.md": b"mine",
        "357/train-extra.parquet": b"mine",
        "357/old/train-00000-of-00001.parquet": b"mine",
        "a.csv": b"x\n1\n",
    }
    client.hub.commit("ada/nim", theirs, type="dataset")
    # As an earlier push of more rows may have left it.
    client.hub.commit("ada/nim", {"357/train-00001-of-00002.parquet": b"ours"}, type="dataset")
    client.ok(*push("357,seed=4"))
    files = client.hub.repo("ada/nim", "dataset").files()
    assert {path: files.get(path) for path in theirs} == theirs
    assert "357/train-00001-of-00002.parquet" not in files
    assert load(client, "357") == {"357": 150}


PLAIN = """
from datasets import Dataset

Dataset.from_dict({{"x": [1, 2, 3]}}).push_to_hub("ada/nim"{0})
"""


@pytest.mark.parametrize(("argument", "name"), [("", "default"), (", 'mine'", "mine")])
def test_onto_a_dataset_of_push_to_hub(client: Client, argument: str, name: str) -> None:
    client.script(PLAIN.format(argument))
    client.ok(*push("quickstart", "357"))
    assert load(client, name, "357", "quickstart") == {name: 3, "357": 150, "quickstart": 150}
    # Whoever names no config gets what they got before.
    assert load(client, "")[""] == (3 if name == "default" else 150)


def test_a_config_of_the_same_name_that_is_not_ours_is_not_replaced(client: Client) -> None:
    client.script(PLAIN.format(", '357'"))
    before = client.hub.repo("ada/nim", "dataset").files()
    line = client.error(*push("234", "357"))
    assert line.startswith("error: ada/nim has a config '357' that was not made here: push to another repository, ")
    assert client.hub.repo("ada/nim", "dataset").files() == before


PUSHES = """
import sys
from nim_dataset.__main__ import main

config, *repositories = sys.argv[1:]
for repo_id in repositories:
    try:
        status = main(["push", "--repo-id", repo_id, "--configs", config])
    except SystemExit as end:
        status = end.code
    print("status", status)
"""


def push_to_each(client: Client, repositories: list[str]) -> tuple[str, list[str]]:
    """Pushes `357` to one repository after the other in one process; its output, and the errors that it told."""
    done = client.run("-c", PUSHES, f"357,{SIZES}", *repositories)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def test_odd_cards_that_can_be_merged(client: Client) -> None:
    odd = [
        ("configs: [{data_files: a.parquet}]", {"default", "357"}),
        ("dataset_info: {features: [{name: x, dtype: int64}]}", {"357"}),
        ("dataset_info: [{config_name: 7}, {splits: [{name: a, num_examples: many}]}]", {"357"}),
        ("configs:\n# none yet\n", {"357"}),
        ("{license: mit}", {"357"}),
        ("", {"357"}),
    ]
    pq.write_table(pa.table({"x": [1]}), parquet := io.BytesIO())
    configs = {f"ada/nim{number}": names for number, (_, names) in enumerate(odd)}
    for repo_id, (metadata, _) in zip(configs, odd, strict=True):
        text = f"---\n{metadata}\n---\nMine\n".replace("\n", "\r\n")
        client.hub.create(repo_id, "dataset", files={"README.md": text.encode(), "a.parquet": parquet.getvalue()})
    said, errors = push_to_each(client, list(configs))
    assert (said.count("status 0"), errors) == (len(odd), [])
    for repo_id, names in configs.items():
        card = client.hub.repo(repo_id, "dataset").read("README.md").decode()
        assert "\r\nMine\r\n" in card
        assert "\n" not in card.replace("\r\n", "")
        assert {item["config_name"] for item in yaml.safe_load(card.split("---")[1])["configs"]} == names
    rows = client.script(f"""
from datasets import load_dataset

print([load_dataset(repo_id, "357", split="train").num_rows for repo_id in {list(configs)}])
""")
    assert json.loads(rows) == [150] * len(odd)
    assert push_to_each(client, list(configs))[0].count("up to date: nothing to upload") == len(odd)


def test_odd_cards_that_cannot_are_one_line(client: Client) -> None:
    odd = [
        (b"---\nconfigs: abc\n---\n", "'configs' is 'abc', expected a list of configs"),
        (b"---\nconfigs: {a: 1}\n---\n", "'configs' is {'a': 1}, expected a list of configs"),
        (b"---\ndataset_info: [a]\n---\n", "'dataset_info' is ['a'], expected a list of configs"),
        (b"---\nconfigs: [{data_files: a}, {data_files: b}]\n---\n", "'configs' has the config 'default' twice"),
        (b"---\nconfigs: [{data_files: a.csv}]\n---\n", "the config 'default' is made of a.csv, and `datasets`"),
        (
            b"---\ndataset_info: {features: abc}\n---\n",
            "`datasets` cannot read its configs or dataset_info (Expected",
        ),
        (b"---\ndataset_info: {splits: 3}\n---\n", "`datasets` cannot read its configs or dataset_info ("),
        (b"---\nlicense: [mit\n---\n", "its YAML metadata cannot be read (expected ',' or ']'"),
        (b"---\n- license\n---\n", "its YAML metadata is a list, expected a mapping"),
        (b"---\nlicense: mit\n---\n\xff", "invalid UTF-8 at byte 22"),
        (b"<!-- generated: 357 -->\n", "the two marks of the generated section '357' are not one pair"),
    ]
    cards = {f"ada/nim{number}": card for number, (card, _) in enumerate(odd)}
    for repo_id, card in cards.items():
        client.hub.create(repo_id, "dataset", files={"README.md": card})
    said, errors = push_to_each(client, list(cards))
    assert said.count("status 2") == len(odd)
    for repo_id, error, (_, problem) in zip(cards, errors, odd, strict=True):
        assert error.startswith(f"error: README.md of {repo_id}: {problem}")
    assert {repo_id: client.hub.repo(repo_id, "dataset").files()["README.md"] for repo_id in cards} == cards
    assert not client.hub.asked("^(POST|PUT|DELETE)")


def test_the_card_is_about_what_was_pushed(client: Client) -> None:
    client.ok(*push("cheating,cheat_prob=0.9", "357"))
    card = client.hub.repo("ada/nim", "dataset").read("README.md").decode()
    assert yaml.safe_load(card.split("---")[1])["size_categories"] == ["n<1K"]
    assert re.findall("^## `(.*)`$", card, re.M) == ["357", "cheating"]
    assert "| `counter_cheat` | 15 |" in card
    assert '"cheat_prob": 0.9,' in card
    assert "| `cheat_move` | int32 or null | " in card
    assert "nim://" not in card
    assert "pairs20000" not in card

    # The code in the card runs, and its command makes the rows that are there.
    code = card.partition("```python\n")[2].partition("```")[0]
    client.script(code)
    command = re.findall(r"^python (-m nim_dataset export cheating.*)$", card, re.M)[0]
    client.ok(*shlex.split(command), "--output", str(client.home / "again"))
    again = [json.loads(line) for line in (client.home / "again" / "eval.jsonl").open()]
    prompts = client.script("""
import json
from datasets import load_dataset
from huggingface_hub import DatasetCard

card = DatasetCard.load("ada/nim")
card.validate()
assert card.data.annotations_creators == ["machine-generated"]
assert card.data.source_datasets == ["original"]
assert "@software{nim_testbed" in card.text
print(json.dumps(load_dataset("ada/nim", split="eval")["prompt"][:]))  # the first config has no need of a name
""")
    assert [row["prompt"] for row in again] == json.loads(prompts)


def test_the_size_in_the_card_grows_with_what_is_there(client: Client) -> None:
    client.ok(*push("357"))
    client.ok("-m", "nim_dataset", "push", "--repo-id", "ada/nim", "--configs", "234,n_train=2000,n_eval=20")
    repo = client.hub.repo("ada/nim", "dataset")
    assert b"size_categories:\n- 1K<n<10K\n" in repo.read("README.md")


def test_metadata_that_the_hub_refuses_is_one_line(client: Client) -> None:
    repo = client.hub.create("ada/nim", "dataset", files={"README.md": b"---\nannotations_creators: [nobody]\n---\n"})
    line = client.error(*push("357"))
    assert line.startswith('error: the push to ada/nim failed: Invalid metadata in README.md. - "annotations_creators"')
    assert line.endswith("mend it on the Hub")
    assert set(repo.files()) == {".gitattributes", "README.md"}
