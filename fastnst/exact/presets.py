"""The founding documents' systems as settings: their layers, formulas, weights, optimisers, sizes, as written there.

A preset changes the defaults of OptimizeSettings; what is asked for besides changes the preset. `convX_Y` in the
documents is the rectified response, relu here. Learning rates of pixels in 0..255 are given for pixels in 0..1, as
10 / 255, with Adam's epsilon scaled to match: gradients are 255 times larger there.
docs/research/papers.md has the table.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from fastnst.errors import SettingError, nearest_hint
from fastnst.exact.settings import OptimizeSettings

PresetName: TypeAlias = Literal["default", "aradwad-gauri", "cs229", "e4040", "gatys2015", "kmit", "johnson2016"]

GATYS_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
JOHNSON_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")

# TensorFlow's default, 1e-8, for gradients on pixels in 0..255.
_TENSORFLOW_EPSILON = 1e-8 * 255


@dataclass(frozen=True)
class Preset:
    """A document's system."""

    document: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of OptimizeSettings that differ from its defaults."""

    chosen: tuple[str, ...] = ()
    """What the document leaves open or contradicts itself in, and what stands here for it."""

    differs: tuple[str, ...] = ()
    """Where fastnst does otherwise than the document."""


_GATYS: Mapping[str, Any] = {
    "loss_network": "vgg19-caffe",
    "pool": "average",
    "normalization": "paper",
    "content_layers": ("relu4_2",),
    "style_layers": GATYS_LAYERS,
    "content_weight": 1e-3,
    "style_weight": 1.0,
}
"""Of Gatys et al. (2015), as two documents repeat them."""

_CLAMPED = "pixels are kept within 0..255 after every step, on which the document is silent"
_UNIFORM = "the noise is uniform over all colors; its distribution is not stated"

PRESETS: Mapping[PresetName, Preset] = {
    "default": Preset("none: what looks best in fastnst"),
    "aradwad-gauri": Preset(
        "Aradwad and Gauri, Neural Style Transfer, project report (VGG-16, up to three styles)",
        {
            "loss_network": "vgg16-caffe",
            "pool": "max",
            "normalization": "paper",
            "content_layers": ("relu4_2",),
            "content_layer_weights": (1.0,),
            "style_layers": GATYS_LAYERS,
            "style_layer_weights": (0.2, 0.2, 0.2, 0.2, 0.2),
            "content_weight": 1e-3,
            "style_weight": 1.0,
            "tv_weight": 0.0,
            "optimizer": "lbfgs",
            "steps": 200,
            "init": "noise",
            "size": 512,
            "pyramid_levels": 1,
            "aspect": "square",
            "style_blend": "image",
        },
        chosen=(
            "layers and their weights c_l and s_l are not stated: Gatys' layers, c = 1, s = 1/5 each",
            "alpha and beta are not stated: 1e-3 and 1, as in gatys2015",
            "the optimizer is not stated: L-BFGS; about 10 outer iterations of 20 evaluations each make 200",
            "'the weighted sum of all style images' is read as a blend of pictures; or take --style-blend gram",
            "the pooling is not stated: max, VGG-16's own",
            "512 x 512 is read as a stretch of all pictures to squares",
        ),
        differs=(_UNIFORM,),
    ),
    "cs229": Preset(
        "Liu, Wang and Ding, CS 229 project: Neural Style Transfer (spatial control)",
        {
            "loss_network": "vgg19-caffe",
            "pool": "average",
            "normalization": "cs229",
            "content_layers": ("relu4_2",),
            "content_layer_weights": (1.0,),
            "style_layers": GATYS_LAYERS,
            "style_layer_weights": (1.0, 1.0, 1.0, 1.0, 1.0),
            "content_weight": 1e-4,
            "style_weight": 1.0,
            "tv_weight": 1e-5,
            "tv_kind": "l1",
            "optimizer": "adam",
            "learning_rate": 10 / 255,
            "learning_rate_end": 1 / 255,
            "learning_rate_steps": 1000,
            "adam_epsilon": _TENSORFLOW_EPSILON,
            "steps": 400,
            "init": "noise",
            "size": 500,
            "pyramid_levels": 1,
            "aspect": "crop",
        },
        chosen=(
            "eq. 4 has no 1/(4 N^2 M^2); it is used nevertheless: without it the style term is some 15 orders of "
            "magnitude above the content term at noise, where section 5.1 says that all terms are of one order",
            "with masks eq. 6 holds as written, which is 4 times eq. 4 so divided",
            "400 x 500 of the photo's own proportions: the longer side is 500",
            "what the pictures are cropped to is not stated: styles to the photo's proportions, in the middle",
        ),
        differs=(_CLAMPED, _UNIFORM, "a guard keeps styles from leaking over the regions' borders: --mask-guard 0"),
    ),
    "e4040": Preset(
        "Sinha, Balabolu and Raghavan, A Neural Algorithm of Artistic Style: An Investigation (E4040)",
        {
            **_GATYS,
            "tv_weight": 1.0,
            "tv_kind": "l1",
            "optimizer": "adam",
            "learning_rate": 10 / 255,
            "adam_epsilon": _TENSORFLOW_EPSILON,
            "steps": 200,
            "init": "content",
            "save_every": 20,
            "size": 512,
            "pyramid_levels": 1,
        },
        chosen=(
            "alpha/beta is 1e-3 or 1e-4: 1e-3",
            "gamma is 'often matched with beta': 1; --tv-weight 0 is the document's other half",
            "the size is not stated: 512",
        ),
        differs=(
            "the total variation's sqrt(d^2) is written |d|: the same value, whose gradient is no NaN in flat areas",
            _CLAMPED,
        ),
    ),
    "gatys2015": Preset(
        "Chao, Perez and Chen, Neural Style Transfer, workshop on Gatys et al. (2015)",
        {
            **_GATYS,
            "tv_weight": 0.0,
            "optimizer": "lbfgs",
            "steps": 500,
            "init": "noise",
            "size": 512,
            "pyramid_levels": 1,
        },
        chosen=(
            "alpha/beta is 1e-3 or 1e-4: 1e-3",
            "1/(2 n_W n_H n_C)^2 is 1/(4 N^2 M^2), the formula of paper; w_l = 1 / number of layers as in Gatys et al.",
            "the size is not stated: 512",
        ),
        differs=(
            "Gatys et al. scaled the network's weights to mean activations of 1; these are not scaled",
            "a step is one evaluation; a step after which the loss has risen is halved",
            _UNIFORM,
        ),
    ),
    "kmit": Preset(
        "Vattem, Bejugam and Pokkuluri, Style Transfer for Artistic Image Reconstruction (KMIT)",
        {
            "loss_network": "vgg19-caffe",
            "pool": "max",
            "normalization": "tutorial",
            "content_layers": ("relu5_2",),
            "style_layers": GATYS_LAYERS,
            "content_weight": 1e4,
            "style_weight": 1e-2,
            "tv_weight": 0.0,
            "optimizer": "adam",
            "learning_rate": 0.02,
            "adam_beta1": 0.99,
            "adam_epsilon": 0.1,
            "steps": 1000,
            "init": "content",
            "size": 512,
            "pyramid_levels": 1,
        },
        chosen=(
            "the prose averages Gram matrices over locations, the formula has 1/M on unnormalized ones: averaged here; "
            "--normalization kmit is the formula",
            "weights are not stated: those of the TensorFlow tutorial that it follows, whose losses are means over "
            "entries, hence no 1/2 before the content loss",
            "the prose rescales pixels to -1..1; the network's weights want 0..255 less a mean, as the tutorial gives",
        ),
        differs=("a photo smaller than 512 pixels is enlarged",),
    ),
    "johnson2016": Preset(
        "Johnson, Alahi and Fei-Fei (2016), on which all five documents end; settings of fast-neural-style",
        {
            "loss_network": "vgg16-caffe",
            "pool": "max",
            "normalization": "johnson",
            "content_layers": ("relu3_3",),
            "style_layers": JOHNSON_LAYERS,
            # The weights belong to fast-neural-style's style loss, the mean over the C x C entries of the paper's.
            "style_layer_weights": (1 / 64**2, 1 / 128**2, 1 / 256**2, 1 / 512**2),
            "content_weight": 1.0,
            "style_weight": 5.0,
            "tv_weight": 1e-6,
            "tv_kind": "squared",
            "optimizer": "lbfgs",
            "steps": 500,
            "init": "noise",
            "size": 512,
            "pyramid_levels": 1,
        },
        chosen=(
            "content at relu3_3, as in fast-neural-style, whose weights these are; relu2_2 is the other choice",
            "eq. 4's squared Frobenius norm, with layer weights 1/C^2 that make it the released code's mean over "
            "entries; without them 5 would be thousands of times as much style",
            "the optimized pictures of its table 1 start from noise and take 500 steps; 256, 512 and 1024 pixels",
        ),
        differs=(_UNIFORM, "fast-neural-style halves the squares of the total variation"),
    ),
}


def find_preset(name: str) -> Preset:
    """Return a preset by name; SettingError, with the nearest one, for an unknown name."""
    if name not in get_args(PresetName):
        raise SettingError(f"no preset is called {name!r}; {nearest_hint(name, get_args(PresetName))}")
    return PRESETS[name]  # type: ignore[index]


def preset_values(name: str, given: Collection[str] = ()) -> dict[str, Any]:
    """What a preset sets, less the `given` settings, and less the weights of layers where other layers are given."""
    values = find_preset(name).settings
    weighed = {f"{term}_layer_weights" for term in ("content", "style") if f"{term}_layers" in given}
    return {setting: value for setting, value in values.items() if setting not in weighed | set(given)}


def preset_settings(name: str, **changes: Any) -> OptimizeSettings:
    """Settings of a preset, with changes.

        >>> preset_settings("gatys2015", steps=100).steps
        100

    Raises SettingError for an unknown preset or an impossible value.
    """
    return OptimizeSettings(**preset_values(name, changes), **changes)
