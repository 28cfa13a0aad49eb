"""The alarm as a sound file, made here: two short tones, twice."""

from __future__ import annotations

import io
import math
import struct
import wave
from functools import cache
from typing import Final

RATE: Final = 22_050
TONES: Final = ((880.0, 0.14), (660.0, 0.18), (0.0, 0.12), (880.0, 0.14), (660.0, 0.22))
"""(Hz, seconds); 0 Hz is silence."""
FADE_S: Final = 0.012


@cache
def alarm() -> bytes:
    """A WAV file: mono, 16 bit, below full scale."""
    samples: list[int] = []
    for frequency, seconds in TONES:
        count = int(seconds * RATE)
        for number in range(count):
            # Faded in and out: a tone that is cut off clicks.
            edge = min(1.0, number / (FADE_S * RATE), (count - number) / (FADE_S * RATE))
            samples.append(int(11_000 * edge * math.sin(2 * math.pi * frequency * number / RATE)))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return file.getvalue()
