"""The figures of a page, one a file. `figure.py` says what one is."""
