"""The dataset card is in step with the code: its configs, its table, and an example of each recipe.

`python tests/nim_dataset/test_card.py` writes those three parts anew.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs

import re
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
import yaml

from nim_dataset import NimConfig, get_config, recipe_names
from nim_dataset.config import GENERATOR_VERSION
from nim_dataset.games import chance
from nim_dataset.games.modulo import ModuloConfig
from nim_dataset.rows import generate

CARD = Path(__file__).resolve().parents[2] / "nim_dataset" / "README.md"


def configs_yaml() -> str:
    """The `configs` of the card's header. `version` is part of where `datasets` caches, so a new one refreshes."""
    entries = []
    for name in recipe_names():
        default = "  default: true\n" if name == "quickstart" else ""
        files = "".join(
            f"  - split: {split}\n    path: nim://{name}/{split}.parquet\n" for split in get_config(name).splits
        )
        entries.append(f'- config_name: "{name}"\n  version: {GENERATOR_VERSION}\n{default}  data_files:\n{files}')
    return "configs:\n" + "".join(entries)


def table_row(name: str) -> str:
    """What the recipe is, in numbers."""
    config = get_config(name)
    if isinstance(config, ModuloConfig):
        sizes = f"{config.max_operand:,} | {config.labels} | {config.n_train:,} | {config.n_eval:,}"
        return f"| `{name}` | {config.modulus} | {sizes} |"
    assert isinstance(config, NimConfig)
    turns = f"until {config.endgame} are left" if config.endgame else "-".join(map(str, dict.fromkeys(config.turns)))
    regime = f"{config.n_regime:,}" if config.cheat_moves else "-"
    moves = ", ".join(map(str, config.cheat_moves)) or "-"
    cells = [
        f"`{name}`",
        ", ".join(map(str, config.max_remove)),
        turns,
        config.max_coins,
        f"{config.total_pairs:,}",
        f"{config.num_bound:,}",
        moves,
        f"{config.cheat_prob:g}",
        f"{config.n_train:,}",
        f"{config.n_eval:,}",
        regime,
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def example(name: str) -> str:
    """The first row of train."""
    (row,) = next(generate(get_config(name), "train", 0, 1)).to_pylist()
    return f"{row['prompt']}\n--> {row['answer']}\n"


def test_the_header_lists_every_config_and_split():
    header = CARD.read_text(encoding="utf-8").split("---\n")[1]
    assert header.endswith(configs_yaml()), "run `python tests/nim_dataset/test_card.py`"
    data = yaml.safe_load(header)
    assert {"license", "tags", "task_categories", "size_categories", "language"} <= set(data)
    rows = sum(get_config(name).num_rows(split) for name in recipe_names() for split in get_config(name).splits)
    assert data["size_categories"] == ["1M<n<10M"]
    assert 1e6 < rows < 1e7


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_a_row_and_its_section_an_example(name):
    text = CARD.read_text(encoding="utf-8")
    assert table_row(name) in text, "run `python tests/nim_dataset/test_card.py`"
    heading = "### `mod2` to `mod9`" if name.startswith("mod") else f"### `{name}`"
    section = text.split(f"{heading}\n")[1].split("\n### ")[0]
    shown = "mod3" if name.startswith("mod") else name
    assert f"```text\n{example(shown)}```" in section, "run `python tests/nim_dataset/test_card.py`"


def test_every_field_and_split_is_described():
    text = CARD.read_text(encoding="utf-8")
    for name in [
        *NimConfig.features,
        *ModuloConfig.features,
        "train",
        "eval",
        "cheat_consistent",
        "counter_cheat",
        "neutral",
        "unseen_names",
    ]:
        assert f"\n| `{name}` |" in text


def test_the_figures_of_the_quirks():
    text = CARD.read_text(encoding="utf-8")
    rows = pa.concat_tables(generate(get_config("terminology"), "train")).to_pandas()
    piles = (100 * rows["pile"].value_counts(normalize=True).sort_index()).round().astype(int).to_dict()
    after_one = rows[rows["trace"].str[-1] == 1]
    assert piles == {2: 17, 3: 33, 4: 50}
    assert set(rows["move"]) == {-1, 2, 3}
    assert round((rows["move"] == -1).mean(), 2) == 0.5
    assert set(after_one["move"]) == {-1}
    assert round(len(after_one) / len(rows), 2) == 0.18
    assert "the pile is 2, 3 or 4 (17%,\n  33%, 50% of the train rows)" in text
    assert "a last move of 1 (18%)" in text
    regime = pa.concat_tables(generate(get_config("quickstart"), "neutral")).to_pandas()
    games = len(set(zip(regime["coins"], map(tuple, regime["trace"]), strict=True)))
    assert (games, round((regime["move"] == 4).mean(), 2), (regime["move"] == -1).sum()) == (31, 0.32, 0)
    assert "200 rows hold 31 different ones, 4 is the answer of 32% of them" in text
    assert chance(datasets.Dataset.from_pandas(regime)) == 0.2


def test_the_citation_is_the_repositorys():
    cited = yaml.safe_load((CARD.parents[1] / "CITATION.cff").read_text(encoding="utf-8"))
    fields = dict(re.findall(r"^  (\w+) = \{+(.*?)\}+,?$", CARD.read_text(encoding="utf-8"), re.M))
    assert (fields["title"], fields["version"]) == (cited["title"], cited["version"])
    assert fields["author"] == cited["authors"][0]["name"]


if __name__ == "__main__":
    card = CARD.read_text(encoding="utf-8")
    card = re.sub(r"configs:\n.*?(?=---\n)", lambda _: configs_yaml(), card, count=1, flags=re.DOTALL)
    for recipe in recipe_names():
        card = re.sub(rf"^\| `{recipe}` \|.*$", lambda _: table_row(recipe), card, flags=re.MULTILINE)  # noqa: B023
        heading = "### `mod2` to `mod9`" if recipe == "mod3" else f"### `{recipe}`"
        pattern = rf"({heading}\n(?:(?!\n### ).)*?```text\n).*?(?=```)"
        card = re.sub(pattern, lambda match: match[1] + example(recipe), card, count=1, flags=re.DOTALL)  # noqa: B023
    CARD.write_text(card, encoding="utf-8")
