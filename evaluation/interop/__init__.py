"""Other evaluation tools on the same rows: tasks of lm-evaluation-harness, and one of Inspect."""
