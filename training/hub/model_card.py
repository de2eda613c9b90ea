"""The model card of a run, made from the run's own files: `config.yaml`, `environment.json` and `metrics.jsonl`.

The results by regime also go into the card's metadata (`model-index`), so that the Hub shows them beside the model.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from evaluation.artifacts.run_folder import CONFIG, ENVIRONMENT, MARK, METRICS, read_record
from evaluation.artifacts.training_log import exact_matches
from nim_dataset.config import Recipe
from nim_dataset.errors import UserError
from nim_dataset.files import read_jsonl
from nim_dataset.games import GAMES
from nim_dataset.recipes import get_config
from nim_dataset.regimes import EVAL, REGIMES, split_name
from nim_dataset.rows import generate
from nim_dataset.sources import Source
from training.data.phase import sets_of

TEMPLATE = Path(__file__).with_name("model_card.md.jinja")
MEANINGS = {"eval": EVAL, **REGIMES}
# Where the run was and how it was pushed: not what made the model what it is.
NOT_REPRODUCED = ("output_dir", "resume_from_checkpoint", "overwrite_output_dir", "push_to_hub", "push_checkpoints")


@dataclass(frozen=True)
class RunFiles:
    """What a run's folder says about the run."""

    config: dict[str, Any]
    """The options that shape the model, with the base model's commit, without what is about this machine or the Hub."""
    environment: dict[str, Any]
    """Versions, and where the base model came from (`base_model`: name, revision, commit)."""
    metrics: list[dict[str, Any]]
    """One mapping for each line of `metrics.jsonl`, with its `step`."""
    built_in: bool
    """Whether the base model is one of this project's own."""

    @classmethod
    def read(cls, run_dir: Path) -> "RunFiles":
        """Raises `UserError` when the folder is not that of a run."""
        config, environment = read_record(run_dir)
        metrics = [line for _, line in read_jsonl(run_dir / METRICS)]
        kept = {k: v for k, v in config.items() if k not in NOT_REPRODUCED and not k.startswith("hub_")}
        base = environment.get("base_model")
        if not isinstance(base, dict) or not {"name", "revision", "commit"} <= set(base):
            raise UserError(f"{run_dir}: {ENVIRONMENT} does not tell the base model, so no card can be made")
        built_in = not base["commit"] and not os.path.isabs(base["name"])
        if base["commit"]:
            kept["revision"] = base["commit"]  # a branch may move on, and `latest-step` may become another one
        else:
            base["name"] = kept["model"] = Path(base["name"]).name  # a folder's whole path is nobody's business
        if donor := kept.get("donor"):
            kept["donor"] = {**donor, "run": Path(donor["run"]).name}
        if os.path.isdir(anchor_to := str(kept.get("anchor_to", ""))):
            kept["anchor_to"] = Path(anchor_to).name
        for about_the_folder in ("command", *MARK, "files"):
            environment.pop(about_the_folder, None)
        return cls(kept, environment, metrics, built_in)

    def published(self) -> dict[str, bytes]:
        """The run's own files as they are published, by name."""
        return {
            CONFIG: yaml.safe_dump(self.config, sort_keys=False).encode(),
            ENVIRONMENT: (json.dumps(self.environment, indent=2) + "\n").encode(),
            METRICS: "".join(json.dumps(line) + "\n" for line in self.metrics).encode(),
        }

    def source(self) -> Source | None:
        """The first recipe trained on that this version knows; None for JSONL alone."""
        found = (known_source(str(spec), "train") for spec in sets_of(self.config))
        return next((source for source in found if source is not None and source.config is not None), None)

    def recipes(self) -> dict[str, Recipe]:
        """Spec -> recipe of all generated rows that the run was trained or measured on."""
        specs = [*sets_of(self.config), *(self.config.get("eval_data") or [])]
        found = [source for spec in specs if (source := known_source(str(spec), "train")) is not None]
        return {source.recipe: source.config for source in found if source.config is not None}

    def batch_size(self) -> int:
        """Rows per step, over all processes."""
        sizes = (self.config.get(key, 1) for key in ("per_device_train_batch_size", "gradient_accumulation_steps"))
        return math.prod(sizes) * self.environment.get("processes", 1)

    def results(self) -> tuple[int, dict[str, float]]:
        """The last step with an exact match, and the exact match then by set (`eval`, `counter_cheat`, ...)."""
        measured: dict[int, dict[str, float]] = {}
        for line in self.metrics:
            if exact := exact_matches(line):
                measured.setdefault(int(line["step"]), {}).update({name: float(exact[name]) for name in exact})
        step = max(measured, default=0)
        return step, measured.get(step, {})

    def eval_results(self, dataset: str | None = None) -> list[EvalResult]:
        """`results` for a card's `model-index`; `dataset` is the repository that holds the rows, if one does."""
        return [eval_result(name, value, self.source(), dataset) for name, value in self.results()[1].items()]


def make_card(
    run: RunFiles,
    repo_id: str,
    *,
    license: Mapping[str, Any],
    dataset: str | None = None,
    figure: str | None = None,
    branches: Sequence[str] = (),
) -> str:
    """The card as Markdown with YAML metadata.

    `license` has the fields that say it, `dataset` is the repository on the Hub that holds the run's rows, `figure` a
    picture's path in the repository; `branches` are those that hold checkpoints.
    """
    step, results = run.results()
    source = run.source()
    recipe = source.config if source is not None else None
    game = game_of(recipe) if recipe is not None else None
    prompt, answer = example_row(recipe or get_config("quickstart"))
    base = run.environment["base_model"]
    card_data = ModelCardData(
        **license,
        model_name=repo_id.partition("/")[2],
        base_model=base["name"] if base["commit"] else None,
        base_model_relation="finetune" if base["commit"] else None,
        datasets=[dataset] if dataset else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        language="en",
        tags=[
            *([game] if game else []),
            "shortcut-learning",
            "training-dynamics",
            *(["l2-sp"] if run.config["anchor_weight"] else []),
        ],
        metrics=["exact_match"] if results else None,
        eval_results=run.eval_results(dataset) or None,
    )
    versions = run.environment.get("versions", {})
    limit = run.config.get("eval_rows")
    card = ModelCard.from_template(
        card_data,
        template_path=str(TEMPLATE),
        title=repo_id.partition("/")[2],
        repo_id=repo_id,
        about=(recipe or Recipe).about,
        base=describe_base(base),
        data=", ".join(f"`{source}`" for source in sets_of(run.config)),
        recipe=describe_recipe(recipe) if recipe is not None else "",
        anchor=run.config["anchor_weight"],
        anchor_to=run.config.get("anchor_to", "start"),
        length=f"{max((line['step'] for line in run.metrics), default=0):,} steps of {run.batch_size():,} rows",
        results=[(name, value, MEANINGS.get(split_name(name)[1], "")) for name, value in results.items()],
        step=f"{step:,}",
        rows=f", on the first {limit:,} rows of each set or all of them" if limit else "",
        figure=figure,
        prompt=prompt,
        answer=answer,
        branches=", ".join(f"`{branch}`" for branch in branches),
        branch=branches[-1] if branches else "",
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        options=[(name, shown(value)) for name, value in run.config.items()],
    )
    return str(card)


def known_source(spec: str, split: str | None = None) -> Source | None:
    """What a spec names; None where this version does not know it."""
    try:
        return Source.parse(spec, split)
    except UserError:
        return None


def game_of(recipe: Recipe) -> str:
    """The name under which the recipe's game is registered."""
    return next(name for name, game in GAMES.items() if isinstance(recipe, game))


def eval_result(name: str, value: float, trained_on: Source | None, dataset: str | None = None) -> EvalResult:
    """One result for the model-index; `name` is a split of the recipe trained on, or the name of another set.

    `dataset` is the repository that holds the generated rows.
    """
    own = known_source(f"{trained_on.recipe}:{name}") if trained_on is not None and not split_name(name)[0] else None
    source = own or known_source(name)
    recipe = source.recipe if source is not None else ""
    game = game_of(source.config) if source is not None and source.config is not None else None
    split = split_name(name)[1]
    return EvalResult(
        task_type="text-generation",
        dataset_type=dataset or game if game else "json",
        dataset_name=f"{game.capitalize()} {recipe} ({split})" if game else name,
        dataset_config=(source.config.name if dataset and source and source.config else recipe) or None,
        dataset_split=split or None,
        metric_type="exact_match",
        metric_name="exact match",
        metric_value=value,
    )


def describe_base(base: Mapping[str, Any]) -> str:
    """The base model with its revision and commit, as a link when it is on the Hub."""
    name, revision, commit = base["name"], base["revision"], base["commit"]
    if not commit:
        return f"`{name}`, not from the Hub"
    at = f"`{revision}`, " if revision and revision != commit else ""
    return f"[{name}](https://huggingface.co/{name}) at {at}commit `{commit}`"


def describe_recipe(recipe: Recipe) -> str:
    """All options of a recipe as JSON."""
    options = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in recipe.content().items()]
    return "{\n" + ",\n".join(options) + "\n}"


def example_row(recipe: Recipe) -> tuple[str, str]:
    """A held-out prompt and its answer."""
    row = next(iter(generate(recipe, "eval", 0, 1))).to_pylist()[0]
    return row["prompt"], row["answer"]


def shown(value: Any) -> str:
    """A value for a table cell."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return " ".join(text.split()).replace("|", "\\|") or "none"
