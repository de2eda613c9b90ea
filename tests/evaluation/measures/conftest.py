"""Small models of several families that read the built-in tokenizer's tokens; their weights are random, not tame."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    OPTConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    RwkvConfig,
)

from evaluation.eval_sets import load_eval_sets
from evaluation.measures.measure import Subject

TINY = Path(__file__).resolve().parents[3] / "configs" / "models" / "tiny"
SIZE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
CONFIGS: dict[str, Callable[..., Any]] = {
    "gpt_neox": lambda **kw: GPTNeoXConfig(**SIZE, intermediate_size=64, max_position_embeddings=256, **kw),
    "gpt2": lambda **kw: GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=256, **kw),
    "llama": lambda **kw: LlamaConfig(**SIZE, num_key_value_heads=2, intermediate_size=64, **kw),
    "qwen2": lambda **kw: Qwen2Config(**SIZE, num_key_value_heads=2, intermediate_size=64, **kw),
    "opt": lambda **kw: OPTConfig(**SIZE, ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=256, **kw),
    "bloom": lambda **kw: BloomConfig(hidden_size=32, n_layer=3, n_head=4, **kw),
    "rwkv": lambda **kw: RwkvConfig(hidden_size=32, num_hidden_layers=3, **kw),  # reads padding
    "mamba": lambda **kw: MambaConfig(hidden_size=32, num_hidden_layers=3, state_size=4, **kw),
}


SOME = ("gpt_neox", "llama", "rwkv")
"""Those that each run tries; the others are slow proofs."""
FAMILIES = [pytest.param(name, marks=() if name in SOME else pytest.mark.slow) for name in CONFIGS]


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(TINY)


@pytest.fixture(scope="session")
def tokenizer_with_bos() -> PreTrainedTokenizerBase:
    """Begins each text with a token of its own, as Llama's does."""
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    first = tokenizer.convert_ids_to_tokens(7)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{first} $A", special_tokens=[(first, 7)])
    return tokenizer


@pytest.fixture(scope="session")
def family(tiny_tokenizer: PreTrainedTokenizerBase) -> Callable[[str], PreTrainedModel]:
    """A model of one of `CONFIGS`."""

    def make(name: str) -> PreTrainedModel:
        torch.manual_seed(0)
        end = tiny_tokenizer.eos_token_id
        model = AutoModelForCausalLM.from_config(
            CONFIGS[name](vocab_size=len(tiny_tokenizer), eos_token_id=end, bos_token_id=end, pad_token_id=end)
        )
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.data *= 5  # so that attention attends, and a token in the wrong place is seen
        return model.eval()

    return make


@pytest.fixture(scope="session")
def subject() -> Callable[..., Subject]:
    """A model before an evaluation set; what is told comes to `tell`."""

    def make(model: Any, tokenizer: Any, spec: str, limit: int, batch_size: int = 128, tell: Any = print) -> Subject:
        eval_set = load_eval_sets([spec], limit)[0]
        return Subject(model, tokenizer, eval_set, batch_size, Accelerator(cpu=True), "", tell)

    return make
