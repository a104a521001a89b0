"""Which networks can be explained, at which layer: docs/architectures.md.

    OMP_NUM_THREADS=1 nice python -m benchmarks.architectures --rows architectures.jsonl

Every network gets random weights (nothing is downloaded), goes through `wrap`, and explains one
picture without a layer being chosen. Run again, the command goes on where it was stopped; --write
makes the table of what is there.
"""

import json
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import timm
import torch
import torchvision
import transformers
import typer
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from gradcam_core import explain, wrap

PAGE = Path(__file__).parent.parent / "docs" / "architectures.md"
_CLASSES = 10
_SENTENCE = 300  # characters of it in the table

# One or two of each of timm's files, small ones where there are.
TIMM = """
beit_base_patch16_224 beitv2_base_patch16_224 halonet50ts botnet50ts_256 lambda_resnet50ts
eca_halonext26ts sebotnet33ts_256 mobileone_s0 repvgg_b0 gernet_s gcresnet50t seresnet33ts
bat_resnext26ts cait_xxs24_224 coat_tiny coat_lite_tiny convit_tiny convmixer_768_32
convnext_atto convnextv2_atto cpubone_nano crossvit_9_240 crossvit_tiny_240 csatv2 cs3darknet_s
cspresnet50 cspresnext50 darknet17 sedarknet21 cspnext_tiny davit_tiny deit_tiny_patch16_224
deit_tiny_distilled_patch16_224 densenet121 densenetblur121d dla34 dpn68 edgenext_xx_small
efficientformer_l1 efficientformerv2_s0 efficientnet_b0 tinynet_a mnasnet_small mixnet_s
efficientnetv2_rw_t mobilenetv2_050 fbnetc_100 spnasnet_100 mobilenet_edgetpu_v2_xs
efficientvim_m1 efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224
vit_tiny_patch16_dinov3_qkvb fasternet_t0 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny
ghostnet_050 ghostnetv3_050 hardcorenas_a hgnetv2_b0 hgnet_tiny hiera_tiny_224
hiera_small_abswin_256 hieradet_small hrnet_w18_small iformer_s inception_next_atto
inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small levit_128s levit_128 lowformer_b0
mambaout_femto maxvit_pico_rw_256 maxvit_rmlp_nano_rw_256 coatnet_pico_rw_224
coatnext_nano_rw_224 maxxvit_rmlp_nano_rw_256 poolformer_s12 poolformerv2_s12 caformer_s18
convformer_s18 gmlp_s16_224 mixer_s16_224 gmixer_12_224 resmlp_12_224 mobilenetv3_small_050
lcnet_050 fbnetv3_b mobilenetv4_conv_small mobilenetv5_base mobilevit_xxs mobilevitv2_050
mvitv2_tiny mvitv2_small_cls nest_tiny nest_tiny_jx nextvit_small nf_regnet_b0 nfnet_f0
eca_nfnet_l0 dm_nfnet_f0 pit_ti_224 pit_ti_distilled_224 pvt_v2_b0 qwen3_vit_88m rdnet_tiny
regnetx_002 regnety_002 regnetz_005 regnetv_040 repghostnet_050 repvit_m1 repvit_m0_9
res2net50d resnest14d resnet18 resnet50 seresnet18 resnetblur18 ecaresnet50d resnext50_32x4d
resnetv2_18 rexnet_100 rexnetr_150 selecsls42 legacy_seresnet18 sequencer2d_s shvit_s1
skresnet18 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224 swin_s3_tiny_224
swinv2_tiny_window8_256 swinv2_cr_tiny_ns_224 tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m
twins_pcpvt_small twins_svt_small vgg11 vgg11_bn visformer_tiny vit_tiny_patch16_224
vit_small_patch14_reg4_dinov2 flexivit_small vit_tiny_r_s16_p8_224 vit_relpos_small_patch16_224
vit_srelpos_small_patch16_224 samvit_base_patch16_224 vitamin_small_224 volo_d1_224
ese_vovnet19b_slim vovnet39a legacy_xception xception41 xcit_nano_12_p16_224
""".split()  # noqa: SIM905


class Row(NamedTuple):
    """What became of one network: its default layer and map (w x h), or the sentence."""

    library: str
    network: str
    layer: str = ""
    map: str = ""
    problem: str = ""


class Built(NamedTuple):
    """A network with random weights, and the sides (h, w) of its input."""

    network: nn.Module
    size: tuple[int, int]


def main(
    rows: Annotated[Path, typer.Option(help="JSON lines, a network each")] = Path(
        "architectures.jsonl"
    ),
    processes: Annotated[int, typer.Option(help="Networks at a time, a thread each")] = 1,
    library: Annotated[str, typer.Option(help="torchvision, timm or transformers only")] = "",
    write: Annotated[bool, typer.Option(help="Write the page instead")] = False,
) -> None:
    """Try all networks that are not in the file yet, or write the page."""
    known = read_rows(rows)
    if write:
        PAGE.write_text(page(known), "utf-8")
        return
    done = {(row.library, row.network) for row in known}
    todo = [each for each in networks() if each not in done and library in each[0]]
    with ProcessPoolExecutor(processes) as pool, rows.open("a", encoding="utf-8") as file:
        runs = [pool.submit(tried, *each) for each in todo]
        for run in tqdm(as_completed(runs), total=len(runs), disable=None):
            file.write(json.dumps(run.result()._asdict()) + "\n")
            file.flush()


def networks() -> list[tuple[str, str]]:
    """Return (library, name) of all networks of the table."""
    classifiers = torchvision.models.list_models(module=torchvision.models)
    return [
        *(("torchvision", name) for name in classifiers),
        *(("timm", name) for name in TIMM),
        *(("transformers", name) for name in _transformers_classes()),
    ]


def tried(library: str, name: str) -> Row:
    """Explain a picture with a network."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        network, size = _BUILD[library](name)
    except Exception as error:  # a library that is missing, for instance
        return Row(library, name, problem=f"It cannot be built: {_first_line(error)}")
    try:
        model = wrap(network.eval(), preprocess=_resized(size), name=name, copy=False)
        explanation = explain(PICTURE, model=model, target=0)
    except Exception as error:
        return Row(library, name, problem=_first_line(error))
    height, width = explanation.raw.shape
    return Row(library, name, str(explanation.layer), f"{width} × {height}")


def page(rows: list[Row]) -> str:
    """Return docs/architectures.md."""
    order = {each: place for place, each in enumerate(networks())}
    rows = sorted(rows, key=lambda row: order.get(row[:2], len(order)))
    explained = sum(not row.problem for row in rows)
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "torchvision", "timm", "transformers")
    )
    lines = [
        "# Which networks can be explained",
        "",
        f"Every classifier of torchvision, {len(TIMM)} of timm's (some of each family), and every",
        "image classification architecture of transformers (with fewer layers), with random",
        "weights and without a layer being chosen. The layer is the default, and the map's size is",
        "columns × rows. Refused networks have the sentence that `wrap` or `explain` raises.",
        "",
        f"{explained} of {len(rows)} are explained. Measured on {date.today()} on",
        f"{platform.machine()} (CPU), with {versions}, by `python -m benchmarks.architectures`.",
    ]
    for library in ("torchvision", "timm", "transformers"):
        lines += ["", f"## {library}", "", "| network | default layer | map |", "|---|---|---|"]
        for row in rows:
            if row.library == library:
                problem = row.problem.replace("|", "\\|")[:_SENTENCE]
                said = f"refused: {problem} | " if problem else f"`{row.layer}` | {row.map}"
                lines.append(f"| {row.network} | {said} |")
    return "\n".join(lines) + "\n"


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file; none if it does not exist."""
    if not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def _torchvision(name: str) -> Built:
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network = torchvision.models.get_model(name, weights=None, num_classes=_CLASSES, **settings)
    side = 299 if name == "inception_v3" else 224
    return Built(network, (side, side))


def _timm(name: str) -> Built:
    network = timm.create_model(name, num_classes=_CLASSES)
    _, height, width = network.default_cfg["input_size"]
    return Built(network, (height, width))


def _transformers(name: str) -> Built:
    kind = _transformers_classes()[name]
    config = transformers.CONFIG_MAPPING[kind](**_SETTINGS.get(kind, {}))
    _shrink(config)
    config.num_labels = _CLASSES
    side = getattr(getattr(config, "vision_config", config), "image_size", None) or 224
    side = _SIDES.get(name, side)
    height, width = (side, side) if isinstance(side, int) else side
    return Built(getattr(transformers, name)(config), (height, width))


_BUILD: dict[str, Callable[[str], Built]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "transformers": _transformers,
}
# Settings of configurations, where the default is not enough or very large.
_SETTINGS: dict[str, dict[str, Any]] = {
    "efficientnet": {
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "hidden_dim": 1280,
        "image_size": 224,
    },
    "perceiver": {"num_cross_attention_heads": 1, "num_latents": 64},
    "textnet": {"image_size": (224, 224)},
    "timm_wrapper": {"architecture": "resnet18"},
}
# Inputs whose size is not that of the configuration.
_SIDES = {
    "PerceiverForImageClassificationConvProcessing": 224,
    "PerceiverForImageClassificationFourier": 224,
}


def _transformers_classes() -> dict[str, str]:
    """Return the kind of configuration of each classifier."""
    classes: dict[str, str] = {}
    for kind, names in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.items():
        for name in (names,) if isinstance(names, str) else names:
            classes[name] = kind
    return classes


def _shrink(config: Any) -> None:
    """Reduce the number of layers of a configuration, recursively."""
    for inner in vars(config).values():
        if isinstance(inner, transformers.PretrainedConfig):
            _shrink(inner)
    if isinstance(getattr(config, "depths", None), list | tuple):
        config.depths = [min(depth, 2) for depth in config.depths]
    elif isinstance(getattr(config, "num_hidden_layers", None), int):
        config.num_hidden_layers = min(config.num_hidden_layers, 3)


def _resized(size: tuple[int, int]) -> Callable[[Image.Image], Tensor]:
    def preprocess(image: Image.Image) -> Tensor:
        small = image.convert("RGB").resize(size[::-1])
        return torch.from_numpy(np.array(small, np.float32) / 127.5 - 1).permute(2, 0, 1)

    return preprocess


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


PICTURE = Image.effect_mandelbrot((320, 240), (-2, -1, 1, 1), 50).convert("RGB")

if __name__ == "__main__":
    typer.run(main)
