"""`python -m evaluation.push_metric --repo-id USER/nim_accuracy`: the metric as a Space on the Hub.

`evaluate.load("USER/nim_accuracy")` then fetches the module from there: a metric on the Hub is a Space that holds a
file of its own name. The folder `evaluation/nim_accuracy` goes up as it is, in one commit; of the card on the Hub, only
the generated section is replaced, and that only where nobody has edited it.
"""

import argparse
from pathlib import Path

from huggingface_hub import CommitOperationAdd, RepoCard

from evaluation import nim_accuracy
from nim_dataset.errors import UserError, exit_on_user_error
from nim_dataset.hub.access import OVERWRITE_CARD, check_access, open_repo
from nim_dataset.hub.card import Card, merge, read_card, summary
from nim_dataset.hub.patience import attempt, exit_on_interrupt

FOLDER = Path(nim_accuracy.__file__).parent
SDKS = ("gradio", "static")
SPACE_FIELDS = ("sdk", "sdk_version", "app_file")
"""The metadata that says how the Space runs the files that are pushed."""


def push_metric(repo_id: str, *, private: bool = False, sdk: str = "gradio", overwrite_card: bool = False) -> str:
    """Publishes the metric and returns its address; uploads nothing when the Space has it already. Raises `UserError`.

    What people wrote in the card stays, unless `overwrite_card`.
    `sdk` is that of the Space: `gradio` runs the folder's demo and may need a paid plan, `static` only holds the files.
    """
    if repo_id.rpartition("/")[2] != FOLDER.name:
        raise UserError(
            f"repo id {repo_id!r}: expected USER/{FOLDER.name}, because `evaluate` looks for a file of that name"
        )
    destination = check_access(repo_id, "space", private)
    files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in (".py", ".md", ".txt")}
    del files["__init__.py"]
    if sdk == "static":
        del files["app.py"], files["requirements.txt"]
    made = Card.parse(space_card(repo_id, sdk))

    def merged(revision: str) -> tuple[Card, Card]:
        """The Space's card before and after the push. One that the Hub made with the Space is nobody's."""
        present = read_card(destination, revision) if destination.exists else Card.parse("")
        owned = SPACE_FIELDS if present.metadata.get("sdk") != sdk else ()
        return present, merge(present, made, owned, overwrite=overwrite_card)

    def commit() -> None:
        head = destination.api.repo_info(repo_id, repo_type="space").sha
        assert head is not None
        files["README.md"] = str(merged(head)[1]).encode()
        destination.api.create_commit(
            repo_id,
            [CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message="Upload the metric",
            repo_type="space",
            parent_commit=head,
        )

    before, after = attempt(f"cannot read {repo_id}", lambda: merged("main"), repo_id)
    open_repo(destination, sdk)
    attempt(f"the push to {repo_id} failed", commit, repo_id)
    print(f"README.md: {summary(before, after)}")
    return destination.url


def space_card(repo_id: str, sdk: str) -> str:
    """The folder's README, with the Space's settings in its YAML, as it reads on the Hub."""
    card = RepoCard((FOLDER / "README.md").read_text(encoding="utf-8"))
    if sdk == "static":
        card.data["sdk"] = sdk
        card.data.pop("sdk_version")
        card.data.pop("app_file")
    card.text = card.text.replace("./evaluation/nim_accuracy", repo_id)
    return str(card)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evaluation.push_metric", description=__doc__.splitlines()[0])
    parser.add_argument("--repo-id", required=True, metavar="USER/nim_accuracy", help="the Space on the Hub")
    parser.add_argument("--private", action="store_true", help="create the Space as private (default: public)")
    parser.add_argument(
        "--sdk", choices=SDKS, default="gradio", help="static is free, but shows no demo (default: gradio)"
    )
    parser.add_argument("--overwrite-card", action="store_true", help=OVERWRITE_CARD)
    args = parser.parse_args()
    with exit_on_user_error(), exit_on_interrupt():
        url = push_metric(args.repo_id, private=args.private, sdk=args.sdk, overwrite_card=args.overwrite_card)
        print(f'{url} is up to date: evaluate.load("{args.repo_id}")')


if __name__ == "__main__":
    main()
