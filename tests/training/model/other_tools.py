"""Run by test_other_tools.py with other versions: prints what they make of the models in the folders that are given.

python other_tools.py [--transformer-lens] FOLDER ...
"""

import json
import sys

import torch
import transformers

TEXT = "You are playing the game of nim. There are 57 coins."


def read(folder: str, lens: bool) -> dict[str, object]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids_BL = torch.tensor([tokenizer(TEXT)["input_ids"]])
    if lens:
        from transformer_lens.model_bridge import TransformerBridge

        logits_BLV = TransformerBridge.boot_transformers(folder)(ids_BL)
    else:
        logits_BLV = transformers.AutoModelForCausalLM.from_pretrained(folder)(ids_BL).logits
    return {
        "version": transformers.__version__,
        "ids": ids_BL.tolist(),
        "logits": logits_BLV.flatten().tolist(),
        "chat": tokenizer.chat_template,
        "special": tokenizer.special_tokens_map,
    }


lens, folders = "--transformer-lens" in sys.argv, [word for word in sys.argv[1:] if not word.startswith("--")]
print(json.dumps([read(folder, lens) for folder in folders]))
