"""What comes with the package beside its code: `configs/`, which lies beside the packages wherever they are.

In a clone that is its root, after `pip install` the folder of the installed packages.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
BUILT_IN = CONFIGS / "models"
"""A folder for each built-in model."""


def here_or_shipped(path: str | Path) -> Path:
    """A path as it is; where nothing is there and it begins with `configs/`, the file of that name that is shipped."""
    given = Path(path)
    return given if given.exists() or given.parts[:1] != ("configs",) or not (ROOT / given).exists() else ROOT / given


def yaml_beside(path: str | Path) -> list[str]:
    """The YAML files that could be given in place of a path: those of its folder, here and shipped."""
    folder = Path(path).parent
    folders = [folder, *([ROOT / folder] if folder.parts[:1] == ("configs",) else [])]
    return sorted({str(folder / file.name) for each in folders for file in each.glob("*.yaml")})
