"""From a recording's channels to the one that is scored.

- One or two channels: their mean. Two of which one is silent: the other one, for the mean would be half as loud.
- More, of which the file says where their loudspeakers stand (surround): ITU-R BS.775's downmix to one, as FFmpeg's:
  the centre, where speech is, as it is, left and right 3 dB lower, those behind 6 dB lower, no effects channel.
- More, of which it does not say: their mean, and a warning.
"""

from collections.abc import Iterator

import numpy as np

from dfclient.audio.options import EACH, MIX, AudioOptions
from dfclient.audio.samples import MAX_CHANNELS
from dfclient.errors import AudioError
from dfcontract.tensors import Samples

# Weights of ITU-R BS.775-3, annex 4 (5.1 to mono) by FFmpeg's names of places; FFmpeg's for places that it leaves out.
HALF_POWER = float(np.sqrt(0.5))
WEIGHTS = {
    **{"FC": 1.0, "LFE": 0.0, "LFE2": 0.0},
    **dict.fromkeys(("FL", "FR", "FLC", "FRC"), HALF_POWER),
    **dict.fromkeys(("SL", "SR", "BL", "BR", "BC"), 0.5),
}
SILENT_RATIO = 1e-3  # of one channel's level to the other's: 60 dB lower
SPEECH_LEVEL = 10 ** (-50 / 20)  # RMS over the whole recording, pauses and all
UNLIKE, OPPOSITE = 0.2, -0.9  # correlations: of two voices rather than one; of a channel that was wired upside down


class Mixer:
    """One stretch of a recording, of constant rate and layout: its blocks in, what is scored of them out."""

    def __init__(self, options: AudioOptions, channels: int, layout: tuple[str, ...] = ()) -> None:
        """AudioError when it has too many channels, or not the one that was asked for."""
        if not 1 <= channels <= MAX_CHANNELS:
            raise AudioError(f"expected 1 to {MAX_CHANNELS} channels, found {channels}")
        if isinstance(options.channels, int) and options.channels > channels:
            found = "1 channel" if channels == 1 else f"{channels} channels"
            raise AudioError(f"expected channel {options.channels}, found {found}")
        self.choice, self.channels, self.layout = options.channels, channels, layout
        self.weights = _weights(layout) if options.channels == MIX and channels > 2 else None
        self._energies, self._product, self._frames = np.zeros(2), 0.0, 0

    @property
    def outputs(self) -> int:
        """Channels that come out: one, unless each is wanted."""
        return self.channels if self.choice == EACH else 1

    def push(self, samples: Samples) -> Samples:
        """(frames, channels) → (frames, outputs)."""
        if self.channels == 1 or self.choice == EACH:
            return samples
        if isinstance(self.choice, int):
            return samples[:, self.choice - 1 : self.choice]
        if self.channels == 2:
            self._measure(samples)
        if self.weights is not None:
            downmix: Samples = np.matmul(samples, self.weights[:, np.newaxis])
            return downmix
        mean: Samples = samples.mean(axis=1, dtype=np.float32, keepdims=True)
        return mean

    @property
    def only_live(self) -> int | None:
        """The one of two channels that is heard (1 or 2), where all that was mixed so far leaves the other silent."""
        if self._frames == 0:
            return None
        levels = np.sqrt(self._energies)
        is_one_silent = levels.max() > 0 and levels.min() <= SILENT_RATIO * levels.max()
        return int(np.argmax(levels)) + 1 if is_one_silent else None

    @property
    def gain(self) -> float:
        """What all of the mix is to be multiplied by: twice the mean is the sum, and so the only live channel."""
        return 1.0 if self.only_live is None else 2.0

    def warnings(self) -> Iterator[str]:
        """What is to be said of the mix, or choice, now that all was heard; not that one channel is silent."""
        if isinstance(self.choice, int) and self.channels > 1:
            yield f"channel {self.choice} of {self.channels} was scored, as asked"  # nothing else in a row says so
        if self.choice != MIX:
            return
        if self.channels > 2 and self.weights is None:
            yield f"{self.channels} channels, and the file does not say of what: their mean was scored"
        elif self.channels > 2:
            yield f"{self.channels} channels ({' '.join(self.layout)}): their downmix was scored"
        elif self._frames and self.only_live is None and self._energies.min() > 0:
            yield from self._warnings_of_two()

    def _measure(self, samples: Samples) -> None:
        left, right = samples[:, 0], samples[:, 1]
        self._energies += float(np.dot(left, left)), float(np.dot(right, right))
        self._product += float(np.dot(left, right))
        self._frames += len(samples)

    def _warnings_of_two(self) -> Iterator[str]:
        correlation = self._product / float(np.sqrt(self._energies.prod()))
        quietest = float(np.sqrt(self._energies.min() / self._frames))
        if correlation < OPPOSITE:
            yield f"the 2 channels cancel each other (correlation {correlation:.2f}): --channels 1 scores one of them"
        elif abs(correlation) < UNLIKE and quietest > SPEECH_LEVEL:
            yield (
                f"the 2 channels hardly correlate ({correlation:.2f}), as the two sides of a call: "
                "--channels each scores them one by one"
            )


def _weights(layout: tuple[str, ...]) -> Samples | None:
    """Each channel's share of the downmix; None where a place is not known."""
    weights = [WEIGHTS.get(place) for place in layout]
    return None if not weights or None in weights else np.array(weights, np.float32)


def downmixed(frames: Samples) -> Samples:
    """(frames, channels) → (frames,): the mean of the channels, of audio that comes live."""
    return np.ascontiguousarray(frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32))
