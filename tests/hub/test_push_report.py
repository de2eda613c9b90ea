"""Reports on the Hub: a static Space that shows the page, with its figures and tables."""

from pathlib import Path

import pytest
from hub_client import Client
from huggingface_hub import RepoCard, SpaceCardData


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study's page and that of one of its runs, as files of their kinds."""
    folder = tmp_path / "reports" / "shortcut"
    run = "runs/base-1f/seed-0"
    shown = ["index.html", "results.csv", "figures/over.png", "figures/over.svg"]
    names = ["done.json", ".lock", *shown, *(f"{run}/{name}" for name in shown)]
    by_row = ["predictions/checkpoint-1/a.jsonl", "incorrect/a.jsonl", "measures/probe/checkpoint-1/a.csv"]
    for name in [*names, *(f"{run}/{path}" for path in by_row)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_a_study_is_a_static_space(client: Client, study: Path) -> None:
    push = ("-m", "evaluation.push_report", str(study), "--repo-id", "ada/shortcut")
    assert "spaces/ada/shortcut (private: only you and your organization see it)" in client.ok(*push, "--private")
    repo = client.hub.repo("ada/shortcut", "space")
    page = {"index.html", "results.csv", "figures/over.png", "figures/over.svg"}
    whole = {".gitattributes", "README.md"} | page | {f"runs/base-1f/seed-0/{name}" for name in page}
    assert repo.trees_of("main")[-1] == whole
    assert repo.sdk == "static"
    card = RepoCard(repo.read("README.md").decode())
    settings = SpaceCardData(**card.data.to_dict())
    assert (settings.title, settings.sdk, settings.app_file) == ("shortcut", "static", "index.html")
    assert len(settings.to_dict()["short_description"]) <= 60  # the Hub's limit
    before = len(repo.trees_of("main"))

    # Again: nothing. Then a figure less; what people wrote stays.
    assert "README.md: unchanged" in client.ok(*push)
    assert len(repo.trees_of("main")) == before
    theirs = {"README.md": repo.read("README.md").replace(b"title: shortcut", b"title: Mine"), "notes.html": b"mine"}
    client.hub.commit("ada/shortcut", theirs, type="space")
    (study / "figures" / "over.svg").unlink()
    client.ok(*push)
    assert set(repo.files()) == (whole | {"notes.html"}) - {"figures/over.svg"}
    assert repo.read("README.md") == theirs["README.md"]


def test_what_cannot_be_pushed_is_one_line(client: Client, study: Path) -> None:
    push = ("-m", "evaluation.push_report")
    line = client.error(*push, str(study / "figures"), "--repo-id", "ada/shortcut")
    assert f"{study}/figures: no index.html here, so there is no report to push" in line
    client.hub.create("ada/app", "space", files={"README.md": b"---\nsdk: gradio\n---\n"})
    line = client.error(*push, str(study), "--repo-id", "ada/app")
    assert line == "error: ada/app is a Space of sdk 'gradio': push to another one"
