import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import save_file

from fastnst.models.checkpoint import ModelInfo, build_network, save_model

SCRIPT = Path(__file__).parents[2] / "tools" / "training_figures.py"


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("training_figures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["training_figures"] = module
    spec.loader.exec_module(module)
    return module


def write_run(folder: Path, rows: list[tuple[float, float, float, float]], crop: int = 256, **settings: object) -> Path:
    folder.mkdir()
    lines = ["step,seconds,images,multiply_adds,total,content,style"]
    lines += [f"1,{seconds},2,{work},9,{content},{style}" for seconds, work, content, style in rows]
    (folder / "losses.csv").write_text("\n".join(lines), encoding="utf-8")
    metadata = {"settings": json.dumps({"crop": crop, **settings}), "style_sha256": "ab"}
    save_file({"x": np.zeros(1)}, folder / "checkpoint.safetensors", metadata)
    return folder


def test_the_ratio_by_hand(figures: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The mark is 0.5 + 5 x 0.1 = 1; ours falls from 2 at 10 s to 0 at 30 s, so it is there at 20 s. The other way round
    # as well: what both reach.
    usual = write_run(tmp_path / "usual", [(50, 1e12, 1.0, 0.2), (100, 4e12, 0.5, 0.1), (150, 6e12, 0.6, 0.1)])
    ours = write_run(tmp_path / "ours", [(10, 1e11, 1.0, 0.2), (30, 3e11, 0.0, 0.0)])
    figures.main([str(usual), str(ours), "-o", str(tmp_path / "figure.png")])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "mark: 1.0000; lowest of usual 1.0000, of ours 0.0000"
    assert said[1] == "usual 100 s, ours 20 s: 5.00 times less"
    assert said[2] == "usual 4e+12 multiply-adds, ours 2e+11 multiply-adds: 20.00 times less"
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_mark_is_what_both_reach(figures: ModuleType, tmp_path: Path) -> None:
    usual = figures.read_curve(write_run(tmp_path / "usual", [(2, 4, 0.4, 0.0), (4, 8, 0.0, 0.0)]), 5.0)
    ours = figures.read_curve(write_run(tmp_path / "ours", [(1, 1, 0.2, 0.0)]), 5.0)
    said = figures.compare(usual, ours).splitlines()
    assert said[0] == "mark: 0.2000; lowest of usual 0.0000, of ours 0.2000"
    assert said[1] == "usual 3 s, ours 1 s: 3.00 times less"


def test_other_losses_and_the_start_apart(
    figures: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = write_run(tmp_path / "usual", [(50, 1e12, 1.0, 0.2), (100, 4e12, 0.5, 0.1)])
    ours = write_run(tmp_path / "ours", [(10, 9.1e12, 1.0, 0.2), (30, 9.3e12, 0.0, 0.0)])
    network = build_network(spec := {"kind": "johnson", "width": 2, "blocks": 1})
    info = ModelInfo(style="s", network=spec, provenance="", training={"multiply_adds": 9e12})
    save_model(tmp_path / "s.safetensors", network, info)
    given = [str(usual), str(ours), "-o", str(tmp_path / "figure.png"), "--init-from", str(tmp_path / "s.safetensors")]
    figures.main([*given, "--at", "1.5", "0.5"])
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("which ours started from, took 9e+12 multiply-adds; not counted")
    assert said[3] == "usual 4e+12 multiply-adds, ours 2e+11 multiply-adds: 20.00 times less"
    # Half way from 2 to 1 the usual one, a quarter of the way from 2 to 0 ours.
    assert said[4] == "at 1.5: usual 75 s, ours 15 s: 5.00 times less"
    assert said[5] == "at 1.5: usual 2.5e+12 multiply-adds, ours 1.5e+11 multiply-adds: 16.67 times less"
    assert said[6:] == ["at 0.5: not reached by both"]
    save_model(tmp_path / "silent.safetensors", network, replace(info, training={}))
    with pytest.raises(SystemExit, match=r"silent\.safetensors: does not tell what its training took"):
        figures.main([*given[:-1], str(tmp_path / "silent.safetensors")])
    with pytest.raises(SystemExit, match="not what it started from"):
        figures.main([str(ours), str(usual), *given[2:]])


def test_a_finished_network_tells_as_much_as_a_checkpoint(figures: ModuleType, tmp_path: Path) -> None:
    usual, ours = (write_run(tmp_path / name, [(1, 1, 0.1, 0.0)]) for name in ("usual", "ours"))
    (ours / "checkpoint.safetensors").unlink()
    with pytest.raises(SystemExit, match="neither checkpoint"):
        figures.main([str(usual), str(ours), "-o", str(tmp_path / "figure.png")])
    for crop, fits in ((256, True), (128, False)):
        info = {"provenance": "trained on a.jpg, 9 steps", "training": {"settings": {"crop": crop}}}
        save_file({"x": np.zeros(1)}, ours / "ours.safetensors", {"info": json.dumps(info)})
        if fits:
            figures.main([str(usual), str(ours), "-o", str(tmp_path / "figure.png")])
            continue
        with pytest.raises(SystemExit, match="crop_size is 128, 256 in"):
            figures.main([str(usual), str(ours), "-o", str(tmp_path / "figure.png")])


def test_runs_that_do_not_compare_are_refused(figures: ModuleType, tmp_path: Path) -> None:
    usual = write_run(tmp_path / "usual", [(1, 1, 0.1, 0.0)])
    ours = write_run(tmp_path / "ours", [(1, 1, 0.2, 0.0)], crop_size=128)
    with pytest.raises(SystemExit, match="crop_size is 128, 256 in"):
        figures.main([str(usual), str(ours)])


def test_a_polished_run_was_judged_by_vgg19(figures: ModuleType, tmp_path: Path) -> None:
    usual = write_run(tmp_path / "usual", [(1, 1, 0.1, 0.0)], loss_network="vgg19-caffe", fine_tune_fraction=0.0)
    polished = write_run(tmp_path / "polished", [(1, 1, 0.2, 0.0)], loss_network="compact", fine_tune_fraction=0.2)
    compact = write_run(tmp_path / "compact", [(1, 1, 0.2, 0.0)], loss_network="compact", fine_tune_fraction=0.0)
    figures.main([str(usual), str(polished), "-o", str(tmp_path / "figure.png")])
    with pytest.raises(SystemExit, match="loss_network is compact, vgg19-caffe in"):
        figures.main([str(usual), str(compact), "-o", str(tmp_path / "figure.png")])


def test_a_folder_without_losses_is_one_line(figures: ModuleType, tmp_path: Path) -> None:
    usual = write_run(tmp_path / "usual", [(1, 1, 0.1, 0.0)])
    (usual / "losses.csv").unlink()
    with pytest.raises(SystemExit, match="no losses of a training"):
        figures.main([str(usual), str(usual)])
