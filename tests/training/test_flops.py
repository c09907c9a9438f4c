import pytest
import torch
from torch import Tensor, nn

from fastnst.losses.perceptual import Losses
from fastnst.models.network import StyleNetwork
from fastnst.training.run import Stopwatch
from fastnst.training.schedule import multiply_adds_per_pixel


class OneConvolution(StyleNetwork):
    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.layer(image)
        return result


def test_a_convolution_by_hand() -> None:
    # Forwards 3 * 3 * 9 = 81 multiply-adds a pixel, and as many for the weights' gradient; none for the picture's.
    def judge(paint: StyleNetwork, images: Tensor, samples: range) -> tuple[Losses, Tensor]:
        stylized = paint(images)
        return Losses(stylized.square().mean(), {}), stylized

    network = OneConvolution()
    assert multiply_adds_per_pixel(network, judge) == 162  # type: ignore[arg-type]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_steps_parts_add_up_to_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 11.0, 13.0, 16.0, 20.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    watch = Stopwatch(torch.device("cpu"))
    watch.lap("before the first step")
    assert watch.parts == {}
    watch.start()
    for part in ("data", "network", "loss", "network"):
        watch.lap(part)
    assert watch.parts == {"data": 1.0, "network": 2.0 + 4.0, "loss": 3.0}


def test_a_gpu_is_waited_for_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    watch = Stopwatch(torch.device("cuda"))
    timed = []
    for _ in range(51):
        watch.start()
        watch.lap("data")
        timed.append(bool(watch.parts))
    assert [i for i, was in enumerate(timed) if was] == [0, 25, 50]
    assert len(waits) == 6
