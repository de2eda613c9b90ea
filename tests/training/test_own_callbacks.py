"""Callbacks by import path: what cannot be one is one line."""

import pytest

from nim_dataset.errors import UserError
from training.callbacks import Progress
from training.own_callbacks import load_callbacks


def test_each_path_gives_a_callback() -> None:
    (made,) = load_callbacks(["training.callbacks:Progress"])
    assert isinstance(made, Progress)
    assert load_callbacks([]) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("mine", "callbacks: 'mine' names no class; give MODULE:CLASS"),
        (":Mine", "callbacks: ':Mine' names no class"),
        (
            "no_such:Mine",
            r"callbacks: cannot import 'no_such' of 'no_such:Mine' \(ModuleNotFoundError: No module named",
        ),
        ("json:Mine", "callbacks: 'json:Mine' is no subclass of transformers.TrainerCallback$"),
        ("json:JSONDecoder", "is no subclass of transformers.TrainerCallback"),
        ("training.callbacks:Progres", "is no subclass of .*, did you mean 'Progress'"),
        ("training.callbacks:Begin", r"'training.callbacks:Begin' cannot be made without arguments \(TypeError: "),
    ],
)
def test_what_is_no_callback_is_one_line(path: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_callbacks([path])
    assert "\n" not in str(caught.value)
