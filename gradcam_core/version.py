"""The version of this package."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def package_version() -> str:
    """Return the version, from pyproject.toml where the package is not installed."""
    try:
        return version("gradcam-core")
    except PackageNotFoundError:
        import tomllib

        settings = Path(__file__).parents[1] / "pyproject.toml"
        found: str = tomllib.loads(settings.read_text("utf-8"))["project"]["version"]
        return found
