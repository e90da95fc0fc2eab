"""What the rooms of dfserve agree on: tensors, model card, windows, live protocol, score file, calibration, errors.

Each contract is one module, with its reader beside its writer. Standard library and NumPy (1.26 and 2) alone, so that
the server's backends can hold the whole package.
"""
