"""`fastnst web`: the webcam painted on a web page, on this machine or on any host."""

import secrets
import tempfile
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators
from rich.progress import Progress

from fastnst.backends.contract import ProviderChoice
from fastnst.cli.console import Console
from fastnst.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable

FLAG = Parameter(negative="")
SEVERAL = Parameter(negative="", consume_multiple=True)


def web(
    *,
    style: Annotated[tuple[str, ...], SEVERAL] = (),
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 8090,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    overwrite: Annotated[bool, FLAG] = False,
    runtime: Path | None = None,
    no_browser: Annotated[bool, FLAG] = False,
    native: Annotated[bool, FLAG] = False,
    folder: Path = Path("fastnst-results"),
    content: Path | None = None,
    provider: ProviderChoice = "auto",
    threads: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
) -> None:
    """Paint the webcam, pictures and films on a web page, with nothing uploaded.

    Serves the page on this machine until Ctrl-C, or writes it with -o as a folder that any host can serve. It computes
    in the browser, with onnxruntime-web, which is fetched once; --native lets it use this machine's own runtime,
    stylize films with their sound, stylize and refine pictures of any size, and train.

    Parameters
    ----------
    style:
        Style: the name of an installed one, or an .onnx file; by default all that are installed.
    port:
        Port of the page on this machine; 0 takes a free one.
    output:
        Output: a folder that the page is written into instead of being shown.
    overwrite:
        Replace files that already exist: a page in that folder.
    runtime:
        Folder of npm's package onnxruntime-web instead of a download.
    no_browser:
        Do not open the page.
    native:
        Let the page use this machine's own runtime (needs pip install 'fastnst[web]').
    folder:
        Folder: with --native, that of results.
    content:
        Photographs: with --native, a folder of those that trainings learn from; by default COCO's, if they are there,
        else the sample pictures.
    provider:
        What computes: with --native, auto takes the fastest that really runs here.
    threads:
        Threads of the network on the CPU. With --native.
    """
    if output is not None and native:
        raise SettingError("--native is for the page on this machine; leave out it or --output")
    # ONNX Runtime takes a moment to import: only now that the options are known to be right.
    from fastnst.web.server import runtime_folder  # noqa: PLC0415
    from fastnst.web.site import RUNTIME, write_site  # noqa: PLC0415

    console = Console(stderr=True)
    tell: Callable[[str], None] = console.print
    with Progress(console=console) as bar:
        task = bar.add_task("onnxruntime-web", total=None, visible=False)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        found = runtime_folder(runtime, announce=tell, progress=show)
    if output is not None:
        result = write_site(output, style, found, overwrite=overwrite, announce=tell)
        tell(f"{output}: {result.styles} styles, {result.bytes / 1e6:.0f} MB; any web server can serve it")
        _say_slow(result.as_they_are, tell)
        return
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastnst-page-")))
        result = write_site(place, style, None, announce=tell)
        _say_slow(result.as_they_are, tell)
        folders = {"": place, f"{RUNTIME.as_posix()}/": found}
        token = secrets.token_urlsafe(24)
        if native:
            folders["results/"] = folder
        from fastnst.web.server import HOST, serving  # noqa: PLC0415

        address = f"http://{HOST}:{stack.enter_context(serving(folders, port, token))}/"
        if native:
            from fastnst.web.native import NativeOptions, named_styles, serving_native  # noqa: PLC0415

            options = NativeOptions(folder, provider, threads, named_styles(style), content)
            socket = stack.enter_context(serving_native(address, options, token))
            address += f"#native={socket}&token={token}"
        tell(f"{address} shows {result.styles} styles; Ctrl-C ends it")
        if not no_browser:
            webbrowser.open(address)
        _wait()


def _say_slow(names: tuple[str, ...], tell: "Callable[[str], None]") -> None:
    if names:
        tell(f"{', '.join(names)}: not as fastnst export writes it, and stays as it is; slower on GPUs")


def _wait() -> None:
    """Until Ctrl-C, which ends the command as it should be."""
    import threading  # noqa: PLC0415

    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
