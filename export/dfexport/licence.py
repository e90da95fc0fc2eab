"""Nobody downloads weights without having been shown their licence, nor restricted ones without having agreed."""

import sys
from collections.abc import Callable

from dfexport.errors import LicenceNotAccepted
from dfexport.spec import DetectorSpec

Show = Callable[[str], None]
YES = ("y", "yes")


def show_and_ask(spec: DetectorSpec, *, accepted: bool, show: Show = print, ask: Callable[[str], str] = input) -> None:
    """Show what the weights may be used for; where that is restricted, go on only with the user's consent.

    Args:
        spec: the detector whose weights are about to be downloaded.
        accepted: whether the user has agreed already (``--accept-licence``).
        show: prints a line.
        ask: prints a question and reads the answer; called at a terminal alone.

    Raises:
        LicenceNotAccepted: they have not, or can't be asked.
    """
    checkpoint = spec.checkpoint
    show(f"{spec.name}: licence of the weights: {checkpoint.licence} ({checkpoint.page})")
    if not checkpoint.asks_consent or accepted:
        return
    if sys.stdin.isatty() and ask("Do you accept it? [y/N] ").strip().lower() in YES:
        return
    raise LicenceNotAccepted(
        f"the weights of {spec.name} are not downloaded before their licence is accepted ({checkpoint.licence}): read "
        f"it at {checkpoint.page}, then run again with --accept-licence"
    )
