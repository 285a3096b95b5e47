"""A script for a page under test: it listens to whatever its connections bring, because a headless browser plays to
nobody."""

_SCRIPT = """
const Native = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Native {
  constructor(...rest) {
    super(...rest);
    (MADE)(this);
    this.addEventListener("track", ({ track }) => listen(track));
  }
};
async function listen(track) {
  const reader = new MediaStreamTrackProcessor({ track: track.clone() }).readable.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const samples = new Float32Array(value.numberOfFrames);
    value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    value.close();
    if (!samples.some((sample) => Math.abs(sample) > LEAST) || !(HEARD)(performance.now())) continue;
    await reader.cancel();
    return;
  }
}
"""


def listening(least: float, heard: str, made: str = "() => {}") -> str:
    """To be run before the page's own scripts. `heard` is a JavaScript function, called with `performance.now()` for
    each block of a track that has a sample above `least` (of full scale); true: enough of this track. `made` is called
    with each new connection."""
    return _SCRIPT.replace("MADE", made).replace("LEAST", f"{least:g}").replace("HEARD", heard)
