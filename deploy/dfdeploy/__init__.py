"""How dfserve runs: the pip-installed Triton on loopback, NVIDIA's container elsewhere, and benchmarks of both.

from dfdeploy.embedded import Server

with Server(Path("model_repository")) as server:
    print(server.grpc_url)
"""
