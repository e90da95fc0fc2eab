# dfserve on NVIDIA's Triton: what faces users on a GPU or a network. `make image IMAGE=gpu` builds it where NVIDIA's
# registry can be reached. Pin a digest for production: --build-arg BASE=nvcr.io/nvidia/tritonserver@sha256:...
#
# Never below 26.07, the first with fixes for all advisories up to bulletin 5875; 26.11 mends the dynamic batcher and lost
# streams. It needs a driver of release R580 and a GPU of compute capability 7.5 or newer.
ARG BASE=nvcr.io/nvidia/tritonserver:26.11-py3
FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dfserve" \
      org.opencontainers.image.description="Audio deepfake detectors on NVIDIA's Triton" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
COPY *.whl constraints.txt /build/
# A distribution keeps one version of a package, so a pinned one would soon be gone; the image says what it got (/opt/sbom).
# hadolint ignore=DL3008
RUN apt-get -qq update \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
# The client and `dfdeploy check`, in an environment of their own: Triton's Python stays as NVIDIA made it.
RUN python3 -m venv /opt/dfserve \
 && /opt/dfserve/bin/pip install --quiet --no-cache-dir --constraint /build/constraints.txt \
      "$(ls /build/dfserve-*.whl)[serve,containers]" \
 && python3 -m venv /build/sbom \
 && /build/sbom/bin/pip install --quiet --no-cache-dir cyclonedx-bom==7.5.0 \
 && mkdir /opt/sbom \
 && /build/sbom/bin/cyclonedx-py environment /opt/dfserve/bin/python --output-file /opt/sbom/dfserve.cdx.json \
 && dpkg-query -W -f '${Package} ${Version}\n' >/opt/sbom/packages.txt \
 && /opt/dfserve/bin/python -c "from pathlib import Path; from dfdeploy import folders; folders.write_backend('live', Path('/opt/tritonserver/backends'))" \
 && rm -rf /build
ENV PATH=/opt/dfserve/bin:${PATH} \
    DFSERVE_IN_CONTAINER=1 \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
EXPOSE 8001 8000 8002
HEALTHCHECK --interval=60s --timeout=50s --start-period=600s \
  CMD ["dfdeploy", "check", "--repository", "/models"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/dfserve/bin/python", "-m", "dfdeploy.in_container"]
