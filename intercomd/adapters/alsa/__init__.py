"""The sound card through alsa-lib (pyalsaaudio 0.11), behind `ports.SoundCard`.

PCMs are opened non-blocking: pyalsaaudio holds the GIL while it opens, and a blocking read of a dead PCM would never
end. So reads wait in poll(), writes wait by the fill, and both end after `faults.LIMIT_S`. Return values of
pyalsaaudio 0.11: -EPIPE after an xrun, the stream being prepared again and a written block lost; 0 for EAGAIN; all
else raises.
"""

from intercomd.adapters.alsa.card import AlsaCard

__all__ = ("AlsaCard",)
