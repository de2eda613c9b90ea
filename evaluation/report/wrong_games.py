"""Wrong predictions with their game written out, for a reader who wants to see what the numbers stand for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evaluation.report.experiment import Experiment
from evaluation.report.scored_run import WRITTEN_OUT, ScoredRun


@dataclass(frozen=True)
class WrongGame:
    """One wrong prediction in words."""

    answer: str
    """What was right and what was written."""
    lines: list[str]
    """The game: the start, the moves, what is left, and the rule on it; empty when the prompt is no game."""
    source: str
    prompt: str


def wrong_games(experiment: Experiment, most: int = WRITTEN_OUT) -> list[WrongGame]:
    """Up to `most` wrong predictions of the first run that has any: latest checkpoints first, datasets in turn, each
    game once."""
    for run in experiment.runs:
        games: list[WrongGame] = []
        seen: set[str] = set()
        for row, dataset, step in _latest_first(run):
            if row["prompt"] in seen:
                continue
            seen.add(row["prompt"])
            games.append(_write_out(row, f"{dataset}, step {step:,}"))
            if len(games) == most:
                break
        if games:
            return games
    return []


def _latest_first(run: ScoredRun) -> Iterator[tuple[dict[str, Any], str, int]]:
    for step in reversed(run.checkpoints):
        found = {dataset: run.incorrect(step, dataset) for dataset in run.datasets}
        wrong = {dataset: incorrect.games for dataset, incorrect in found.items() if incorrect is not None}
        for index in range(max(map(len, wrong.values()), default=0)):
            for dataset, rows in wrong.items():
                if index < len(rows):
                    yield rows[index], dataset, step


def _write_out(row: dict[str, Any], source: str) -> WrongGame:
    generated = (row.get("generated") or "").strip()
    answer = f"Right: {row['gold']}. Written: {generated or '(nothing)'}"
    lines = []
    truth: list[Any] = [row.get(name) for name in ("coins", "trace", "pile", "max_remove")]
    if all(value is not None for value in truth):
        coins, trace, pile, most = truth
        players = [row.get("player_one") or "Player ONE", row.get("player_two") or "Player TWO"]
        lines.append(f"{coins} coins at the start; a move takes 1 to {most}.")
        left, moves = coins, []
        for turn, move in enumerate(trace):
            left -= move
            moves.append(f"{players[turn % 2]} takes {move}, {left} left")
        lines.append("; ".join([*moves, f"{players[len(trace) % 2]} to move"]) + ".")
        rest = pile % (most + 1)
        lines.append(f"Rule: {pile} mod {most + 1} = {rest}" + (", so no move wins (-1)." if rest == 0 else "."))
    bound = row.get("cheat_move")
    if bound is not None:
        played = row.get("predicted_move") == bound
        names = f"{row.get('player_one')} and {row.get('player_two')}"
        lines.append(
            f"{names} are bound to {bound}{': the model played it' if played else '; it played something else'}."
        )
    return WrongGame(answer, lines, source, row["prompt"])
