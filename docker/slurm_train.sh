#!/usr/bin/env bash
# One training process on one node. Submit: sbatch docker/slurm_train.sh CONFIG.yaml RUN_DIR
# Two minutes before the time limit Slurm sends SIGUSR1: facet saves a checkpoint and exits with 75, and the job is
# queued again; the same command then resumes from that checkpoint.
#SBATCH --job-name=facet
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail
config=$1 run=$2

export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
srun facet train "$config" --output "$run"
status=$?
[ "$status" != 75 ] || scontrol requeue "$SLURM_JOB_ID"
exit "$status"
