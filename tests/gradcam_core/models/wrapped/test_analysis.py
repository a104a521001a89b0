"""What one run shows of a network: its maps, where their cells lie, and which is the default."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from gradcam_core.models.wrapped.analysis import Analysis, analyze
from gradcam_core.models.wrapped.layout import Layout
from gradcam_core.models.wrapped.parts import main_output

WIDTH = 32  # channels


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    torch.manual_seed(0)
    return


def frozen(network: nn.Module) -> nn.Module:
    return network.eval().requires_grad_(False)


def lies_at(network: nn.Module, name: str, layout: Layout, pixels: Tensor) -> Tensor:
    """Return (row, column) of the middle of each corner cell's gradient, in cells of the map."""
    outputs: list[Tensor] = []
    hook = network.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: outputs.append(
            output[0] if isinstance(output, tuple) else output
        )
    )
    picture = pixels.clone().requires_grad_()
    network(picture)
    hook.remove()
    feature_map = layout.to_map(outputs[0])
    sides = torch.tensor(feature_map.shape[-2:])
    found = []
    for row, column in corners(tuple(sides.tolist())):
        (gradient,) = torch.autograd.grad(
            feature_map[0, :, row, column].square().sum(), picture, retain_graph=True
        )
        energy = gradient[0].square().sum(0)
        indices = torch.stack(
            torch.meshgrid(*[(torch.arange(n) + 0.5) / n for n in energy.shape], indexing="ij")
        )
        found.append((indices * energy).sum((1, 2)) / energy.sum() * sides - 0.5)
    return torch.stack(found)


def corners(sides: tuple[int, ...]) -> list[tuple[int, int]]:
    height, width = sides
    return [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)]


def assert_cells_lie_in_place(
    network: nn.Module, found: Analysis, name: str, pixels: Tensor
) -> None:
    assert found.check(network, pixels, name) is None
    known = found.maps[name]
    expected = torch.tensor(corners(known.shape[1:])).float()
    centres = lies_at(network, name, known.layout, pixels)
    # Attention and large kernels draw them to the middle of the picture.
    assert (centres - expected).abs().max() < 0.3 * max(known.shape[1:])
    for one, other in pairwise(range(4)):
        step = expected[other] - expected[one]
        assert ((centres[other] - centres[one]) * step.sign() >= 0.4 * step.abs()).all()


# --- Layouts


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (Layout(), (2, 5, 2, 3)),
        (Layout("NHWC"), (2, 2, 3, 5)),
        (Layout("NCDHW"), (2, 5, 4, 2, 3)),
        (Layout(transposed=True), (2, 5, 3, 2)),
        (Layout("NHWC", transposed=True), (2, 3, 2, 5)),
        (Layout("NTC", (2, 3)), (2, 6, 5)),
        (Layout("NTC", (2, 3), others=(0, 1)), (2, 8, 5)),
        (Layout("NTC", (2, 3), others=(6,)), (2, 7, 5)),
        (Layout("NTC", (2, 3), others=(0, 4)), (2, 8, 5)),
        (Layout("TNC", (2, 3), others=(3,)), (7, 2, 5)),
        (Layout("NCT", (2, 3)), (2, 5, 6)),
        (Layout("NTC", (2, 3), others=(0,), order=(5, 3, 1, 0, 2, 4)), (2, 7, 5)),
    ],
)
def test_a_layout_goes_there_and_back(layout: Layout, shape: tuple[int, ...]) -> None:
    given = torch.arange(torch.tensor(shape).prod()).view(shape).float()
    feature_map = layout.to_map(given)
    assert feature_map.shape[:2] == (2, 5)
    assert feature_map.shape[-2:] == (2, 3)
    assert layout.map_shape(shape) == feature_map.shape[1:]
    assert torch.equal(layout.from_map(feature_map, given), given)
    changed = layout.from_map(-feature_map, given)
    assert changed.is_contiguous()
    assert torch.equal(layout.to_map(changed), -feature_map)
    # The other tokens stay.
    assert changed.eq(given).sum() - given.eq(0).sum() == 10 * len(layout.others) - (
        1 if 0 in layout.others and given.flatten()[0] == 0 else 0
    )


def test_tokens_of_an_input_of_another_size_are_no_map() -> None:
    with pytest.raises(ValueError, match="11 tokens"):
        Layout("NTC", (2, 3), others=(0,)).to_map(torch.zeros(1, 11, 5))


def test_the_main_output() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    assert main_output([{"boxes": one}, two]) is one
    assert main_output({"aux": one, "out": two}) is two
    assert main_output((two, one)) is two
    assert main_output("nothing") is None


# --- Which maps there are


class Branches(nn.Module):
    """One map, two ways from it, one of them past the other; then a way from the input, too."""

    def __init__(self, from_input: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.same = nn.Identity()
        self.left = nn.Conv2d(4, 4, 3, 1, 1)
        self.right = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True))
        self.last = nn.Conv2d(4, 6, 3, 1, 1)
        self.unused = nn.Conv2d(6, 6, 1)
        self.out = nn.Linear(6, 2)
        self.from_input = from_input

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.same(self.stem(pixels))
        x = self.left(x) + self.right(x)
        x += 1  # in place
        x = self.last(F.relu(x, inplace=True))
        self.unused(x)
        out = self.out(x.mean((2, 3)))
        return out + pixels.mean() if self.from_input else out


def test_which_maps_all_the_rest_depends_on() -> None:
    pixels = torch.randn(1, 3, 96, 96)
    network = frozen(Branches())
    found = analyze(network, pixels)
    assert {name for name, each in found.maps.items() if each.alone} == {"stem", "same", "last"}
    assert not found.maps["unused"].reached
    assert found.maps["stem"].passed_on
    assert found.chain() == ["same", "last"]
    assert found.last_map() is found.maps["last"]
    assert found.maps["left"].shape == (4, 48, 48)
    assert found.shape == (1, 2)
    past_all = analyze(frozen(Branches(from_input=True)), pixels)
    assert not any(each.alone for each in past_all.maps.values())
    assert past_all.default == "last"


def test_an_analysis_leaves_nothing_behind() -> None:
    network = frozen(Branches())
    before = {name: each.clone() for name, each in network.state_dict().items()}
    nn.init.zeros_(network.out.weight)  # the search goes on with other weights
    pixels = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        assert analyze(network, pixels).default == "last"
        assert not torch.is_grad_enabled()
    network.out.weight.copy_(before["out.weight"])
    after = network.state_dict()
    assert all(torch.equal(each, after[name]) for name, each in before.items())
    assert not any(len(module._forward_hooks) for module in network.modules())
    assert not pixels.requires_grad


# --- Transformers


class Transformer(nn.Module):
    """Patches, class tokens at any place, and three blocks."""

    def __init__(
        self,
        tokens: int = 1,
        place: str = "first",
        *,
        sequence_first: bool = False,
        by_columns: bool = False,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 16, 16)
        self.tokens = nn.Parameter(torch.randn(1, tokens, WIDTH))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, 4, 64, batch_first=not sequence_first, norm_first=norm_first
            )
            for _ in range(3)
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 5)
        self.place, self.by_columns, self.sequence_first = place, by_columns, sequence_first

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch(pixels)
        patches = patches.transpose(2, 3) if self.by_columns else patches
        x = patches.flatten(2).transpose(1, 2)
        before = {"first": 0, "last": x.shape[1], "middle": x.shape[1] // 2}.get(self.place, 0)
        if self.place == "around":
            x = torch.cat([self.tokens[:, :1], x, self.tokens[:, 1:]], 1)
        else:
            x = torch.cat([x[:, :before], self.tokens, x[:, before:]], 1)
        x = x.transpose(0, 1) if self.sequence_first else x
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        x = x.transpose(0, 1) if self.sequence_first else x
        return self.head(x[:, before])


@pytest.mark.parametrize("size", [(96, 96), (64, 128), (128, 48)])
@pytest.mark.parametrize(
    ("tokens", "place"),
    [(1, "first"), (5, "first"), (1, "last"), (2, "last"), (1, "middle"), (3, "around")],
)
def test_class_tokens_may_be_anywhere(tokens: int, place: str, size: tuple[int, int]) -> None:
    pixels = torch.randn(1, 3, *size)
    for sequence_first in (False, True):
        network = frozen(Transformer(tokens, place, sequence_first=sequence_first))
        found = analyze(network, pixels)
        assert found.default == "blocks.1"
        assert found.maps["blocks.1"].shape == (WIDTH, size[0] // 16, size[1] // 16)
        assert found.maps["blocks.1"].of_tokens
        assert_cells_lie_in_place(network, found, "blocks.1", pixels)


@pytest.mark.parametrize("size", [(96, 96), (64, 128)])
@pytest.mark.parametrize("norm_first", [False, True])
def test_patches_may_go_column_by_column(size: tuple[int, int], norm_first: bool) -> None:
    pixels = torch.randn(1, 3, *size)
    network = frozen(Transformer(by_columns=True, norm_first=norm_first))
    found = analyze(network, pixels)
    assert found.default == "blocks.1"
    assert_cells_lie_in_place(network, found, "blocks.1", pixels)


class Windows(nn.Module):
    """Tokens in an order of their own."""

    def __init__(self, order: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 8, 8)
        self.tokens = nn.Identity()
        self.block = nn.TransformerEncoderLayer(WIDTH, 4, 64, batch_first=True)
        self.head = nn.Linear(WIDTH, 5)
        self.order = order

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch(pixels)
        indices = self.order(torch.arange(patches[0, 0].numel()).view(patches.shape[2:]))
        tokens = self.tokens(patches.flatten(2)[:, :, indices.flatten()].mT)
        return self.head(self.block(tokens).mean(1))


@pytest.mark.parametrize(
    "order",
    [
        lambda indices: indices.unflatten(0, (-1, 4)).unflatten(2, (-1, 4)).transpose(1, 2),
        lambda indices: indices.unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).permute(1, 3, 0, 2),
        lambda indices: indices.flip(1),
        lambda indices: torch.randperm(indices.numel(), generator=torch.Generator().manual_seed(0)),
    ],
    ids=["windows", "mask units", "mirrored", "shuffled"],
)
def test_tokens_in_another_order_are_put_in_place(order: Callable[[Tensor], Tensor]) -> None:
    pixels = torch.randn(1, 3, 64, 128)
    network = frozen(Windows(order))
    found = analyze(network, pixels)
    assert found.default == "block"
    assert_cells_lie_in_place(network, found, "block", pixels)


def test_tokens_in_separate_windows_are_no_map() -> None:
    """(1, windows, tokens, C), as inside of NesT: neither two of its axes are rows and columns."""

    class Separate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, WIDTH, 4, 4)
            self.windows = nn.Linear(WIDTH, WIDTH)
            self.mlp = nn.Linear(WIDTH, WIDTH)
            self.head = nn.Linear(WIDTH, 5)

        def forward(self, pixels: Tensor) -> Tensor:
            x = self.patch(pixels).unflatten(3, (-1, 4)).unflatten(2, (-1, 4))
            x = x.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)
            return self.head(self.mlp(self.windows(x).relu()).mean((1, 2)))

    pixels = torch.randn(1, 3, 64, 64)
    network = frozen(Separate())
    found = analyze(network, pixels)
    assert found.default == "patch"
    for name in ("windows", "mlp"):
        assert found.check(network, pixels, name) is not None


def test_one_block() -> None:
    """In the last block only the class token has a gradient; the default is before it."""
    network = Transformer(1, "last")
    network.blocks = network.blocks[:1]
    pixels = torch.randn(1, 3, 96, 96)
    assert analyze(frozen(network), pixels).default == "patch"


def test_heads_whose_weights_are_zero() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Transformer()
            self.one, self.two = nn.Linear(5, 4), nn.Linear(5, 4)
            nn.init.zeros_(self.one.weight)
            nn.init.zeros_(self.two.weight)

        def forward(self, pixels: Tensor) -> dict[str, Tensor]:
            x = self.body(pixels)
            return {"logits": self.one(x), "aux": self.two(x)}

    found = analyze(frozen(Heads()), torch.randn(1, 3, 96, 96))
    assert found.default == "body.blocks.1"


def test_a_saturated_probability() -> None:
    class Sure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Transformer()

        def forward(self, pixels: Tensor) -> Tensor:
            return (self.body(pixels) * 1e6).sigmoid()

    found = analyze(frozen(Sure()), torch.randn(1, 3, 96, 96))
    assert found.default == "body.blocks.1"
    assert found.ending == "sigmoid"


# --- Convolutional networks, and what follows them


def features(channels: int = 3) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(channels, 16, 5, 4, 2), nn.ReLU()),
        *(nn.Conv2d(16, WIDTH, 5, 4, 2), nn.ReLU()),
    )


@pytest.mark.parametrize("linear", [0, 1, 3, 8])
@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)])
def test_a_small_cnn_with_many_linear_layers(linear: int, pool: nn.Module) -> None:
    network = nn.Sequential()
    network.features, network.pool, network.flat = features(), pool, nn.Flatten()
    network.head = nn.Sequential(
        *(layer for _ in range(linear) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())),
        nn.Linear(WIDTH, 5),
    )
    found = analyze(frozen(network), torch.randn(1, 3, 64, 96))
    assert found.default == "features"
    assert found.maps["features"].shape == (WIDTH, 4, 6)
    assert found.maps["features"].checked


class Recurrent(nn.Module):
    """The cells of a map, one after the other, through an RNN."""

    def __init__(self, kind: str, mean: bool, around: bool = False) -> None:
        super().__init__()
        self.features = features()
        self.states = getattr(nn, kind)(WIDTH, WIDTH, batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 5)
        self.mean, self.around = mean, around

    def forward(self, pixels: Tensor) -> Tensor:
        cells = self.features(pixels).flatten(2).transpose(1, 2)
        states = self.states(cells)[0]
        states = self.norm(states + cells if self.around else states)
        return self.head(states.mean(1) if self.mean else states[:, -1])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("mean", [False, True])
def test_states_of_an_rnn_are_no_map(kind: str, mean: bool) -> None:
    pixels = torch.randn(1, 3, 96, 96)
    assert analyze(frozen(Recurrent(kind, mean)), pixels).default == "features"
    if mean:  # what an RNN is only added to still lies in space
        assert analyze(frozen(Recurrent(kind, mean, around=True)), pixels).default == "norm"


def test_an_rnn_that_refuses_a_backward_pass() -> None:
    class Refusing(nn.LSTM):
        def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            def refuse(gradient: Tensor) -> None:
                raise RuntimeError("in training mode only")

            states, last = super().forward(x)
            if not self.training and states.requires_grad:
                states.register_hook(refuse)
            return states, last

    network = Recurrent("LSTM", mean=False)
    network.states = Refusing(WIDTH, WIDTH, batch_first=True)
    assert analyze(frozen(network), torch.randn(1, 3, 96, 96)).default == "features"


class Decoder(nn.Module):
    """Queries that look at the cells: as many as there are cells, or not."""

    def __init__(self, queries: int, encoder: bool) -> None:
        super().__init__()
        self.features = features()
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2) if encoder else None
        self.queries = nn.Parameter(torch.randn(1, queries, WIDTH))
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(WIDTH, 4, 64, batch_first=True), 2
        )
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, pixels: Tensor) -> Tensor:
        cells = self.features(pixels).flatten(2).transpose(1, 2)
        cells = cells if self.encoder is None else self.encoder(cells)
        return self.head(self.decoder(self.queries, cells).mean(1))


@pytest.mark.parametrize("queries", [1, 2, 3, 10, 36])
def test_queries_of_a_decoder_are_no_map(queries: int) -> None:
    pixels = torch.randn(1, 3, 96, 96)
    assert analyze(frozen(Decoder(queries, encoder=True)), pixels).default == "encoder"
    network = frozen(Decoder(queries, encoder=False))
    found = analyze(network, pixels)
    assert found.default == "features"
    if "decoder" in found.maps:
        assert found.check(network, pixels, "decoder") is not None


def test_a_map_made_of_everything_is_no_map() -> None:
    class Reshaped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = features()
            self.mix = nn.Linear(WIDTH * 36, WIDTH * 36)
            self.late = nn.Conv2d(WIDTH, WIDTH, 1)
            self.head = nn.Linear(WIDTH, 5)

        def forward(self, pixels: Tensor) -> Tensor:
            mixed = self.mix(self.features(pixels).flatten(1)).view(1, WIDTH, 6, 6)
            return self.head(self.late(mixed).mean((2, 3)))

    pixels = torch.randn(1, 3, 96, 96)
    network = frozen(Reshaped())
    found = analyze(network, pixels)
    assert found.default == "features"
    assert found.check(network, pixels, "late") is not None
    assert found.maps["late"].problem is not None


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        (lambda pixels: pixels.transpose(2, 3), True),
        (lambda pixels: pixels.flip(3), False),
        (lambda pixels: pixels.roll(40, 2), False),
        (lambda pixels: pixels[..., :40], False),
    ],
    ids=["transposed", "mirrored", "rolled", "cropped"],
)
def test_what_a_network_does_to_the_picture_is_followed_or_refused(
    change: Callable[[Tensor], Tensor], accepted: bool
) -> None:
    class Changing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = features()
            self.head = nn.Linear(WIDTH, 5)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.head(self.features(change(pixels)).mean((2, 3)))

    pixels = torch.randn(1, 3, 64, 128)
    network = frozen(Changing())
    found = analyze(network, pixels)
    assert (found.default == "features") is accepted
    if accepted:
        assert_cells_lie_in_place(network, found, "features", pixels)
    else:
        assert found.check(network, pixels, "features") is not None


def test_the_network_ends_with_a_map() -> None:
    """The default is the last map before the class maps; or these, if it is much earlier."""
    network = nn.Sequential(features(), nn.Conv2d(WIDTH, 5, 1), nn.AdaptiveAvgPool2d(1))
    assert analyze(frozen(network), torch.randn(1, 3, 64, 64)).default == "0"
    segmenter = torchvision.models.get_model(
        "lraspp_mobilenet_v3_large", weights=None, weights_backbone=None
    )
    assert analyze(frozen(segmenter), torch.randn(1, 3, 64, 96)).default == "classifier"


def test_a_detector_has_no_last_map() -> None:
    """Its boxes come from several maps, all of which are made from an early one."""

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, WIDTH, 4, 4)
            self.scales = nn.ModuleList(
                nn.Sequential(*(nn.Conv2d(WIDTH, WIDTH, 3, 1, 1) for _ in range(3)))
                for _ in range(3)
            )
            self.boxes = nn.ModuleList(nn.Conv2d(WIDTH, 4, 1) for _ in range(3))

        def forward(self, pixels: Tensor) -> Tensor:
            x = self.stem(pixels)
            found = []
            for scale, boxes in zip(self.scales, self.boxes, strict=True):
                x = F.max_pool2d(scale(x), 2)
                found.append(boxes(x).flatten(2).mT)
            return torch.cat(found, 1)[0]

    found = analyze(frozen(Detector()), torch.randn(1, 3, 128, 128))
    assert found.shape == (336, 4)
    assert found.default is None
    assert "scales.2" in found.maps  # by hand


@pytest.mark.parametrize("used", [0, 1])
def test_what_counts_of_a_tuple_is_its_first_part(used: int) -> None:
    """A part that nothing reads later is no layer, though the others are made from it."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, WIDTH, 8, 8)

        def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
            x = self.conv(pixels)
            return x, x * 2

    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()
            self.head = nn.Linear(WIDTH, 5)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.head(self.pair(pixels)[used].mean((2, 3)))

    found = analyze(frozen(Pairs()), torch.randn(1, 3, 64, 64))
    assert found.default == ("pair.conv" if used else "pair")
    assert found.maps["pair"].reached is not bool(used)


# --- Shapes


def test_spectrograms() -> None:
    """Pooling along time only: neither side has the input's aspect, and no axis is swapped."""
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.MaxPool2d((1, 8))),
        *(nn.Conv2d(16, 64, 3, padding=1), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Linear(64, 5)),
    )
    found = analyze(frozen(network), torch.randn(1, 1, 64, 64))
    assert found.default == "2"
    assert found.maps["2"].shape == (64, 64, 8)


def test_tokens_of_a_spectrogram() -> None:
    """They have the grid of the map before them, which is not the input's aspect."""

    class Audio(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, WIDTH, (4, 16), (4, 16))
            self.block = nn.TransformerEncoderLayer(WIDTH, 4, 64, batch_first=True)
            self.head = nn.Linear(WIDTH, 5)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.head(self.block(self.stem(pixels).flatten(2).mT).mean(1))

    pixels = torch.randn(1, 1, 64, 64)
    network = frozen(Audio())
    found = analyze(network, pixels)
    assert found.default == "block"
    assert found.maps["block"].shape == (WIDTH, 16, 4)
    assert_cells_lie_in_place(network, found, "block", pixels)


@pytest.mark.parametrize("size", [(64, 64), (8, 128), (128, 8)])
def test_channels_last(size: tuple[int, int]) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 4, 4)
            self.mlp = nn.Linear(16, 16)
            self.head = nn.Linear(16, 5)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.head(self.mlp(F.gelu(self.stem(pixels).permute(0, 2, 3, 1))).mean((1, 2)))

    pixels = torch.randn(1, 3, *size)
    network = frozen(Last())
    found = analyze(network, pixels)
    assert found.default == "mlp"
    assert found.maps["mlp"].shape == (16, size[0] // 4, size[1] // 4)
    assert_cells_lie_in_place(network, found, "mlp", pixels)


@pytest.mark.parametrize("pool", [(None, 1), (1, None)])
def test_a_single_row_or_column(pool: tuple[int | None, int | None]) -> None:
    network = nn.Sequential(
        features(1), nn.AdaptiveAvgPool2d(pool), nn.Flatten(2), nn.Conv1d(WIDTH, 11, 1)
    )
    pixels = torch.randn(1, 1, 128, 256)
    found = analyze(frozen(network), pixels)
    assert found.default is not None
    assert found.maps[found.default].shape == (WIDTH, *((8, 1) if pool[1] else (1, 16)))
    assert_cells_lie_in_place(network, found, found.default, pixels)


def test_convolutions_along_time() -> None:
    """The frequencies are channels: a map (C, T) is one row."""

    class Audio(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv1d(64, WIDTH, 5, 2, 2), nn.Conv1d(WIDTH, WIDTH, 5, 2, 2)
            self.head = nn.Linear(WIDTH, 5)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.head(self.two(self.one(pixels[:, 0]).relu()).relu().mean(2))

    pixels = torch.randn(1, 1, 64, 128)
    network = frozen(Audio())
    found = analyze(network, pixels)
    assert found.default == "two"
    assert found.maps["two"].shape == (WIDTH, 1, 32)
    assert_cells_lie_in_place(network, found, "two", pixels)


def test_volumes() -> None:
    network = nn.Sequential(
        nn.Conv3d(1, 8, 3, 2, 1),
        nn.Conv3d(8, 16, 3, 2, 1),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )
    found = analyze(frozen(network), torch.randn(1, 1, 16, 32, 24))
    assert found.default == "1"
    assert found.maps["1"].shape == (16, 4, 8, 6)


# --- Architectures of timm


@pytest.mark.parametrize(
    ("name", "default", "shape"),
    [
        ("levit_128s", "stages.2", (4, 4)),
        ("pit_ti_distilled_224", "transformers.2.blocks.2", (7, 7)),
        ("coat_lite_tiny", "serial_blocks4.0", (7, 7)),
        ("mobilevit_xxs", "final_conv", (8, 8)),
        pytest.param("coat_tiny", "parallel_blocks.5.norm14", (7, 7), marks=pytest.mark.slow),
        pytest.param("mvitv2_small_cls", "stages.3.blocks.0", (7, 7), marks=pytest.mark.slow),
        pytest.param("nest_tiny", "norm", (14, 14), marks=pytest.mark.slow),
        pytest.param("swin_tiny_patch4_window7_224", "norm", (7, 7), marks=pytest.mark.slow),
        pytest.param("sequencer2d_s", "norm", (16, 16), marks=pytest.mark.slow),
        pytest.param("tnt_s_patch16_224", "blocks.11.norm_out", (14, 14), marks=pytest.mark.slow),
    ],
)
def test_architectures(name: str, default: str, shape: tuple[int, int]) -> None:
    network = frozen(timm.create_model(name, num_classes=3))
    found = analyze(network, torch.randn(1, *network.default_cfg["input_size"]))
    assert found.default == default
    assert found.maps[default].shape[1:] == shape


def test_mask_units_of_hiera_are_put_in_place() -> None:
    network = frozen(timm.create_model("hiera_tiny_224", num_classes=3))
    pixels = torch.randn(1, 3, 224, 224)
    found = analyze(network, pixels)
    assert found.default == "blocks.11"
    for name, side in (("blocks.0", 56), ("blocks.2", 28), ("blocks.5", 14), ("blocks.11", 7)):
        assert_cells_lie_in_place(network, found, name, pixels)
        assert found.maps[name].shape[1:] == (side, side)
