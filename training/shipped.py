"""What comes with the package beside its code: `configs/`, which lies beside the packages wherever they are.

In a clone that is its root, after `pip install` the folder of the installed packages.
"""

from pathlib import Path
from typing import Any

import yaml

from nim_dataset.errors import UserError, suggest

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
BUILT_IN = CONFIGS / "models"
"""A folder for each built-in model."""


def here_or_shipped(path: str | Path) -> Path:
    """A path as it is; where nothing is there and it begins with `configs/`, the file of that name that is shipped."""
    given = Path(path)
    return given if given.exists() or given.parts[:1] != ("configs",) or not (ROOT / given).exists() else ROOT / given


def read_yaml(path: str | Path, option: str = "", kind: str = "") -> Any:
    """What a YAML file holds, here or shipped; raises `UserError`, which names the `option` that gave the path
    (such as `--config: `) and what `kind` of file it is (such as `the study `)."""
    try:
        return yaml.safe_load(here_or_shipped(path).read_text(encoding="utf-8"))
    except OSError as error:
        near = suggest(str(path), yaml_beside(path))
        raise UserError(f"{option}cannot read {kind}'{path}' ({error.strerror}){near}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{option}'{path}' is not valid YAML: {' '.join(str(error).split())}") from None


def yaml_beside(path: str | Path) -> list[str]:
    """The YAML files that could be given in place of a path: those of its folder, here and shipped."""
    folder = Path(path).parent
    folders = [folder, *([ROOT / folder] if folder.parts[:1] == ("configs",) else [])]
    return sorted({str(folder / file.name) for each in folders for file in each.glob("*.yaml")})
