"""Languages of tracks, by the codes of ISO 639-2: what each container calls them, and which it cannot name."""

import io
from collections.abc import Iterator, Sequence
from functools import cache

import av
import numpy as np

from fastnst.video.film import Track

# Names of languages that QuickTime's writer in FFmpeg knows by another code of ISO 639-2, or by one of its own; under
# the usual ones it would leave the language out.
_QUICKTIME_LANGUAGES = {
    **{"sqi": "alb", "hye": "arm", "eus": "baq", "bod": "tib", "mya": "bur", "zho": "chi", "cze": "ces", "nld": "dut"},
    **{"kat": "geo", "deu": "ger", "ell": "gre", "isl": "ice", "mkd": "mac", "msa": "may", "fas": "per", "rum": "ron"},
    **{"slo": "slk", "cym": "wel", "fre": "fra", "nob": "nor", "nno": "nor", "swe": "sve", "hrv": "hr ", "srp": "sr "},
    **{"fao": "fo ", "gle": "iri", "pan": "pa "},
}
_USUAL_LANGUAGES = {"sve": "swe", "hr ": "hrv", "sr ": "srp", "fo ": "fao", "iri": "gle", "pa ": "pan"}
# Of these, QuickTime's code says less than the film's.
_BROADER = {"nob": "nor", "nno": "nor"}
_UNSAID = {"", "und"}
_RATE = 8000


def container_language(language: str, container: str) -> str:
    """The code under which a container's writer knows a language."""
    languages = _QUICKTIME_LANGUAGES if container == "mov" else _USUAL_LANGUAGES
    return languages.get(language, language)


def language_notes(tracks: Sequence[Track], container: str, suffix: str) -> Iterator[str]:
    """Say of which tracks a container (FFmpeg's word) cannot name the language, or only one that includes it."""
    spoken = [track for track in tracks if track.kind in {"audio", "subtitle", "video"}]
    lost = [track for track in spoken if not _holds(track.language, container)]
    if lost:
        yield f"{suffix} cannot name the language of {', '.join(map(str, lost))}; it is left out, and .mkv keeps it"
    for language, broader in _BROADER.items() if container == "mov" else ():
        if found := [track for track in spoken if track.language == language]:
            yield f"{suffix} has no {language}; stored as {broader}: {', '.join(map(str, found))}"


@cache
def _holds(language: str, container: str) -> bool:
    """Found out by writing a file in memory: FFmpeg does not tell which languages it knows."""
    if language in _UNSAID or container not in {"mov", "mp4"}:
        return True
    written = io.BytesIO()
    with av.open(written, "w", format=container) as target:
        sound = target.add_stream("aac", rate=_RATE, layout="mono")
        sound.metadata["language"] = container_language(language, container)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = _RATE
        target.mux([*sound.encode(silence), *sound.encode(None)])
    written.seek(0)
    with av.open(written) as again:
        return (again.streams[0].language or "") not in _UNSAID
