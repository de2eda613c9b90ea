"""`python -m evaluation.push_report reports/NAME --repo-id USER/NAME`: a report, or a study's page, as a static Space.

The page, its figures and the tables as CSV go up in one commit, with those of a study's runs, so that its links work.
What was predicted, row by row, stays here.
"""

import argparse
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from evaluation.artifacts.report_folder import PREDICTIONS
from nim_dataset.errors import UserError, exit_on_user_error
from nim_dataset.hub.access import OVERWRITE_CARD, check_access, open_repo
from nim_dataset.hub.card import Card, dump, merge, read_card, summary
from nim_dataset.hub.patience import attempt, exit_on_interrupt
from nim_dataset.hub.tokens import refuse_token

PAGE = "index.html"
SHOWN = (".html", ".csv", ".png", ".svg", ".pdf")
"""The kinds of files that a page consists of and links to."""
BY_ROW = (PREDICTIONS, "incorrect", "measures")
"""Folders of a report that hold a record for each row."""
OWN_FOLDERS = ("figures", "runs")
"""Folders in the Space that hold nothing but what a push brought."""


def push_report(report: Path, repo_id: str, *, private: bool = False, overwrite_card: bool = False) -> str:
    """Publishes a report's folder and returns its address; uploads nothing that the Space has already.

    What people wrote in the Space's README.md stays, unless `overwrite_card`. Raises `UserError`.
    """
    files = report_files(report)
    refuse_token(files)
    destination = check_access(repo_id, "space", private)
    api, made = destination.api, Card.parse(space_card(report.resolve().name))

    def merged(revision: str) -> tuple[Card, Card]:
        """The Space's card before and after the push. One that the Hub made with the Space is nobody's."""
        present = read_card(destination, revision) if destination.exists else Card.parse("")
        if present.metadata.get("sdk", "static") != "static":
            raise UserError(f"{repo_id} is a Space of sdk '{present.metadata['sdk']}': push to another one")
        return present, merge(present, made, ["sdk"], overwrite=overwrite_card)

    def commit() -> None:
        head = api.repo_info(repo_id, repo_type="space").sha
        assert head is not None
        there = api.list_repo_files(repo_id, repo_type="space", revision=head)
        stale = [path for path in there if path.split("/")[0] in OWN_FOLDERS and path not in files]
        card = str(merged(head)[1]).encode()
        api.create_commit(
            repo_id,
            [
                CommitOperationAdd("README.md", card),
                *(CommitOperationAdd(name, file) for name, file in files.items()),
                *map(CommitOperationDelete, stale),
            ],
            commit_message="Upload the report",
            repo_type="space",
            parent_commit=head,
        )

    before, after = attempt(f"cannot read {repo_id}", lambda: merged("main"), repo_id)
    open_repo(destination, "static")
    attempt(f"the push to {repo_id} failed", commit, repo_id)
    print(f"README.md: {summary(before, after)}")
    return destination.url


def report_files(report: Path) -> dict[str, Path]:
    """Path in the Space -> file of all that the page shows. Raises `UserError` where there is no page."""
    if not (report / PAGE).is_file():
        raise UserError(
            f"{report}: no {PAGE} here, so there is no report to push; `python -m evaluation.report {report}` draws one"
        )
    found = {path.relative_to(report): path for path in sorted(report.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): path
        for name, path in found.items()
        if name.suffix in SHOWN and not set(BY_ROW).intersection(name.parts)
    }


def space_card(name: str) -> str:
    """The README of the Space: its settings, and what it shows."""
    settings = {
        "title": name,
        "emoji": "🪙",
        "colorFrom": "yellow",
        "colorTo": "blue",
        "sdk": "static",
        "app_file": PAGE,
        "pinned": False,
        "tags": ["nim", "shortcut-learning", "training-dynamics"],
        "short_description": "The rule or the shortcut: a report of nim-testbed",
    }
    return f"""---
{dump(settings, chr(10))}
---

# {name}

<!-- generated: report (a push replaces what is between these two lines) -->
Does a language model learn the rule, or the shortcut? The page ([{PAGE}]({PAGE})) answers for `{name}`. Each figure is
in `figures/`, and the numbers are in the CSV files.
<!-- end of generated: report -->
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.push_report", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "report", type=Path, metavar="reports/NAME", help="the folder of a report, or of a study's page"
    )
    parser.add_argument("--repo-id", required=True, metavar="USER/NAME", help="the Space on the Hub")
    parser.add_argument("--private", action="store_true", help="create the Space as private (default: public)")
    parser.add_argument("--overwrite-card", action="store_true", help=OVERWRITE_CARD)
    args = parser.parse_args()
    with exit_on_user_error(), exit_on_interrupt():
        url = push_report(args.report, args.repo_id, private=args.private, overwrite_card=args.overwrite_card)
        print(f"{url} is up to date")


if __name__ == "__main__":
    main()
