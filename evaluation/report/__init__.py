"""The report: from a sweep's results to figures, tables and one self-contained page, without a model."""
