"""A recipe as tasks of lm-evaluation-harness: one YAML for each split and way to ask, and two groups of them.

`nim_SPLIT` has the model write its answer, and scores it by exact match; the group of these is `nim`. `nim_SPLIT_moves`
compares the log-likelihoods of all possible answers, end-of-text token included; the group of these is `nim_moves`.
Both ask as `evaluation/sweep.py` does: the prompt is left as it is, a space joins it to the answer, and an answer is as
long as the tokenizer makes the longest right one. The rows are `nim://` paths, which `load_dataset("parquet")` reads.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedTokenizerBase

from evaluation.interop import lm_eval_functions
from evaluation.tokens import ANSWER_PREFIX, answer_budget
from nim_dataset.config import GENERATOR_VERSION
from nim_dataset.errors import UserError
from nim_dataset.files import write_text
from nim_dataset.sources import Source, parse_recipe

GROUP = "nim"


class Function(str):
    """The full name of a function, which lm-eval calls."""


class Dumper(yaml.SafeDumper):
    """Writes a `Function` with lm-eval's tag."""


Dumper.add_representer(Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))


def write_tasks(recipe: str, tokenizer: PreTrainedTokenizerBase, folder: Path) -> list[Path]:
    """Writes the YAMLs of all splits of `recipe` but `train`; returns them. Raises `UserError`."""
    if tokenizer.eos_token is None:
        raise UserError("--tokenizer: it has no end-of-text token, so no answer ends; set its `eos_token`")
    config, _ = parse_recipe(recipe)
    splits = [split for split in config.splits if split != "train"]
    if not splits:
        raise UserError(f"--recipe: '{recipe}' has no rows to evaluate on; give n_eval at least one")
    written = [generate_task(recipe, split, tokenizer) for split in splits]
    moves = [choice_task(recipe, split, str(tokenizer.eos_token)) for split in splits]
    groups = [
        {"group": name, "task": [task["task"] for task in tasks]}
        for name, tasks in ((GROUP, written), (f"{GROUP}_moves", moves))
    ]
    files = []
    for content in (*written, *moves, *groups):
        name = content.get("task") if "group" not in content else f"{content['group']}_group"
        files.append(folder / f"{name}.yaml")
        write_text(files[-1], yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True))
    return files


def common(recipe: str, split: str, name: str) -> dict[str, Any]:
    """What all tasks on a split say."""
    return {
        "task": name,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {split: f"nim://{recipe}/{split}.parquet"}},
        "test_split": split,
        "doc_to_text": "prompt",
        "target_delimiter": ANSWER_PREFIX,
        "metadata": {"version": GENERATOR_VERSION, "recipe": recipe, "split": split},
    }


def generate_task(recipe: str, split: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The task of writing an answer; its `exact_match` is that of the measure `answers`."""
    answers = Source.parse(f"{recipe}:{split}").load().unique("answer")
    return common(recipe, split, f"{GROUP}_{split}") | {
        "output_type": "generate_until",
        "doc_to_target": "answer",
        "generation_kwargs": {
            "until": [tokenizer.eos_token],
            "max_gen_toks": answer_budget(tokenizer, answers),
            "do_sample": False,
        },
        "process_results": Function(function(lm_eval_functions.exact_match)),
        **metric("exact_match"),
    }


def choice_task(recipe: str, split: str, end: str) -> dict[str, Any]:
    """The task of telling the right answer from the others; log-likelihoods are those of the measure `candidates`."""
    ended = f"(choice ~ {json.dumps(end)}) | tojson"
    return common(recipe, split, f"{GROUP}_{split}_moves") | {
        "output_type": "multiple_choice",
        "process_docs": Function(function(lm_eval_functions.with_choices)),
        "doc_to_choice": f"[{{% for choice in choices %}}{{{{ {ended} }}}}, {{% endfor %}}]",
        "doc_to_target": "right",
        **metric("acc"),
    }


def metric(name: str) -> Mapping[str, Any]:
    return {"metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True}]}


def function(called: Any) -> str:
    return f"{called.__module__}.{called.__name__}"
