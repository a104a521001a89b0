"""Where a network's input lies in the picture, against transforms whose geometry is known."""

import io
import random
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import functional as tv
from transformers import BlipImageProcessor, CLIPImageProcessor, ViTImageProcessor

from gradcam_core.image.placement import Placement, locate, with_placement

Preprocess = Callable[[Image.Image], Tensor]
Box = tuple[float, float, float, float]

_EXACT = 0.005  # of a side


def to_tensor(image: Image.Image) -> Tensor:
    values = np.array(image, np.float32) / 255
    return torch.from_numpy(values.reshape(*values.shape[:2], -1)).permute(2, 0, 1)[None]


def center_crop(image: Image.Image) -> Image.Image:
    return transforms.CenterCrop(224)(transforms.Resize(256)(image))


def center_box(width: int, height: int, resized: int = 256, cropped: int = 224) -> Box:
    """The part that torchvision's Resize and CenterCrop show, by their documented rounding."""
    scale = resized / min(width, height)
    sides = [int(side * scale + 1e-9) for side in (width, height)]
    starts = [round((side - cropped) / 2) for side in sides]
    left, top = (start / side for start, side in zip(starts, sides, strict=True))
    right, bottom = ((start + cropped) / side for start, side in zip(starts, sides, strict=True))
    return left, top, right, bottom


def z_score(values: Tensor) -> Tensor:
    return (values - values.mean()) / values.std()


VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "fixed": lambda x: (x - 0.45) / 0.22,
    "negative": lambda x: 1 - x,
    "z-score": z_score,
    "z-score per channel": torch.nn.functional.instance_norm,
    "min-max": lambda x: (x - x.min()) / (x.max() - x.min()),
    "maximum": lambda x: x / x.max(),
    "gamma": lambda x: x**2.4,
    "logarithm": lambda x: (x + 1e-2).log(),
    "reciprocal": lambda x: 1 / (x + 1e-2),
    "threshold": lambda x: (x > 0.5).float(),
    "threshold at the mean": lambda x: (x > x.mean()).float(),
    "levels": lambda x: (5 * x).round(),
    "not monotone": lambda x: (x - 0.5).abs(),
    "grey": lambda x: x.mean(1, keepdim=True),
    "BGR": lambda x: z_score(x.flip(1)),
    "four channels": lambda x: torch.cat([x, x.mean(1, keepdim=True)], 1),
    "channels last": lambda x: x.permute(0, 2, 3, 1),
    "patches": lambda x: torch.pixel_unshuffle(x, 2),
}


def found(preprocess: Preprocess, size: tuple[int, int]) -> Placement:
    calls = 0

    def counted(image: Image.Image) -> Tensor:
        nonlocal calls
        calls += 1
        return preprocess(image)

    placement = locate(counted, size)
    assert calls <= 20
    return placement


@pytest.mark.parametrize("size", [(400, 300), (300, 451), (1200, 800)])
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_a_crop_is_found_whatever_happens_to_the_colours(
    values: Callable[[Tensor], Tensor], size: tuple[int, int]
) -> None:
    placement = found(lambda image: values(to_tensor(center_crop(image))), size)
    assert placement == (pytest.approx(center_box(*size), abs=_EXACT), False, False, False)


@pytest.mark.parametrize("name", ["equalize", "autocontrast", "posterize", "solarize", "HSV"])
@pytest.mark.parametrize("first", [True, False])
def test_a_crop_is_found_with_operations_of_pillow(name: str, first: bool) -> None:
    operation = {
        "equalize": ImageOps.equalize,
        "autocontrast": ImageOps.autocontrast,
        "posterize": lambda image: ImageOps.posterize(image, 2),
        "solarize": ImageOps.solarize,
        "HSV": lambda image: Image.merge("RGB", image.convert("HSV").split()),
    }[name]

    def preprocess(image: Image.Image) -> Tensor:
        return to_tensor(center_crop(operation(image)) if first else operation(center_crop(image)))

    assert found(preprocess, (400, 300)).box == pytest.approx(center_box(400, 300), abs=_EXACT)


def _letterbox(image: Image.Image, colour: str) -> Tensor:
    return to_tensor(ImageOps.pad(image, (224, 224), color=colour))


def _jpeg(image: Image.Image) -> Tensor:
    file = io.BytesIO()
    image.resize((224, 224)).save(file, "JPEG", quality=50)
    return to_tensor(Image.open(file))


# Pictures of 400 x 300 pixels.
_KNOWN: dict[str, tuple[Preprocess, Box]] = {
    "squash": (lambda image: to_tensor(image.resize((224, 224))), (0, 0, 1, 1)),
    "small": (lambda image: to_tensor(image.resize((32, 32))), (0, 0, 1, 1)),
    "tiny": (lambda image: to_tensor(image.resize((8, 8))), (0, 0, 1, 1)),
    "nearest": (lambda image: to_tensor(image.resize((28, 28), 0)), (0, 0, 1, 1)),
    "wide": (lambda image: to_tensor(image.resize((320, 32))), (0, 0, 1, 1)),
    "JPEG": (_jpeg, (0, 0, 1, 1)),
    "letterbox": (lambda image: _letterbox(image, "black"), (0, -1 / 6, 1, 7 / 6)),
    "red letterbox, z-score": (
        lambda image: z_score(_letterbox(image, "red")),
        (0, -1 / 6, 1, 7 / 6),
    ),
    "white letterbox, min-max": (
        lambda image: VALUES["min-max"](_letterbox(image, "white")),
        (0, -1 / 6, 1, 7 / 6),
    ),
    "edges repeated": (
        lambda image: tv.pad(to_tensor(image), [100, 0], padding_mode="edge"),
        (-0.25, 0, 1.25, 1),
    ),
    "mirrored margins": (
        lambda image: tv.pad(to_tensor(image), [0, 60], padding_mode="reflect"),
        (0, -0.2, 1, 1.2),
    ),
    "corner": (
        lambda image: to_tensor(image.crop((0, 0, 100, 60)).resize((64, 64))),
        (0, 0, 0.25, 0.2),
    ),
    "detail": (
        lambda image: to_tensor(image.crop((120, 120, 136, 132)).resize((64, 64))),
        (0.3, 0.4, 0.34, 0.44),
    ),
    "in place": (lambda image: (image.thumbnail((200, 200)), to_tensor(image))[1], (0, 0, 1, 1)),
    "timm": (
        lambda image: timm.data.create_transform(224, crop_pct=0.9)(image)[None],
        center_box(400, 300, 248, 224),
    ),
    "timm squash": (
        lambda image: timm.data.create_transform(224, crop_pct=1.0, crop_mode="squash")(image)[
            None
        ],
        (0, 0, 1, 1),
    ),
    "CLIP": (
        lambda image: CLIPImageProcessor()(image, return_tensors="pt")["pixel_values"],
        (1 / 8, 0, 7 / 8, 1),
    ),
    "ViT": (
        lambda image: ViTImageProcessor()(image, return_tensors="pt")["pixel_values"],
        (0, 0, 1, 1),
    ),
    "BLIP": (
        lambda image: BlipImageProcessor()(image, return_tensors="pt")["pixel_values"],
        (0, 0, 1, 1),
    ),
}


@pytest.mark.parametrize(("preprocess", "box"), _KNOWN.values(), ids=_KNOWN.keys())
def test_the_part_that_a_preprocessing_shows_is_found(preprocess: Preprocess, box: Box) -> None:
    placement = found(preprocess, (400, 300))
    assert placement == (pytest.approx(box, abs=_EXACT), False, False, False)


def test_crops_and_margins_by_pixels_are_found_in_large_pictures() -> None:
    size = (1600, 1000)
    cropped = locate(lambda image: to_tensor(tv.center_crop(image, [400, 400])), size)
    assert cropped.box == pytest.approx((0.375, 0.3, 0.625, 0.7), abs=_EXACT)
    padded = locate(lambda image: to_tensor(tv.pad(image, 50).resize((224, 224))), size)
    assert padded.box == pytest.approx((-1 / 32, -0.05, 33 / 32, 1.05), abs=_EXACT)


@pytest.mark.parametrize("size", [(1, 1), (9, 6), (15, 20)])
def test_pictures_of_a_few_pixels_are_placed_or_unknown(size: tuple[int, int]) -> None:
    squashed = locate(lambda image: to_tensor(image.resize((64, 64))), size).box
    assert squashed is None or squashed == pytest.approx((0, 0, 1, 1), abs=0.02)
    width, height = size
    true = (0.5 - 16 / width, 0.5 - 16 / height, 0.5 + 16 / width, 0.5 + 16 / height)
    padded = locate(lambda image: to_tensor(tv.center_crop(image, [32, 32])), size).box
    assert padded is None or padded == pytest.approx(true, abs=0.1)


_ORIENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda x: x,
    "mirrored": lambda x: x.flip(3),
    "upside down": lambda x: x.flip(2),
    "half a turn": lambda x: x.rot90(2, (2, 3)),
    "a quarter left": lambda x: x.rot90(1, (2, 3)),
    "a quarter right": lambda x: x.rot90(3, (2, 3)),
    "transposed": lambda x: x.transpose(2, 3),
    "transposed the other way": lambda x: x.flip(2).rot90(1, (2, 3)),
}


@pytest.mark.parametrize("values", ["fixed", "z-score", "threshold"])
@pytest.mark.parametrize("turn", _ORIENTATIONS.values(), ids=_ORIENTATIONS.keys())
def test_flips_and_quarter_turns_are_undone(turn: Callable[[Tensor], Tensor], values: str) -> None:
    photo = Image.new("RGB", (400, 300), "black")
    photo.paste("white", (100, 50, 140, 100))  # within the crop, off its diagonals

    def preprocess(image: Image.Image) -> Tensor:
        return turn(VALUES[values](to_tensor(center_crop(image))))

    pixels, placement = with_placement(preprocess)(photo)
    assert placement.box == pytest.approx(center_box(400, 300), abs=_EXACT)
    upright = placement.upright(pixels[0].permute(1, 2, 0).numpy())
    expected = to_tensor(center_crop(photo))[0].permute(1, 2, 0).numpy()
    assert ((upright > upright.mean()) == (expected > 0.5)).mean() > 0.99
    assert np.array_equal(placement.as_input(upright), pixels[0].permute(1, 2, 0).numpy())


def _trimmed(image: Image.Image) -> Image.Image:
    corner = Image.new("RGB", image.size, image.getpixel((0, 0)))
    return image.crop(ImageChops.difference(image, corner).getbbox())


_CORNERS = [[0, 0], [223, 0], [223, 223], [0, 223]]
_UNKNOWN: dict[str, Preprocess] = {
    "rotation": lambda image: tv.rotate(to_tensor(center_crop(image)), 30),
    "slight rotation": lambda image: tv.rotate(to_tensor(center_crop(image)), 6),
    "perspective": lambda image: tv.perspective(
        to_tensor(center_crop(image)), _CORNERS, [[40, 40], [200, 0], [223, 223], [0, 190]]
    ),
    "shift around": lambda image: to_tensor(center_crop(image)).roll(60, 3),
    "spectrum": lambda image: torch.fft.fft2(to_tensor(center_crop(image))).abs().log1p(),
    "crops as channels": lambda image: torch.cat(
        [to_tensor(crop) for crop in transforms.FiveCrop(224)(transforms.Resize(256)(image))], 1
    ),
    "content": lambda image: to_tensor(_trimmed(image).resize((64, 64))),
    "blank": lambda image: torch.zeros(1, 3, 64, 64),
    "not a number": lambda image: torch.full((1, 3, 64, 64), torch.nan),
    "mean colour": lambda image: to_tensor(image).mean((2, 3), keepdim=True),
    "histogram": lambda image: torch.tensor(image.histogram()).float().view(1, 3, 16, 16),
    "one row": lambda image: to_tensor(image.resize((64, 1))),
}


@pytest.mark.parametrize("preprocess", _UNKNOWN.values(), ids=_UNKNOWN.keys())
def test_what_cannot_be_followed_is_unknown(preprocess: Preprocess) -> None:
    assert found(preprocess, (400, 300)) == Placement(None)


def test_an_error_for_test_pictures_leaves_the_position_unknown() -> None:
    def no_face(image: Image.Image) -> Tensor:
        if image.getpixel((0, 0)) != (128, 128, 128):
            raise RuntimeError("There is no face.")
        return to_tensor(image)

    _, placement = with_placement(no_face)(Image.new("RGB", (64, 64), "gray"))
    assert placement.box is None


_RANDOM: dict[str, Callable[[Image.Image], Image.Image]] = {
    "crop": transforms.RandomCrop(128),
    "resized crop": transforms.RandomResizedCrop(96),
    "flip": transforms.RandomHorizontalFlip(),
    "rotation": transforms.RandomRotation(20),
    "colours": transforms.ColorJitter(0.5, 0.5),
    "Python's": lambda image: image.crop((random.randrange(20), 0, 200, 200)).resize((64, 64)),
    "NumPy's": lambda image: tv.hflip(image) if np.random.rand() < 0.5 else image,
}


@pytest.mark.parametrize("step", _RANDOM.values(), ids=_RANDOM.keys())
def test_a_random_preprocessing_is_refused(step: Callable[[Image.Image], Image.Image]) -> None:
    draws = np.random.default_rng(0)
    preprocess = with_placement(lambda image: to_tensor(step(image)))
    with pytest.raises(ValueError, match="random"):
        preprocess(Image.new("RGB", (300, 200)))

    own_generator = with_placement(lambda image: to_tensor(image).roll(draws.integers(9), 3))
    with pytest.raises(ValueError, match="random"):
        own_generator(Image.new("RGB", (300, 200)))


def test_a_certain_random_flip_is_followed_and_draws_nothing_from_the_caller() -> None:
    flip = transforms.RandomHorizontalFlip(1.0)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    assert locate(lambda image: to_tensor(flip(image)), (300, 200)).mirrored
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected


def test_positions_are_found_once_per_size_and_the_picture_stays_as_it_is() -> None:
    calls = 0

    def preprocess(image: Image.Image) -> Tensor:
        nonlocal calls
        calls += 1
        image.thumbnail((64, 64))
        return to_tensor(image)

    placed = with_placement(preprocess)
    photo = Image.effect_noise((300, 200), 60).convert("RGB")
    before = photo.copy()
    placed(photo)
    first = calls
    placed(photo)
    placed(Image.new("RGB", (300, 200)))
    assert calls == first + 2
    assert photo.size == before.size
    assert photo.tobytes() == before.tobytes()


def test_a_given_box_is_used_instead() -> None:
    calls = 0

    def preprocess(image: Image.Image) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.zeros(1, 3, 8, 8)

    _, placement = with_placement(preprocess, (0.75, 0, 0.25, 1))(Image.new("RGB", (300, 200)))
    assert placement == ((0.25, 0, 0.75, 1), False, True, False)
    by_size = with_placement(preprocess, lambda size: (0, 0, 1, size[1] / size[0]))
    assert by_size(Image.new("RGB", (300, 150)))[1].box == (0, 0, 1, 0.5)
    assert calls == 2
    with pytest.raises(ValueError, match="empty"):
        with_placement(preprocess, (0, 0, 0, 1))(Image.new("RGB", (300, 200)))


def test_a_very_narrow_picture_is_refused_where_it_would_take_gigabytes() -> None:
    preprocess = with_placement(lambda image: torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"too narrow.*51 x 1"):
        preprocess(Image.new("RGB", (51, 1)))


@st.composite
def _parts(draw: st.DrawFn, side: int) -> tuple[int, int]:
    """Return both ends of a part of a side, in pixels; up to half of the side beyond it."""
    start = draw(st.integers(-side // 2, side - side // 5))
    end = draw(st.integers(max(start, 0) + side // 5, side + side // 2))
    return start, end


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_geometry_with_random_colours_is_found_or_unknown(data: st.DataObject) -> None:
    width, height = (data.draw(st.integers(60, 420), label="side") for _ in "ab")
    (left, right), (top, bottom) = (data.draw(_parts(side)) for side in (width, height))
    assume(min(right, width) - max(left, 0) >= 24 and min(bottom, height) - max(top, 0) >= 24)
    output = tuple(data.draw(st.integers(24, 240), label="output") for _ in "ab")
    fill = tuple(data.draw(st.lists(st.integers(0, 255), min_size=3, max_size=3), label="fill"))
    filter_ = data.draw(st.sampled_from([Image.Resampling.NEAREST, *list(Image.Resampling)[1:]]))
    turn = data.draw(st.sampled_from(sorted(_ORIENTATIONS)))
    values = data.draw(st.sampled_from(sorted(set(VALUES) - {"patches", "channels last"})))

    def preprocess(image: Image.Image) -> Tensor:
        part = Image.new("RGB", (right - left, bottom - top), fill)
        part.paste(image, (-left, -top))
        return _ORIENTATIONS[turn](VALUES[values](to_tensor(part.resize(output, filter_))))

    placement = locate(preprocess, (width, height))
    if placement.box is None:
        return
    shown = (left / width, right / width), (top / height, bottom / height)
    ends = (placement.box[0], placement.box[2]), (placement.box[1], placement.box[3])
    for (first, last), (found_first, found_last), pixels in zip(shown, ends, output, strict=True):
        # Within the picture: a margin itself shows nothing.
        for place in (max(first, 0.0), min(last, 1.0)):
            at = (place - first) / (last - first)
            allowed = _EXACT + 0.4 * (last - first) / pixels
            assert abs(found_first + (found_last - found_first) * at - place) < allowed
    numbered = torch.arange(6.0).view(1, 1, 2, 3)
    upright = placement.upright(_ORIENTATIONS[turn](numbered)[0].permute(1, 2, 0).numpy())
    assert np.array_equal(upright[:, :, 0], numbered[0, 0].numpy())
