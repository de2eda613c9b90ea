"""How fast is `predict`, beside the plain ways and beside one pass over the prompts, and how much memory does it take?

    python benchmarks/predictions.py [--rows 128] [--batch-size 128]      # about three minutes on two cores

One pythia-70m-shaped model and the same rows of `cheating:eval` for all, in one run, in turns:

- one at a time: `generate(do_sample=False, max_new_tokens=30)` for each prompt, as the original's scripts do;
- in batches: the same call for batches of prompts in the order of the rows, padded on the left;
- predict: this repository's way, with torch's products;
- in a sweep: predict in a process that has the settings of a sweep's (`evaluation/process/settings.py`);
- one pass: the model's forward pass over the prompts alone, in the batches of predict, logits at the last position.

All have the threads and the malloc of a sweep's process, and all that make answers make the same ones: the random
model's output layer is solved for, so that it says "take N coins" and the end-of-text token. Its body, and so the work
for a token, is as it was.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from machine import machine, spread  # beside this file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from evaluation.predict import predict
from evaluation.process.memory import peak_memory
from evaluation.process.products import kinds_for_this_machine
from evaluation.process.settings import ProcessSettings
from evaluation.tokens import ANSWER_PREFIX, answer_budget
from nim_dataset import load_source

END = "<|endoftext|>"
PLAIN_NEW_TOKENS = 30
REPEATS = 3
T = TypeVar("T")


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """GPT-NeoX's kind of tokenizer (byte-level BPE over words), trained on the prompts: a word is a token there too."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(special_tokens=[END], show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END, padding_side="left")


def build_model(end: int) -> GPTNeoXForCausalLM:
    """pythia-70m's shape."""
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=50304,
        hidden_size=512,
        num_hidden_layers=6,
        num_attention_heads=8,
        intermediate_size=2048,
        max_position_embeddings=2048,
        bos_token_id=end,
        eos_token_id=end,
    )
    return GPTNeoXForCausalLM(config).eval()


@torch.no_grad()
def teach_to_stop(
    model: GPTNeoXForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str], answers: list[str]
) -> None:
    """Solves the output layer by least squares, so that the right token follows each one of prompt + answer + end."""
    states, targets = [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        prompt_ids = tokenizer(prompt)["input_ids"]
        answer_ids = [*tokenizer(ANSWER_PREFIX + answer)["input_ids"], tokenizer.eos_token_id]
        ids = torch.tensor([prompt_ids + answer_ids], device=model.device)
        states.append(model.gpt_neox(ids).last_hidden_state[0, len(prompt_ids) - 1 : -1])
        targets += answer_ids
    state_ND = torch.cat(states)
    wanted_NV = torch.zeros(len(targets), model.config.vocab_size, device=model.device)
    wanted_NV[torch.arange(len(targets)), torch.tensor(targets)] = 1
    ridge_DD = state_ND.T @ state_ND + 1e-2 * torch.eye(state_ND.shape[1], device=model.device)
    model.get_output_embeddings().weight.copy_(torch.linalg.solve(ridge_DD, state_ND.T @ wanted_NV).T)


@torch.inference_mode()
def plain(model: Any, tokenizer: Any, prompts: list[str], batch_size: int = 1) -> list[str]:
    answers = []
    for start in range(0, len(prompts), batch_size):
        batch = tokenizer(prompts[start : start + batch_size], return_tensors="pt", padding=True).to(model.device)
        out = model.generate(**batch, max_new_tokens=PLAIN_NEW_TOKENS, do_sample=False, pad_token_id=0)
        new = out[:, batch["input_ids"].shape[1] :]
        answers += [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]
    return answers


@torch.inference_mode()
def one_pass(
    model: GPTNeoXForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str], batch_size: int
) -> None:
    encoded = sorted(tokenizer(prompts)["input_ids"], key=len, reverse=True)
    for start in range(0, len(encoded), batch_size):
        batch = encoded[start : start + batch_size]
        longest = len(batch[0])
        ids_BP = torch.tensor([[0] * (longest - len(row)) + row for row in batch], device=model.device)
        mask_BP = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in batch], device=model.device)
        logits = model(ids_BP, attention_mask=mask_BP, logits_to_keep=1, use_cache=False).logits
        logits[:, -1].argmax(-1).tolist()  # brings the answer home, as a predictor must


def rates_in_a_sweep() -> list[float]:
    """Rows per second in a fresh process with a sweep's settings, and otherwise the same options."""
    command = [sys.executable, __file__, *sys.argv[1:], "--in-a-sweep"]
    return list(map(float, subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()))


def timed(job: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = job()
    return time.perf_counter() - started, result


def peak_mib(rows: int) -> float:
    """Peak memory of a fresh process that answers so many prompts with a small model."""
    command = [sys.executable, __file__, "--memory-of", str(rows)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def answer_many(rows: int) -> None:
    """What `peak_mib` measures: distinct prompts, so that nothing is shared."""
    torch.manual_seed(0)
    prompts = load_source("cheating:train", limit=rows)["prompt"][:]
    tokenizer = build_tokenizer(prompts[:200])
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    predict(GPTNeoXForCausalLM(config), tokenizer, prompts, max_new_tokens=5)
    print(peak_memory() / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=128, help="rows that all but the first way read")
    parser.add_argument("--plain-rows", type=int, default=8, help="of them, those read one at a time")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--in-a-sweep", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        return answer_many(args.memory_of)

    on_cpu = args.device == "cpu"
    settings = ProcessSettings.choose(0, on_cpu=on_cpu, recorded=None if args.in_a_sweep else {"onednn_products": []})
    settings.apply()
    rows = load_source("cheating:eval", limit=args.rows)
    prompts, answers = rows["prompt"][:], rows["answer"][:]
    tokenizer = build_tokenizer(prompts)
    model = build_model(tokenizer.eos_token_id).to(args.device)
    teach_to_stop(model, tokenizer, prompts[:64], answers[:64])
    budget = answer_budget(tokenizer, answers)
    few = prompts[:: max(1, len(prompts) // args.plain_rows)][: args.plain_rows]

    def ours() -> list[str]:
        return predict(model, tokenizer, prompts, max_new_tokens=budget, batch_size=args.batch_size)

    if args.in_a_sweep:
        ours()  # warm up
        print(*(len(prompts) / timed(ours)[0] for _ in range(REPEATS)))
        return

    ways: dict[str, tuple[list[str], Callable[[], Any]]] = {
        "one at a time": (few, lambda: plain(model, tokenizer, few)),
        "in batches": (prompts, lambda: plain(model, tokenizer, prompts, args.batch_size)),
        "predict": (prompts, ours),
        "one pass": (prompts, lambda: one_pass(model, tokenizer, prompts, args.batch_size)),
    }
    length = sum(len(ids) for ids in tokenizer(prompts)["input_ids"]) / len(prompts)
    print(f"{machine()}\n{args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{len(prompts)} prompts of {length:.0f} tokens, budget {budget} tokens, batches of {args.batch_size}\n")
    plain(model, tokenizer, few[:2])  # warm up
    rates: dict[str, list[float]] = {name: [] for name in ways}
    said: dict[str, Any] = {}
    for _ in range(REPEATS):
        for name, (read, way) in ways.items():
            seconds, said[name] = timed(way)
            rates[name].append(len(read) / seconds)
    answer_to = dict(zip(prompts, said["predict"], strict=True))
    assert said["in batches"] == said["predict"], "batches give other answers"
    assert said["one at a time"] == [answer_to[prompt] for prompt in few], "one at a time gives other answers"
    assert all(answer.startswith("take ") for answer in answer_to.values()), "the model does not answer properly"
    rates[f"in a sweep ({', '.join(kinds_for_this_machine()) or 'no products'} from oneDNN)"] = rates_in_a_sweep()
    first = statistics.median(rates["one at a time"])
    print(f"{'rows per second':<60}{'median of ' + str(REPEATS):>24}{'ratio':>8}")
    for name, found in rates.items():
        print(f"{name:<60}{spread(found, 1):>24}{statistics.median(found) / first:>7.1f}x")

    print("\nrows answered by a small model    peak memory of the process")
    for count in (2_000, 20_000):
        print(f"{count:>13,}{peak_mib(count):>28,.0f} MiB")


if __name__ == "__main__":
    main()
