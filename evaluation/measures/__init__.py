"""Ways to look at a model, one a file; a sweep runs them by name. `measure.py` says what one is."""
