# dfexport, which fills a model store: for the job of deploy/kubernetes.
ARG BASE=debian:12-slim
FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dfserve-export" \
      org.opencontainers.image.description="Checkpoints into a model repository" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
# Debian keeps one version of a package, so a pinned one would soon be gone; the image says what it got (/opt/sbom).
# hadolint ignore=DL3008
RUN apt-get -qq update \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir /opt/sbom && dpkg-query -W -f '${Package} ${Version}\n' >/opt/sbom/debian.txt
# PyTorch's CPU build: exporting takes no GPU.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
COPY *.whl constraints.txt /build/
RUN python3 -m venv /opt/dfserve \
 && /opt/dfserve/bin/pip install --quiet --no-cache-dir --constraint /build/constraints.txt \
      --no-deps --index-url "${TORCH_INDEX_URL}" torch \
 && /opt/dfserve/bin/pip install --quiet --no-cache-dir --constraint /build/constraints.txt \
      "$(ls /build/dfserve-*.whl)[export]" \
 && python3 -m venv /build/sbom \
 && /build/sbom/bin/pip install --quiet --no-cache-dir cyclonedx-bom==7.5.0 \
 && /build/sbom/bin/cyclonedx-py environment /opt/dfserve/bin/python --output-file /opt/sbom/dfserve.cdx.json \
 && rm -rf /build/sbom
ENV PATH=/opt/dfserve/bin:${PATH} HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
ENTRYPOINT ["dfexport"]
