"""What a build compares before it is called right: as little as its proof needs, since each pass is seconds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dfexport import parity
from dfexport.errors import ParityError
from dfexport.formats import Answers
from dfexport.registry import find

SPEC = replace(find("aasist"), window_samples=400)


@pytest.mark.parametrize(("batches", "sizes"), [(True, [4, 1, 1, 1, 1]), (False, [1, 1, 1, 1])])
def test_a_file_that_answers_one_clip_at_a_time_is_asked_once_for_each(batches: bool, sizes: list[int]) -> None:
    network, asked = nn.Linear(400, 2).eval(), []

    def run(waveforms: np.ndarray) -> Answers:
        asked.append(len(waveforms))
        with torch.inference_mode():
            logits: np.ndarray = network(torch.from_numpy(waveforms)).numpy()
        return Answers(logits, logits[:, 1:], None)

    found = parity.check(SPEC, network, "it", run, 0, batches=batches)
    assert asked == sizes
    assert found.eager_difference < 1e-5
    assert (found.batch_difference is None) == (not batches)

    def wrong(waveforms: np.ndarray) -> Answers:
        logits = run(waveforms).logits + np.float32(0.01) * (np.abs(waveforms).max() == 0)
        return Answers(logits, logits[:, 1:], None)

    with pytest.raises(ParityError, match="logits of eager and it differ"):  # digital silence is among the probes
        parity.check(SPEC, network, "it", wrong, 0, batches=False)
