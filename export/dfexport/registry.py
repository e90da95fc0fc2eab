"""The detectors that can be built: a row is an architecture × a published checkpoint × a window.

Rows lie in `dfexport.rows`, a file for each architecture; the tables of the README and of docs/detectors.md are made of
them.
"""

from dfexport.errors import unknown
from dfexport.rows import aasist, antideepfake, df_arena, nes2net_x, sls, spectra, ssl_aasist, tcm_add, xlsr_mamba
from dfexport.spec import DetectorSpec

# In the order of the tables.
_FILES = (aasist, ssl_aasist, sls, xlsr_mamba, tcm_add, spectra, df_arena, nes2net_x, antideepfake)

DETECTORS: dict[str, DetectorSpec] = {row.name: row for file in _FILES for row in file.ROWS}


def find(name: str) -> DetectorSpec:
    """Look a detector up by name.

    Raises:
        ExportError: no such row.
    """
    if name not in DETECTORS:
        raise unknown("detector", name, DETECTORS)
    return DETECTORS[name]
