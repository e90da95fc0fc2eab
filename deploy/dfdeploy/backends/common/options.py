"""What the native backends read of a model's ``parameters``, and their twins likewise."""

# By which name each takes the number of threads of one inference; without it, it takes all cores.
THREADS_PARAMETER = {
    "onnxruntime": "intra_op_thread_count",
    "openvino": "INFERENCE_NUM_THREADS",
    "pytorch": "INTRA_OP_THREAD_COUNT",
}
