"""PCMs by the names of asound.conf, each opened in the shape that its card grants."""

from intercomd.adapters.alsa.capture import AlsaCapture
from intercomd.adapters.alsa.opening import opened
from intercomd.adapters.alsa.playout import AlsaPlayout
from intercomd.adapters.alsa.shape import Shape
from intercomd.ports import CaptureStream, PlayoutStream


class AlsaCard:
    """`asked` is what a card is asked for first; another shape than ours is for tests of the conversion."""

    def __init__(self, asked: Shape | None = None) -> None:
        self._asked = asked or Shape()

    def open_playout(self, pcm: str) -> PlayoutStream:
        return AlsaPlayout(lambda: opened(pcm, "playback", self._asked), pcm)

    def open_capture(self, pcm: str) -> CaptureStream:
        return AlsaCapture(lambda: opened(pcm, "capture", self._asked), pcm)
