"""A recipe as a task of Inspect; `plain_text.yaml` has it ask a model that is no chat model.

    inspect eval evaluation/interop/inspect_tasks.py -T recipe=quickstart -T split=counter_cheat \
        --model hf/quickstart -M model_path=runs/quickstart --model-config evaluation/interop/plain_text.yaml
"""

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState, generate

from nim_dataset import load_source, score_answer


@task
def nim(recipe: str | int | list[str] = "quickstart", split: str = "eval") -> Task:
    """Every row of a split: the model writes its answer, which is scored as `evaluation/sweep.py` scores it.

    `recipe` is `357`, or `cheating,cheat_prob=0.9`, which Inspect's command line makes a number and a list. A sample's
    metadata are the other columns of its row. Raises `UserError` for an unknown recipe or split.
    """
    recipe = ",".join(recipe) if isinstance(recipe, list) else recipe
    samples = [
        Sample(id=number, input=row.pop("prompt"), target=row.pop("answer"), metadata=row)
        for number, row in enumerate(load_source(f"{recipe}:{split}").to_list())
    ]
    # No token of an answer is shorter than a character, and one more shows whether a number runs on.
    longest = max(len(str(sample.target)) for sample in samples) + 2
    return Task(
        dataset=MemoryDataset(samples, name=f"nim {recipe}:{split}"),
        solver=generate(),
        scorer=exact_match(),
        config=GenerateConfig(max_tokens=longest),
    )


@scorer(metrics=[accuracy(), stderr()])
def exact_match() -> Scorer:
    """`nim_dataset.score_answer` of what the model wrote."""

    async def score(state: TaskState, target: Target) -> Score:
        text = state.output.completion
        return Score(value=score_answer({"answer": target.text}, text), answer=text)

    return score
