"""The API reference: it has every public name, and the examples in the docstrings are true."""

import doctest
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

import gradcam_core
from gradcam_core import metrics

_ROOT = Path(__file__).parents[1]
_PUBLIC = [
    (module, name)
    for module in (gradcam_core, metrics)
    for name in module.__all__
    if name != "metrics"
]
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# Constants have no docstrings at run time.
_DOCUMENTED = [value for module, name in _PUBLIC if callable(value := getattr(module, name))]


def test_every_public_name_is_in_the_reference() -> None:
    pages = "".join(path.read_text("utf-8") for path in (_ROOT / "docs" / "api").glob("*.md"))
    listed = re.findall(r"^::: ([\w.]+)$", pages, re.MULTILINE)
    assert len(set(listed)) == len(listed)
    assert {path.rpartition(".")[2] for path in listed} == {name for _, name in _PUBLIC}


@pytest.fixture(scope="module")
def names(cat_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the examples use without making it, beside all public names."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("examples")
    for name in ("cat.jpg", "photo.jpg", "photos/cat.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(cat_file, folder / name)
    model = gradcam_core.load("lite0")
    image = gradcam_core.open_image(cat_file)
    return {
        **{name: getattr(gradcam_core, name) for name in gradcam_core.__all__},
        "folder": folder,
        "gradcam_core": gradcam_core,
        "Path": Path,
        "torchvision": torchvision,
        "model": model,
        "head": model.bind(model.encode(image)),
        "image": image,
        "picture": image,
        "explanation": gradcam_core.explain(cat_file),
        "network": torchvision.models.resnet18(),
        "names": ["cat", *(f"other {i}" for i in range(999))],
        "loader": [(torch.rand(2, 3, 224, 224), torch.tensor([3, 5]))],
    }


@pytest.mark.slow
@pytest.mark.parametrize("documented", _DOCUMENTED, ids=lambda each: each.__name__)
def test_examples_are_true(
    documented: Any, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(names["folder"])
    _, heading, text = (documented.__doc__ or "").partition("Examples:\n")
    assert heading, "it has no example"
    test = doctest.DocTestParser().get_doctest(
        textwrap.dedent(re.split(r"\n\n(?= *[A-Z]\w+:\n)", text)[0]), dict(names), "", None, None
    )
    assert test.examples
    wrong: list[str] = []
    runner = doctest.DocTestRunner(_Checker(), verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(test, out=wrong.append)
    assert not runner.failures, "".join(wrong)


class _Checker(doctest.OutputChecker):
    """Compares numbers to 3 %; no output in the docstring means any."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if not want:
            return True
        wanted, found = (list(map(float, _NUMBER.findall(text))) for text in (want, got))
        want, got = (_NUMBER.sub("0", text) for text in (want, got))
        if not super().check_output(want, got, optionflags):
            return False
        return np.allclose(wanted, found[: len(wanted)], rtol=0.03, atol=0.02)
