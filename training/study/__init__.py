"""A study: one question as conditions x seeds, from data to a page that answers it. `python -m training.study FILE`."""
