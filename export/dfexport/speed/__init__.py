"""What `dfdeploy bench` measures a server against: PyTorch, and the machine's own rate. A process of its own.

worker      questions and answers as lines of JSON; ``python -m dfexport.speed MODEL_FOLDER``
authors     a network that computes what its authors' code computes, what is thrown away included
ways        other ways to run it: precisions, TorchScript, CUDA graphs
gemm        matrix products in each precision: the ceiling
"""
