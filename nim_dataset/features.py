"""The columns of every split: the original's prompt and answer, then the ground truth that they were made from."""

import datasets

BUCKETS = ("neutral", "cheat")

FEATURES = datasets.Features(
    {
        "prompt": datasets.Value("string"),
        "answer": datasets.Value("string"),
        "coins": datasets.Value("int32"),
        "max_remove": datasets.Value("int32"),
        "trace": datasets.List(datasets.Value("int32")),
        "pile": datasets.Value("int32"),
        "move": datasets.Value("int32"),
        "player_one": datasets.Value("string"),
        "player_two": datasets.Value("string"),
        "bucket": datasets.ClassLabel(names=list(BUCKETS)),
        "cheat_move": datasets.Value("int32"),
    }
)

SCHEMA = FEATURES.arrow_schema
