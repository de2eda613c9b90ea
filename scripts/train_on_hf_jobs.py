# /// script
# requires-python = ">=3.11"
# dependencies = ["nim-testbed[train]"]
#
# [tool.uv.sources]
# nim-testbed = { path = "/nim-testbed/nim_testbed-0.1.0-py3-none-any.whl" }
#
# [tool.hf-jobs]
# flavor = "a100-large"
# timeout = "24h"
# secrets = ["HF_TOKEN"]
# volumes = ["./dist:/nim-testbed"]
# ///
"""Trains pythia-410m on a GPU rented from Hugging Face Jobs, and pushes the model and its checkpoints.

    pip wheel . --no-deps --wheel-dir dist
    hf jobs uv run scripts/train_on_hf_jobs.py --hub_model_id USER/nim-cheating

The wheel is this clone's code, and goes along. Options are those of `nim-train`, and come after the defaults below; a
`--config` of one's own is sent with the job. `hf jobs uv run --dry-run` shows the job, and this script by itself with
`--print_config` the run.
"""

import runpy
import sys

if __name__ == "__main__":
    given = sys.argv[1:]
    config = [] if any(flag.split("=")[0] == "--config" for flag in given) else ["--config", "configs/cheating.yaml"]
    publish = ["--push_to_hub", "true", "--push_checkpoints", "true", "--hub_private_repo", "true"]
    sys.argv[1:] = [*config, *publish, *given]
    runpy.run_module("training.train", run_name="__main__", alter_sys=True)
