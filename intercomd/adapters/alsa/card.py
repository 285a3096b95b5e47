"""PCMs by the names of asound.conf, each opened in the shape that its card grants."""

from intercomd.adapters.alsa.capture import AlsaCapture
from intercomd.adapters.alsa.faults import Direction
from intercomd.adapters.alsa.hung import HungPcms
from intercomd.adapters.alsa.opening import Opened, opened
from intercomd.adapters.alsa.playout import AlsaPlayout
from intercomd.adapters.alsa.shape import Shape
from intercomd.ports import CaptureStream, PlayoutStream


class AlsaCard:
    """`asked` is what a card is asked for first; another shape than ours is for tests of the conversion."""

    def __init__(self, asked: Shape | None = None) -> None:
        self._asked = asked or Shape()
        self._hung = HungPcms()

    def open_playout(self, pcm: str) -> PlayoutStream:
        return AlsaPlayout(lambda: self._opened(pcm, "playback"), pcm, self._hung)

    def open_capture(self, pcm: str) -> CaptureStream:
        return AlsaCapture(lambda: self._opened(pcm, "capture"), pcm, self._hung)

    def _opened(self, pcm: str, direction: Direction) -> Opened:
        self._hung.admit(pcm, direction)
        return opened(pcm, direction, self._asked)
