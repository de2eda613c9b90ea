"""What a model answers, and how well: predictions, the metric, sweeps over checkpoints, the report."""
