"""Sentences that a station says without a network and without a voice of its own: made ahead as sound files.

`python -m intercomd.texts.speaking` makes them with espeak-ng, a synthesiser by formants (its output carries no licence
of its own), and writes down beside them what they say: `intercomd/texts/spoken/LANGUAGE/NAME.wav` and `spoken.json`.
8 kHz (a telephone's band, and a tenth of the bytes of a voice in full), mono, 16 bit.
"""

import json
import subprocess
import wave
from collections.abc import Mapping
from pathlib import Path

from intercomd.texts import LANGUAGES, Language, table

SPOKEN = Path(__file__).parent / "spoken"
MANIFEST = SPOKEN / "spoken.json"
RATE_HZ = 8_000
_PREFIX = "spoken."
_VOICES: Mapping[Language, tuple[str, str]] = {"en": ("en-gb", "155"), "zh": ("cmn", "210")}
"""espeak-ng's voice and words per minute."""


def sentences(language: Language) -> dict[str, str]:
    """What is said, by name."""
    return {key.removeprefix(_PREFIX): said for key, said in table(language).items() if key.startswith(_PREFIX)}


def sound(name: str, language: Language) -> bytes:
    """The sentence as 16-bit samples, mono, `RATE_HZ`. Raises KeyError for a name that there is not."""
    if name not in sentences(language):
        raise KeyError(name)
    with wave.open(str(SPOKEN / language / f"{name}.wav"), "rb") as file:
        return file.readframes(file.getnframes())


def make() -> None:
    """All files anew. Needs espeak-ng and sox."""
    said = {language: sentences(language) for language in LANGUAGES}
    for language, texts in said.items():
        (SPOKEN / language).mkdir(parents=True, exist_ok=True)
        voice, words_per_minute = _VOICES[language]
        for name, text in texts.items():
            raw = SPOKEN / "raw.wav"
            subprocess.run(
                ["espeak-ng", "-v", voice, "-s", words_per_minute, "-w", str(raw), text], check=True, timeout=60
            )
            target = str(SPOKEN / language / f"{name}.wav")
            trim = ["silence", "1", "0.01", "0.5%", "fade", "0.01", "reverse"]
            shape = ["gain", "-4", "highpass", "80", *trim, *trim[:4], "fade", "0.03", "reverse", "norm", "-3"]
            subprocess.run(
                ["sox", "-D", str(raw), "-r", str(RATE_HZ), "-c", "1", "-b", "16", target, *shape],
                check=True,
                timeout=60,
            )
            raw.unlink()
    MANIFEST.write_text(json.dumps(said, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    make()
