"""Saved models are read by transformers 4.57 and TransformerLens as by the version that saved them.

They are installed without their dependencies into a folder of their own, beside this environment's torch.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

READ = str(Path(__file__).with_name("other_tools.py"))
TOOLS = {
    "transformers 4.57": (["transformers==4.57.6", "huggingface_hub==0.36.2", "tokenizers==0.22.2"], []),
    "TransformerLens": (
        [
            "transformer_lens==4.3.0",
            "einops",
            "fancy-einsum",
            "jaxtyping",
            "beartype",
            "typeguard<5",
            "wadler-lindig",
            "sentencepiece",
        ],
        ["--transformer-lens"],
    ),
}


def read(folders: list[Path], flags: list[str], libraries: Path | None = None) -> list[dict[str, Any]]:
    """What `other_tools.py` finds, with this environment's libraries or with those of a folder before them."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(libraries or "")}
    done = subprocess.run(
        [sys.executable, READ, *flags, *map(str, folders)], capture_output=True, text=True, env=env, cwd=folders[0]
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_other_tools_read_what_a_run_saves(data: Any, launch: Any, tmp_path: Path) -> None:
    base = tmp_path / "base"
    data.model("llama").save_pretrained(base)
    data.tokenizer.save_pretrained(base)
    config = json.loads((base / "config.json").read_text())
    del config["rope_parameters"], config["dtype"]  # as they are spelled on the Hub
    config |= {"rope_theta": 50.0, "torch_dtype": "float32"}
    (base / "config.json").write_text(json.dumps(config))
    special = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "chat_template": "{{ 1 }}"}
    (base / "tokenizer_config.json").write_text(json.dumps(special))
    flags = ("--train_data", "quickstart,n_train=64", "--max_steps", "1")
    folders: list[Path] = []
    for model in ("tiny", str(base)):
        run = launch(tmp_path / f"run-{len(folders)}", *flags, "--model", model)
        assert run.status == 0, run.stderr
        folders += [run.folder, run.folder / "checkpoint-1"]
    expected = read(folders, [])
    assert expected[2]["chat"] == "{{ 1 }}"
    for name, (packages, more) in TOOLS.items():
        libraries = tmp_path / name.replace(" ", "-")
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(libraries), *packages]
        installed = subprocess.run(pip, capture_output=True, text=True)
        if installed.returncode:
            pytest.skip(f"{name} cannot be installed: {installed.stderr.splitlines()[-1]}")
        for ours, theirs in zip(expected, read(folders, more, libraries), strict=True):
            assert theirs["logits"] == pytest.approx(ours["logits"], abs=1e-5), name
            assert {key: theirs[key] for key in ("ids", "chat", "special")} == {
                key: ours[key] for key in ("ids", "chat", "special")
            }, name
            assert (theirs["version"] == ours["version"]) == (name == "TransformerLens")
