"""Nothing in the code runs what it downloads: no remote code, no pickles, by reading every line of it."""

import ast
from pathlib import Path

from hub_client import ROOT

FILES = [
    path for package in ("nim_dataset", "training", "evaluation") for path in sorted((ROOT / package).rglob("*.py"))
]
FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec"}
FORBIDDEN_OPTIONS = {"trust_remote_code": None, "allow_pickle": False, "weights_only": True}
"""Options of calls, and the only value they may have; None: not to be passed at all."""


def problems(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [name for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.Call):
            found += [node.func.id] if isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS else []
            for keyword in node.keywords:
                allowed = keyword.arg not in FORBIDDEN_OPTIONS
                value = getattr(keyword.value, "value", "?")
                if not allowed and (value is None or value is not FORBIDDEN_OPTIONS[str(keyword.arg)]):
                    found.append(f"{keyword.arg}={value}")
            load = isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "torch.load"
            if load and "weights_only" not in [keyword.arg for keyword in node.keywords]:
                found.append("torch.load without weights_only=True")
    return [f"{path.relative_to(ROOT)}: {problem}" for problem in found]


def test_nothing_downloaded_is_run() -> None:
    assert len(FILES) > 30
    assert [problem for path in FILES for problem in problems(path)] == []
