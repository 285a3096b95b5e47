"""The audio engine: frames, codecs, buffers and tones. It knows no calls."""
