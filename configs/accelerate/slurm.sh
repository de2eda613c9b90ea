#!/usr/bin/env bash
# A run as a SLURM job that puts itself into the queue again until it is complete:
#
#     sbatch configs/accelerate/slurm.sh --config configs/cheating.yaml
#     LAUNCH="accelerate launch --config_file configs/accelerate/ddp.yaml --num_processes 4" \
#         sbatch --gpus=4 configs/accelerate/slurm.sh --config configs/cheating.yaml
#
# From the repository, with the environment activated; partition, account and time as the cluster wants them.
# SLURM sends SIGUSR1 to this script before the time is up: training saves, ends, and is continued by the next job.
#SBATCH --job-name=nim
#SBATCH --nodes=1
#SBATCH --gpus=1
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append

# By itself accelerate launch does not outlive a signal for one process, so python starts that.
${LAUNCH:-python} -m training.train "$@" --resume_from_checkpoint auto &
training=$!
trap 'stopped=1; kill -TERM "$training"' USR1
wait "$training"
status=$?
if [ -n "${stopped:-}" ]; then
    wait "$training" # the signal ended the first one
    status=$?
    [ "$status" -eq 0 ] || scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
