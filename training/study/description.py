"""What a study is, as its YAML says it: the question, the conditions, the seeds, what is measured, and the scales.

    question: Does the model learn the rule, or the names?
    hypothesis: ...                    # what is expected, and why
    paper: ...                         # what the paper found
    published: {baseline: {shortcut: 3}}                  # condition -> ending -> so many of the paper's runs
    base: {model: tiny, ...}           # options of training/train.py, for every condition
    conditions:
      "bound {share}":                 # a name -> the options that it changes
        vary: {share: [0.5, 0.8]}      # a grid: one condition for each combination, in names and options
        train_data: ["quickstart,cheat_prob={share}"]
    evaluate: {eval: "quickstart:eval"}                   # what is scored, by the name that quantities use
    quantities: {exact match: eval, parity: eval / coset / max_remove=5 mod 2}   # the first one is the main figure's
    seeds: [0, 1, 2]
    scales: {paper: {base: {model: EleutherAI/pythia-410m-deduped}}}   # what differs, beside laptop and smoke

An ending is rule, shortcut, coset plateau, chance or none of these, by the thresholds that the page states.

A condition may hold `evaluate` of its own (a quantity of a set that only others have is left out for it), and
`donor: {condition: NAME, at: RULE}` to start from that condition's run of the same seed. `measures: [answers, probe]`
says what the sweeps look at. A quantity is one of

    SET                                  exact match
    SET / DIMENSION / GROUP              in the words of results.csv, such as counter_cheat / overall / cheat_rate
    SET / probe / bound move, layer 1, decision   what probes read (or probe_mlp), as probe.csv has it
    log / FIGURE                         a figure of metrics.jsonl, such as log / distance
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nim_dataset.errors import UserError, suggest, unknown
from training.shipped import read_yaml

TEXTS = ("question", "hypothesis", "paper")
SCALED = ("base", "conditions", "seeds", "evaluate", "measures", "quantities", "published")
"""What a scale may change."""
DEFAULT_SCALE, SMOKE = "laptop", "smoke"
SMOKE_STEPS = 4
"""Of a run, or of a phase, at the scale `smoke`: the laptop's, with its first seed, to see that everything runs."""
OUTCOMES = ("rule", "shortcut", "coset plateau", "chance", "none of these")
"""How a run may end, in the order in which they are asked for; a study's page states the thresholds."""
LOG = "log"
"""In a quantity's place of a set: metrics.jsonl."""


@dataclass(frozen=True)
class Quantity:
    """A number that is followed over the steps: the `accuracy` of some lines of results.csv."""

    name: str
    role: str
    """A name of `evaluate`, or `LOG`."""
    dimension: str = "overall"
    group: str = "exact_match"

    @property
    def of_log(self) -> bool:
        """Whether it is a figure (the `group`) of metrics.jsonl, which need not be a share."""
        return self.role == LOG


@dataclass(frozen=True)
class Condition:
    """One way to train, the same for all seeds."""

    name: str
    options: dict[str, Any]
    """Of train.py, the base's included."""
    evaluate: dict[str, str]
    """Name -> evaluation set."""
    quantities: tuple[Quantity, ...]
    donor: str | None = None
    """The condition whose run of the same seed this one starts from."""
    pattern: str = ""
    """Its name before what varies was filled in."""
    varied: dict[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int | None:
        """The planned ones, where the options say them."""
        phases = self.options.get("phases")
        return sum(int(phase["steps"]) for phase in phases) if phases else self.options.get("max_steps")


@dataclass(frozen=True)
class Study:
    """A study at one scale."""

    name: str
    scale: str
    question: str
    hypothesis: str
    paper: str
    conditions: dict[str, Condition]
    """In the order of the file; a donor may come later than what needs it."""
    seeds: tuple[int, ...]
    measures: tuple[str, ...]
    published: dict[str, dict[str, int]]
    """Condition -> ending -> how many of the paper's runs ended so."""

    @property
    def answering(self) -> list[str]:
        """The conditions that are not there as donors alone; all, where each is some other's donor."""
        donors = {condition.donor for condition in self.conditions.values()}
        return [name for name in self.conditions if name not in donors] or list(self.conditions)

    @property
    def folder(self) -> str:
        """The name of its folders: the study's, and another scale than the laptop's."""
        return self.name if self.scale == DEFAULT_SCALE else f"{self.name}-{self.scale}"

    def choose(self, only: Sequence[str], seeds: Sequence[int]) -> "Study":
        """The conditions and seeds that a command names, with the donors that they need; raises `UserError`."""
        for name in only:
            if name not in self.conditions:
                near, known = suggest(name, self.conditions), ", ".join(f"'{each}'" for each in self.conditions)
                raise UserError(f"--only: unknown condition '{name}'{near}; it can be {known}")
        wanted = set(only or self.conditions)
        for name in list(wanted):
            donor = self.conditions[name].donor
            while donor is not None:
                wanted.add(donor)
                donor = self.conditions[donor].donor
        chosen = {name: condition for name, condition in self.conditions.items() if name in wanted}
        return replace(self, conditions=chosen, seeds=tuple(seeds) or self.seeds)


def read_study(path: Path, scale: str = DEFAULT_SCALE) -> Study:
    """The study that a YAML file describes; raises `UserError` for one that cannot be meant."""
    described = _read(path)
    scales = described.pop("scales", None) or {}
    _check(path, "scales", scales, dict)
    known = dict.fromkeys((SMOKE, DEFAULT_SCALE, *scales))
    if scale not in known:
        raise UserError(f"--scale: {unknown('scale', scale, known)}")
    for key, value in (scales.get(DEFAULT_SCALE if scale == SMOKE else scale) or {}).items():
        if key not in SCALED:
            raise UserError(f"{path}: scales.{scale}: {unknown('key', key, SCALED)}")
        described[key] = _merged(described.get(key), value)
    for key, kind in (("base", dict), ("conditions", dict), ("evaluate", dict), ("quantities", dict)):
        _check(path, key, described.setdefault(key, {}), kind)
    seeds, measures = described.get("seeds", [0]), described.get("measures", ["answers"])
    _check(path, "measures", measures, list)
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise UserError(f"{path}: seeds: {seeds} is not a list of integers of at least 0")
    conditions = {}
    for pattern, options in described["conditions"].items():
        for condition in _conditions(path, str(pattern), options or {}, described, scale == SMOKE):
            if condition.name in conditions:
                raise UserError(
                    f"{path}: conditions: two are named '{condition.name}'; use the varied options in names"
                )
            conditions[condition.name] = condition
    if not conditions:
        raise UserError(f"{path}: conditions: there are none; give at least one, such as 'baseline: {{}}'")
    _check_donors(path, conditions)
    _check_published(path, described.get("published", {}), conditions)
    return Study(
        name=path.stem,
        scale=scale,
        **{key: " ".join(str(described.get(key, "")).split()) for key in TEXTS},
        conditions=conditions,
        seeds=tuple(seeds[:1] if scale == SMOKE else seeds),
        measures=tuple(measures),
        published={} if scale == SMOKE else described.get("published", {}),
    )


def _read(path: Path) -> dict[str, Any]:
    described = read_yaml(path, kind="the study ")
    known = (*TEXTS, *SCALED, "scales")
    if not isinstance(described, dict):
        raise UserError(f"'{path}' must hold a study: {', '.join(known)}")
    for key in described:
        if key not in known:
            raise UserError(f"{path}: {unknown('key', str(key), known)}")
    return described


def _check(path: Path, key: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise UserError(f"{path}: {key}: expected a {'map' if kind is dict else kind.__name__}, got {value!r}")


def _merged(value: Any, other: Any) -> Any:
    """Maps are merged key by key; anything else is replaced."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return {**value, **{key: _merged(value.get(key), new) for key, new in other.items()}}
    return other


def _conditions(path: Path, pattern: str, options: Any, described: Mapping[str, Any], smoke: bool) -> list[Condition]:
    """The conditions of one entry: one for each combination of what it varies."""
    where = f"conditions.{pattern}"
    _check(path, where, options, dict)
    options = _merged(described["base"], options)
    vary = options.pop("vary", None) or {}
    _check(path, f"{where}.vary", vary, dict)
    for key, values in vary.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{path}: {where}.vary.{key}: expected a list of values, got {values!r}")
    evaluate = {**described["evaluate"], **(options.pop("evaluate", None) or {})}
    if not evaluate:
        raise UserError(f"{path}: {where}.evaluate: nothing to score; give a set, such as {{eval: quickstart:eval}}")
    quantities = described["quantities"] or ({"exact match": next(iter(evaluate))} if evaluate else {})
    if str(next(iter(quantities.values()), "")).startswith(f"{LOG} / "):
        raise UserError(f"{path}: quantities: the first one says how runs ended, and must be of a set, not of '{LOG}'")
    elsewhere = _sets_of_conditions(described) - evaluate.keys() - {_parts(next(iter(quantities.values())))[0]}
    made = []
    for values in itertools.product(*vary.values()):
        varied = dict(zip(vary, values, strict=True))
        fill = _Filling(path, where, varied)
        filled, sets = fill(options), fill(evaluate)
        donor = filled.get("donor")
        if donor is not None and not (isinstance(donor, dict) and ("condition" in donor) != ("run" in donor)):
            raise UserError(
                f"{path}: {where}.donor: expected {{condition: NAME, at: RULE}} or {{run: ...}}, got {donor!r}"
            )
        filled = _shortened(filled) if smoke else filled
        made.append(
            Condition(
                name=str(fill(pattern)),
                options=filled,
                evaluate=sets,
                quantities=tuple(
                    _quantity(path, name, fill(spec), sets)
                    for name, spec in quantities.items()
                    if _parts(spec)[0] not in elsewhere
                ),
                donor=donor.get("condition") if isinstance(donor, dict) else None,
                pattern=pattern,
                varied=varied,
            )
        )
    return made


def _sets_of_conditions(described: Mapping[str, Any]) -> set[str]:
    """The names that conditions give to sets of their own, which other conditions need not have."""
    own = (options.get("evaluate") for options in described["conditions"].values() if isinstance(options, dict))
    return {str(name) for sets in own if isinstance(sets, dict) for name in sets}


def _shortened(options: dict[str, Any]) -> dict[str, Any]:
    """The options with a few steps only."""
    short: dict[str, Any] = {"save_steps": SMOKE_STEPS // 2, "logging_steps": 1, "save_at": [], "warmup_steps": 1}
    short["stop_at"] = None
    if "phases" in options:
        short["phases"] = [
            {**phase, "steps": SMOKE_STEPS, "until": None} if isinstance(phase, dict) else phase
            for phase in options["phases"]
        ]
    else:
        short["max_steps"] = SMOKE_STEPS
    if "donor" in options:
        short["donor"] = {**options["donor"], "at": "last"}
    return {**options, **short}


@dataclass(frozen=True)
class _Filling:
    """Puts the varied values into `{name}` in texts; a text that is `{name}` alone becomes the value itself."""

    path: Path
    where: str
    values: dict[str, Any]

    def __call__(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self(item) for item in value]
        if not isinstance(value, str):
            return value
        if value[:1] == "{" and value[1:-1] in self.values and value[-1:] == "}":
            return self.values[value[1:-1]]
        try:
            return value.format_map(self.values)
        except (KeyError, ValueError, IndexError, AttributeError):
            known = ", ".join(self.values) or "nothing"
            raise UserError(f"{self.path}: {self.where}: '{value}' has braces, and vary holds {known}") from None


def _parts(spec: Any) -> list[str]:
    """Of a quantity: its set or `log`, then what is followed of it."""
    return [part.strip() for part in str(spec).split(" / ")]


def _quantity(path: Path, name: str, spec: Any, sets: Mapping[str, str]) -> Quantity:
    parts = _parts(spec)
    if parts[0] == LOG and len(parts) == 2 and parts[1]:
        return Quantity(name, LOG, LOG, parts[1])
    if len(parts) not in (1, 3) or not all(parts):
        raise UserError(
            f"{path}: quantities.{name}: '{spec}' is neither 'SET' nor 'SET / DIMENSION / GROUP' nor 'log / FIGURE'"
        )
    if parts[0] not in sets:
        raise UserError(f"{path}: quantities.{name}: {unknown('set', parts[0], sets)}")
    return Quantity(name, *parts)


def _check_published(path: Path, published: Any, conditions: Mapping[str, Condition]) -> None:
    _check(path, "published", published, dict)
    for name, endings in published.items():
        if name not in conditions:
            raise UserError(f"{path}: published: {unknown('condition', str(name), conditions)}")
        _check(path, f"published.{name}", endings, dict)
        if not endings:
            raise UserError(f"{path}: published.{name}: expected the number of runs by ending, such as {{rule: 2}}")
        for ending, runs in endings.items():
            if ending not in OUTCOMES:
                raise UserError(f"{path}: published.{name}: {unknown('ending', str(ending), OUTCOMES)}")
            if type(runs) is not int or runs < 1:
                raise UserError(f"{path}: published.{name}.{ending}: expected at least 1 run, got {runs!r}")


def _check_donors(path: Path, conditions: Mapping[str, Condition]) -> None:
    """Raises `UserError` for a donor that is no condition, and for donors in a circle."""
    for condition in conditions.values():
        chain = [condition.name]
        while (donor := conditions[chain[-1]].donor) is not None:
            if donor not in conditions:
                raise UserError(f"{path}: conditions.{chain[-1]}.donor: {unknown('condition', donor, conditions)}")
            if donor in chain:
                raise UserError(f"{path}: conditions: donors in a circle: {' -> '.join([*chain, donor])}")
            chain.append(donor)
