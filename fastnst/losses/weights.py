"""Loss networks, ready to judge: which one, where its weights come from, and in which arithmetic it computes."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torchvision.models import VGG16_Weights, VGG19_Weights

from fastnst.errors import DownloadError, SettingError, WeightsError
from fastnst.io.addresses import Announce, Progress, fetch
from fastnst.io.files import sha256_of
from fastnst.losses.compact import load_compact, stands_in
from fastnst.losses.settings import LossNetworkName, LossSettings, Precision, VGGName
from fastnst.losses.vgg import Architecture, LossNetwork, Preprocessing, VGGFeatures
from fastnst.machine import processor_name


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype | None:
    """Choose the type for `autocast`: torch.bfloat16, or None for plain float32.

    auto takes bfloat16 only where the hardware has instructions for it; emulated, it is slower than float32.
    Raises SettingError for a word that is no precision.
    """
    if precision == "float32":
        return None
    if precision == "bfloat16":
        return torch.bfloat16
    if precision != "auto":
        raise SettingError(f"precision {precision!r} is unknown; expected auto, float32 or bfloat16")
    return torch.bfloat16 if has_bfloat16(device) else None


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes convolutions in bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Private to torch and so perhaps gone one day: then the answer is no. torch.ops.mkldnn's own question is no
        # help: it also says yes to processors that only emulate.
        questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(bool(getattr(torch.cpu, question, bool)()) for question in questions)
    return False


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Context in which networks compute in `dtype`; None, as resolve_precision gives it, changes nothing."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def hardware(device: torch.device, dtype: torch.dtype | None = None) -> str:
    """Say in words what computes and in which arithmetic, for cards and reports."""
    arithmetic = str(dtype or torch.float32).removeprefix("torch.")
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {arithmetic}"
    if device.type != "cpu":
        return f"{device.type}, {arithmetic}"
    threads = torch.get_num_threads()
    return f"{processor_name()}, {threads} thread{'' if threads == 1 else 's'}, {arithmetic}"


def kept_bytes(evaluate: Callable[[], object], weights: Iterable[Tensor] = ()) -> int:
    """Bytes of all that autograd keeps in one evaluation, some weights aside."""
    aside = {id(weight) for weight in weights}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if id(tensor) not in aside:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        losses = evaluate()
    # Until here all of it was alive, so that no address stands for two.
    del losses
    return sum(kept.values())


ENVIRONMENT_VARIABLE = "FASTNST_LOSS_WEIGHTS"


@dataclass(frozen=True)
class Source:
    """One published set of weights. The eight characters before `.pth` begin the file's SHA-256."""

    architecture: Architecture
    url: str
    normalization: Preprocessing
    blue_first: bool
    """Trained on BGR pictures: the first convolution's input channels are turned round on loading."""

    @property
    def fetched(self) -> Path:
        """Where the file lies once it is fetched: where torch.hub puts such files, and looks for them."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rsplit("/", 1)[1]


SOURCES: dict[VGGName, Source] = {
    "vgg19": Source("vgg19", VGG19_Weights.IMAGENET1K_V1.url, "torchvision", False),
    "vgg16": Source("vgg16", VGG16_Weights.IMAGENET1K_V1.url, "torchvision", False),
    # Simonyan and Zisserman's own weights, converted by Justin Johnson: Caffe's BGR order.
    "vgg19-caffe": Source("vgg19", "https://web.eecs.umich.edu/~justincj/models/vgg19-d01eb7cb.pth", "caffe", True),
    "vgg16-caffe": Source("vgg16", "https://web.eecs.umich.edu/~justincj/models/vgg16-00b39a1b.pth", "caffe", True),
}


@dataclass(frozen=True)
class LossWeights:
    """Weights as loaded, with what is needed to use them and to say afterwards which they were."""

    state: Mapping[str, Tensor]
    architecture: Architecture
    normalization: Preprocessing
    provenance: str


_Settings = TypeVar("_Settings", bound=LossSettings)

COMPACT_CHOSEN = (
    "Judged by the compact loss network, which comes with fastnst. VGG-19 gives better pictures in more time: "
    "--loss-network vgg19 fetches it once (548 MB)."
)
"""What users are told where `chosen_network` took it."""


def chosen_network(settings: _Settings) -> _Settings:
    """Name the loss network where the settings leave the choice: "auto".

    VGG-19 where a file of weights is named, a download is there from before, or the settings ask for what the compact
    network cannot give; else compact. Settings that name one come back as they are.
    """
    return settings if settings.loss_network != "auto" else replace(settings, loss_network=_choose(settings))


def _choose(settings: LossSettings) -> LossNetworkName:
    if settings.loss_weights or os.environ.get(ENVIRONMENT_VARIABLE):
        return "vgg19"
    names: tuple[VGGName, ...] = ("vgg19", "vgg19-caffe")
    for name in names:
        if SOURCES[name].fetched.is_file():
            return name
    return "compact" if stands_in(settings) else "vgg19"


def load_loss_network(
    settings: LossSettings, device: torch.device | None = None, *, option: str = "--loss-weights"
) -> tuple[LossNetwork, str]:
    """Build the loss network that the settings ask for, deep enough for their layers, and say which weights it has.

    `option` is what a user would name a file of weights by.

    Raises WeightsError where no weights can be had, SettingError for an unknown layer, and for what the compact
    network cannot stand in for.
    """
    layers = settings.content_layers + settings.style_layers
    name = _choose(settings) if settings.loss_network == "auto" else settings.loss_network
    if name == "compact":
        compact, provenance = load_compact(settings, layers)
        return compact.to(memory_format=torch.channels_last).to(device), provenance
    weights = find_weights(name, settings.loss_weights, option)
    network = VGGFeatures(weights.architecture, layers, settings.pool, weights.normalization)
    network.load_torchvision(weights.state)
    network.to(memory_format=torch.channels_last).to(device)
    return network, weights.provenance


def load_fine_tuning_network(
    settings: LossSettings, weights: Path | None, device: torch.device | None = None
) -> tuple[LossNetwork, str]:
    """VGG-19 with its authors' weights, which the compact network was fitted to, and which weights they are.

    For the end of what the compact network has begun: its layers are the settings' own. `weights` is a file instead of
    a download.

    Raises WeightsError where they cannot be had.
    """
    own = {field.name: getattr(settings, field.name) for field in fields(LossSettings)}
    asked = LossSettings(**own | {"loss_network": "vgg19-caffe", "loss_weights": weights})
    return load_loss_network(asked, device, option="--fine-tune-weights")


def weights_to_fetch(settings: LossSettings) -> list[tuple[VGGName, str]]:
    """Names of the weights that what is judged by the settings has to fetch, and the option that gives a file instead.

    Settings whose end is fine-tuned fetch VGG-19's for that part as well.
    """
    chosen = _choose(settings) if settings.loss_network == "auto" else settings.loss_network
    asked: list[tuple[LossNetworkName, Path | None, str]] = [(chosen, settings.loss_weights, "--loss-weights")]
    if settings.fine_tunes:
        asked.append(("vgg19-caffe", getattr(settings, "fine_tune_weights", None), "--fine-tune-weights"))
    return [
        (name, option)
        for name, file, option in asked
        if name != "compact" and not file and not os.environ.get(ENVIRONMENT_VARIABLE)
        if not SOURCES[name].fetched.is_file()
    ]


def find_weights(name: VGGName, file: Path | None = None, option: str = "--loss-weights") -> LossWeights:
    """Load the weights of a loss network from `file`, from the environment's file, or from the download.

    `option` is what a user would name the file by.

    Raises WeightsError for a file that is not there or not one of weights, and for a failed download.
    """
    if file is None and os.environ.get(ENVIRONMENT_VARIABLE):
        file = Path(os.environ[ENVIRONMENT_VARIABLE])
    return _from_file(name, file) if file else _from_download(name, option)


def _from_file(name: VGGName, file: Path) -> LossWeights:
    source = SOURCES[name]
    if not file.is_file():
        raise WeightsError(f"{file}: no such file; expected the weights of {name} (.safetensors or .pth)")
    normalization, blue_first = source.normalization, source.blue_first
    if file.suffix == ".safetensors":
        state, metadata = read_tensors(file)
        # A safetensors file says itself how its pictures are prepared; its channels are RGB.
        normalization = _stated_normalization(file, metadata, normalization)
        blue_first = False
    else:
        state = _read_pth(file)
    digest = sha256_of(file)[:8]
    kind = f"{source.architecture}, {normalization} normalisation"
    return LossWeights(
        _red_first(state) if blue_first else state,
        source.architecture,
        normalization,
        f"{kind}, {file.name} (sha256 {digest})",
    )


def _stated_normalization(file: Path, metadata: Mapping[str, str], default: Preprocessing) -> Preprocessing:
    stated = metadata.get("normalization", default)
    if stated == "caffe":
        return "caffe"
    if stated == "torchvision":
        return "torchvision"
    raise WeightsError(f"{file}: states normalization {stated!r}; expected torchvision or caffe")


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read all tensors and the metadata of a safetensors file; raises WeightsError where that fails."""
    try:
        with safe_open(file, framework="pt") as opened:
            state = {key: opened.get_tensor(key).float() for key in opened.keys()}  # noqa: SIM118 - no mapping
            return state, opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file}: not a readable safetensors file ({error})") from error


def _read_pth(file: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells of pickle's versions
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its readers raise, and advises to trust the file
        raise WeightsError(
            f"{file}: not a readable file of weights alone: damaged, cut short, or of another kind; "
            "expected .safetensors, or .pth with tensors under torchvision's names"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{file}: expected a dictionary of tensors under torchvision's names")
    return state


def _from_download(name: VGGName, option: str) -> LossWeights:
    source = SOURCES[name]
    file = fetch_weights(name, option=option)
    state = _read_pth(file)
    return LossWeights(
        _red_first(state) if source.blue_first else state,
        source.architecture,
        source.normalization,
        f"{source.architecture}, {source.normalization} normalisation, {file.name}",
    )


def fetch_weights(
    name: VGGName,
    *,
    announce: Announce = lambda _: None,
    progress: Progress = lambda _done, _total: None,
    option: str = "--loss-weights",
) -> Path:
    """Return the published weights' file; fetches it once, going on where an earlier try stopped.

    `announce` is called with a line before anything is fetched, and where the connection drops; `progress` with bytes;
    `option` is what a user would name a file of his own by. Raises WeightsError for a download that fails, also by
    another hash than the file's name begins with.
    """
    source = SOURCES[name]
    file = source.fetched
    if file.is_file():
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_name(f".{file.name}.lock")):  # of several processes, one fetches
            if not file.is_file():
                announce(f"The weights of {name}, some 550 MB, are fetched once, from {source.url} to {file}.")
                unchecked = file.with_name(f"{file.name}.unchecked")
                fetch(source.url, unchecked, announce=announce, progress=progress, check_room=lambda *_: None)
                _check_hash(unchecked, source.url)
                unchecked.replace(file)
    except (OSError, DownloadError) as error:
        raise WeightsError(
            f"the weights of {name} could not be fetched from {source.url} ({error}); either connect and try "
            f"again, or give a file by {option} FILE or {ENVIRONMENT_VARIABLE}=FILE"
        ) from error
    return file


def _check_hash(file: Path, url: str) -> None:
    """Compare a file with the hash that its address ends with, as torch.hub does; one that differs is removed."""
    expected = url.rsplit("-", 1)[1].removesuffix(".pth")
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if not found.startswith(expected):
        file.unlink()
        raise DownloadError(f"its SHA-256 begins with {found[: len(expected)]}, expected {expected}; removed it")


def _red_first(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    turned = dict(state)
    first = turned.get("features.0.weight")
    if first is not None and first.ndim == 4:  # another shape is refused when it is loaded
        turned["features.0.weight"] = first.flip(1)
    return turned
