"""WebRTC through aiortc: the `Media` port. `media/epoch.py` holds the life of a connection, this package its library.

aiortc's own audio path costs 80 ms always and 200 ms more after one lost packet, so two hooks go round it (`sound`):
our Opus packets are what the local track returns (public API), and the receiver's jitter buffer, a private attribute,
is replaced by a sink that hands raw packets to `ReceivedVoice`. Without it (`seam_intact`) the stock track is used.
Every other reach into private parts is guarded: where it fails, the call works, with longer waits.
"""

from intercomd.adapters.webrtc.media import WebRtcMedia
from intercomd.adapters.webrtc.probe import probe
from intercomd.adapters.webrtc.sound import seam_intact

__all__ = ("WebRtcMedia", "probe", "seam_intact")
