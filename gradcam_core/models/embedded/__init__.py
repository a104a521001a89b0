"""The models whose weights come with the package: EfficientNet-Lites, captioners, answerers."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"  # each with a card that describes its model
