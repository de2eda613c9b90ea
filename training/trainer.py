"""`transformers.Trainer` with objectives, logits only at the answers, exact match as evaluation, atomic checkpoints.

Everything else is the Trainer's: optimizer, schedules, mixed precision, accumulation, DDP and FSDP, reporting. What it
overrides and reads of the Trainer's private members is listed in tests/training/test_trainer_contract.py.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, get_scheduler
from transformers.trainer_utils import seed_worker

from evaluation.artifacts.models import BrokenCheckpointError, load_weights
from evaluation.artifacts.remembering import Remembering
from evaluation.artifacts.training_log import log_prefix
from evaluation.measures.answers import greedy_answers
from evaluation.measures.candidates import candidate_records, mean_quantities
from evaluation.measures.known import Known
from evaluation.measures.measure import CannotMeasureError
from evaluation.nim_accuracy.nim_accuracy import text_matches
from evaluation.tokens import answer_budget
from nim_dataset.errors import UserError, unknown
from nim_dataset.games import parse_prompts
from training.data.encoding import AnswerCollator, EncodedRows, encode_rows
from training.data.layout import choose_layout
from training.data.phase import Phase
from training.data.phases import Batching, MicroBatches, PhaseRows, SetRows
from training.eval_loss import answer_loss
from training.model.as_it_came import put_back
from training.objectives.interface import Objective, RowsBeside
from training.objectives.mixin import ObjectivesMixin
from training.phase_plan import PhasePlan, PhaseSwitch
from training.saving.atomic import AtomicSaves

OBJECTIVES_FILE = "objectives.pt"
"""Where a checkpoint keeps the objectives' states, by name."""


class AnchoredTrainer(ObjectivesMixin, AtomicSaves):
    """A `Trainer` of answers, with objectives such as the anchor.

    Args (beyond the Trainer's):
        train_dataset: the encoded rows, with the columns that the objectives ask for; the trainer batches them itself.
        phases: each with the places of its sets among the rows; by default, one phase of all rows.
        processing_class: the tokenizer that they were encoded with.
        base_files: the base model's config.json and tokenizer, which are saved as they came; see `put_back`.
        objectives: by name; what joins the loss of the answers. A name is what its state is saved under.
        eval_loss: whether the loss of the right answers is measured too, logged as `eval_loss`, `eval_<name>_loss`.
        eval_dataset: a dict of datasets to measure exact match on (columns `prompt`, `answer`); the one named `eval` is
            logged as `eval_exact_match`, any other as `eval_<name>_exact_match`.
    """

    processing_class: PreTrainedTokenizerBase
    eval_dataset: dict[str, Dataset] | None
    train_dataset: EncodedRows

    def __init__(
        self,
        *,
        train_dataset: EncodedRows,
        processing_class: PreTrainedTokenizerBase,
        objectives: Mapping[str, Objective] | None = None,
        eval_loss: bool = False,
        phases: Sequence[tuple[Phase, tuple[SetRows, ...]]] | None = None,
        base_files: Sequence[Path] = (),
        **kwargs: Any,
    ) -> None:
        self.base_files, self.eval_loss = base_files, eval_loss
        pad = processing_class.pad_token_id
        self.padded = AnswerCollator(processing_class.eos_token_id if pad is None else pad)
        collator = replace(self.padded)
        super().__init__(
            train_dataset=train_dataset,
            processing_class=processing_class,
            data_collator=collator,
            objectives=objectives,
            **kwargs,
        )
        collator.columns = self.columns
        beside = collator.beside = self._rows_beside()
        longest = [*train_dataset.longest_inputs(), *([beside.longest()] if beside else [])]
        layers = self.model.config.get_text_config().num_hidden_layers
        whole = any(o.reads_whole_layer(layers) for o in self.objectives.values())
        self.layout = choose_layout(self.model, self.args, train_dataset, collator, longest, whole)
        phases = phases or [(Phase((), steps=self.args.max_steps), (SetRows(0, len(train_dataset)),))]
        rows = [PhaseRows(self._batching(phase, sets), phase.steps) for phase, sets in phases]
        self.plan = PhasePlan([phase for phase, _ in phases], rows, list(self.eval_dataset or {}))
        self.add_callback(PhaseSwitch(self.plan))
        self._tokens = torch.zeros((), dtype=torch.int64, device=self.args.device)
        self._tokens_since = time.perf_counter()
        self._tokenizer: Any = Remembering(processing_class, {})
        self._measured: tuple[Any, Known] = None, Known()
        """`_weights_now`, and what the last evaluation found."""

    # ---- The rows of each step ----

    def _rows_beside(self) -> RowsBeside | None:
        """Raises `UserError` where two objectives have some."""
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        found = {name: rows for name, o in self.objectives.items() if (rows := o.beside(seed)) is not None}
        if len(found) > 1:
            raise UserError(f"objectives: {' and '.join(found)} both put rows beside those of a batch; take one")
        return next(iter(found.values()), None)

    def _batching(self, phase: Phase, sets: tuple[SetRows, ...]) -> Batching:
        """Raises `UserError` for rows that would all be dropped."""
        args = self.args
        batching = Batching(
            sets,
            batch_size=args.train_batch_size,
            accumulate=args.gradient_accumulation_steps,
            processes=args.world_size,
            seed=args.seed if args.data_seed is None else args.data_seed,
            weights=phase.weights,
            all_exhausted=phase.stopping_strategy == "all_exhausted",
            order=str(args.train_sampling_strategy),
            drop_last=args.dataloader_drop_last,
            lengths=self.train_dataset.lengths() if args.train_sampling_strategy == "group_by_length" else (),
        )
        if not batching.micro_batches:
            raise UserError(
                f"dataloader_drop_last: {batching.rows} rows are less than a batch of {args.train_batch_size} on each"
                f" of {args.world_size} processes, and would all be dropped; lower --per_device_train_batch_size"
            )
        return batching

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The rows that `phases.py` gives to this process, step by step."""
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=MicroBatches(
                self.plan.rows, self.args.process_index, lambda: self.plan.now(self.state.log_history)
            ),
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            multiprocessing_context=self.args.dataloader_multiprocessing_context,
            in_order=self.args.dataloader_in_order,
            worker_init_fn=partial(
                seed_worker, num_workers=self.args.dataloader_num_workers, rank=self.args.process_index
            ),
        )
        # "Of one process": the rows are shared out already.
        prepared: DataLoader[Any] = prepare_data_loader(
            loader, device=self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )
        return prepared

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """The schedule over all steps or, where phases start anew, one for each stretch of phases that go on."""
        if len(self.plan.stretches()) > 1 and self.lr_scheduler is None:
            own: Any = optimizer or self.optimizer
            factors = [self._schedule(steps) for steps in self.plan.stretches()]

            def factor(step: int) -> float:
                starts = [start for start in self.plan.restarts(self.state.log_history) if start <= step]
                return factors[len(starts) - 1](step - starts[-1])

            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(own, factor)
        return super().create_scheduler(num_training_steps, optimizer)

    def _schedule(self, steps: int) -> Callable[[int], float]:
        """The factor of the learning rate by step of a run of so many; raises `UserError` for a schedule of its own."""
        args = self.args
        options: Any = args.lr_scheduler_kwargs or {}
        schedule = get_scheduler(
            args.lr_scheduler_type,
            torch.optim.SGD([torch.zeros(1)], lr=1.0),
            args.get_warmup_steps(steps),
            steps,
            scheduler_specific_kwargs=options,
        )
        if not isinstance(schedule, torch.optim.lr_scheduler.LambdaLR):
            raise UserError(f"phases: a schedule of the type {args.lr_scheduler_type} cannot start anew; take another")
        factor: Callable[[int], float] = schedule.lr_lambdas[0]
        return factor

    # ---- The loss and the objectives ----

    def training_step(self, model: nn.Module, inputs: dict[str, Tensor | Any], *args: Any, **kwargs: Any) -> Tensor:
        """One micro-batch; gives the loss of the answers alone."""
        mask = inputs.get("attention_mask")
        self._tokens += inputs["input_ids"].numel() if mask is None else mask.sum()
        with self.layout.applied(inputs):
            loss = super().training_step(model, inputs, *args, **kwargs)
        self.stop_unless_finite("loss", loss, self.state.global_step + 1)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and self.accelerator.scaler is None:  # a scaler leaves such steps out, and goes on
            self.stop_unless_finite("gradient", torch.as_tensor(norm), self.state.global_step + 1)
        return norm

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.prepare_objectives(model if model is not None else self.model)
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            # Trainer loads by the names on disk and passes over those that differ from the model's own, such as
            # `embed_out` for GPT-NeoX's `lm_head`; `load_weights` knows them, and `strict` leaves nothing out.
            try:
                saved = load_weights(resume_from_checkpoint, architecture=type(self.model))
            except BrokenCheckpointError as error:
                raise UserError(
                    f"resume_from_checkpoint: could not load '{resume_from_checkpoint}' ({error}); give another"
                ) from None
            self.model.load_state_dict(saved.state_dict(), strict=True)
        self._load_objectives(Path(resume_from_checkpoint) / OBJECTIVES_FILE)

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._prepare_for_training(*args, **kwargs)
        except (ValueError, TypeError, RuntimeError) as error:  # such as a schedule that needs --lr_scheduler_kwargs
            raise UserError(" ".join(str(error).split())) from error

    # ---- What is saved beside the Trainer's own ----

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            put_back(self.base_files, Path(output_dir or self.run_dir))

    def save_extras(self, checkpoint: Path) -> None:
        states = {name: state for name, o in self.objectives.items() if (state := o.state_dict())}
        if states and self.args.should_save:
            torch.save(states, checkpoint / OBJECTIVES_FILE)
        if self.args.should_save:
            self._keep_measured(checkpoint)

    def _load_objectives(self, file: Path) -> None:
        saved = torch.load(file, map_location=self.args.device, weights_only=True) if file.exists() else {}
        for name, objective in self.objectives.items():
            if name in saved:
                objective.load_state_dict(saved[name])
            elif objective.state_dict():
                raise UserError(f"resume_from_checkpoint: {file} lacks the state of '{name}'; give another checkpoint")

    # ---- What is logged ----

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the speed to the figures of a step; `loss` is the answers' alone."""
        if "loss" in logs:
            tokens = self.accelerator.reduce(self._tokens, reduction="sum").item()
            logs["tokens_per_second"] = round(tokens / (time.perf_counter() - self._tokens_since), 1)
            self._tokens.zero_()
            self._tokens_since = time.perf_counter()
        if len(self.plan.phases) > 1:
            logs["phase"] = self.plan.place(self.state.global_step, self.state.log_history) + 1
        super().log(logs, start_time)

    def evaluate(
        self,
        eval_dataset: Dataset | dict[str, Dataset] | str | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Exact match by set, every row counted once over all processes; logged, and returned. Where the rows' game is
        known, also the probability of the right move and of the one that the names are bound to, among all possible
        answers, in the mean over rows: `p_right` and `p_cheat`.

        `eval_dataset` is a dataset, a dict of them, or the name of one of the trainer's own; by default all of these.
        Raises `UserError` for a name that it does not have, and for a dataset without `prompt` and `answer`.
        """
        started = time.perf_counter()
        metrics, known = {}, Known()
        for name, rows in self._sets_to_measure(eval_dataset).items():
            key = log_prefix(name, metric_key_prefix)
            probabilities = self._probabilities(rows, known)
            metrics[f"{key}_exact_match"] = self._exact_match(rows, known)
            if self.eval_loss:
                metrics[f"{key}_loss"] = self._answer_loss(rows)
            metrics |= {f"{key}_{name}": value for name, value in probabilities.items()}
        self._measured = self._weights_now(), known
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._tokens_since += time.perf_counter() - started  # the speed is that of training
        return metrics

    def _weights_now(self) -> Any:
        """Something that is equal only while the weights are as they were."""
        return self.state.global_step, [(weight.data_ptr(), weight._version) for weight in self.model.parameters()]

    def _keep_measured(self, checkpoint: Path) -> None:
        """Writes what was measured of these weights beside them, if it was measured as a sweep does it, in fp32."""
        weights, known = self._measured
        in_fp32 = self.accelerator.mixed_precision == "no" and not self.args.torch_compile
        in_fp32 &= all(weight.dtype == torch.float32 for weight in self.model.parameters())
        if in_fp32 and weights == self._weights_now():
            known.write(checkpoint, self.accelerator.unwrap_model(self.model))

    def _sets_to_measure(self, wanted: Dataset | dict[str, Dataset] | str | None) -> dict[str, Dataset]:
        own = self.eval_dataset or {}
        if isinstance(wanted, str):
            if wanted not in own:
                raise UserError(f"eval_dataset: {unknown('set', wanted, own)}")
            return {wanted: own[wanted]}
        sets = own if wanted is None else wanted if isinstance(wanted, dict) else {"eval": wanted}
        for name, rows in sets.items():
            if not {"prompt", "answer"} <= set(getattr(rows, "column_names", None) or ()) or not len(rows):
                raise UserError(f"eval_dataset: '{name}' is no dataset of rows with the columns prompt and answer")
        return sets

    def _probabilities(self, rows: Dataset, known: Known) -> dict[str, float]:
        """`p_right` and `p_cheat`."""
        try:
            records = candidate_records(
                self.accelerator.unwrap_model(self.model),
                self._tokenizer,
                rows,
                parse_prompts(rows["prompt"][:])[0],
                batch_size=self.args.per_device_eval_batch_size,
                accelerator=self.accelerator,
                known=known,
            )
        except CannotMeasureError:  # such as rows of no known game
            return {}
        means = mean_quantities(records)
        return {name: means[name] for name in ("p_right", "p_cheat") if name in means}

    def _answer_loss(self, rows: Dataset) -> float:
        encoded = encode_rows(rows, self.processing_class, sys.maxsize, "eval_data")
        return answer_loss(self.model, encoded, self.padded, self.args.per_device_eval_batch_size, self.accelerator)

    def _exact_match(self, rows: Dataset, known: Known) -> float:
        answers: Sequence[str] = rows["answer"][:]
        written = greedy_answers(
            self.model,
            self._tokenizer,
            rows,
            max_new_tokens=answer_budget(self.processing_class, answers),
            batch_size=self.args.per_device_eval_batch_size,
            accelerator=self.accelerator,
            known=known,
        )
        return sum(text_matches(text, answer) for text, answer in zip(written, answers, strict=True)) / len(answers)
