"""Whether the commands of a study's runs would take their options, asked before anything runs."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from evaluation.measures.measure import find_measures
from nim_dataset.errors import UserError
from nim_dataset.sources import Source
from training.config import parse_config
from training.donor import Donor
from training.study.runs import StudyRun


def check_options(runs: Sequence[StudyRun]) -> None:
    """Raises `UserError` for options that train.py refuses, before anything runs; a donor is not looked for yet."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "options.yaml"
        for run in runs:
            options = {key: value for key, value in run.config.items() if key != "donor"}
            find_measures(run.measures)
            for spec in run.condition.evaluate.values():
                Source.parse(spec)
            if "donor" in run.config:
                Donor.read(f"conditions.{run.condition.name}", run.config["donor"]).check()
            file.write_text(yaml.safe_dump(options), encoding="utf-8")
            try:
                parse_config(["--config", str(file)])
            except UserError as error:
                said = str(error).removeprefix(f"{file}: ")
                raise UserError(f"conditions.{run.condition.name}: {said}") from None
