"""How OpenVINO is asked to compute a file: the same where a build is judged and where it is served."""

from collections.abc import Iterable

DEVICE, FILE = "CPU", "model.onnx"
BF16 = "BF16"  # among what a CPU can, as OpenVINO names it
# A batch of four takes a fifth less a window than one after the other, of large matrix products; more gain nothing.
MAX_BATCH_SIZE = 4
# So many values of a row share the scale that they are rounded by to 8 bits. 256 take as long and move scores farther;
# 64 take a sixth longer and move them no less.
INT8_GROUP = 128


def compile_options(precision: str, capabilities: Iterable[str]) -> dict[str, str | int]:
    """Properties of a compiled model, by OpenVINO's names.

    Args:
        precision: of the build: ``fp32``, ``bf16`` or ``int8``.
        capabilities: of the CPU (``OPTIMIZATION_CAPABILITIES``).
    """
    # Unless told otherwise OpenVINO computes an fp32 file in bf16 where the CPU can. What an int8 build does not
    # compute in 8 bits it computes in bf16, where the CPU has that.
    is_bf16 = precision == "bf16" or (precision == "int8" and BF16 in capabilities)
    options: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": "bf16" if is_bf16 else "f32"}
    if precision == "int8":
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = INT8_GROUP
    return options
