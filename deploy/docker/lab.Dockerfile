# Jupyter Lab with the notebooks, the client and the evaluation: for deploy/compose.
ARG BASE=debian:12-slim
FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dfserve-lab" \
      org.opencontainers.image.description="Notebooks, client and evaluation of dfserve" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
# Debian keeps one version of a package, so a pinned one would soon be gone; the image says what it got (/opt/sbom).
# hadolint ignore=DL3008
RUN apt-get -qq update \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir /opt/sbom && dpkg-query -W -f '${Package} ${Version}\n' >/opt/sbom/debian.txt
COPY *.whl constraints.txt /build/
RUN python3 -m venv /opt/dfserve \
 && /opt/dfserve/bin/pip install --quiet --no-cache-dir --constraint /build/constraints.txt \
      "$(ls /build/dfserve-*.whl)[containers,lab]" \
 && python3 -m venv /build/sbom \
 && /build/sbom/bin/pip install --quiet --no-cache-dir cyclonedx-bom==7.5.0 \
 && /build/sbom/bin/cyclonedx-py environment /opt/dfserve/bin/python --output-file /opt/sbom/dfserve.cdx.json \
 && rm -rf /build/sbom \
 && mkdir /notebooks /opt/notebooks \
 && cp "$(/opt/dfserve/bin/python -c 'import dfeval; print(dfeval.__path__[0])')"/notebooks/*.ipynb /opt/notebooks \
 && chown -R 1000:1000 /notebooks
ENV PATH=/opt/dfserve/bin:${PATH} HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /notebooks
EXPOSE 8888
# What somebody changed in the volume is theirs.
CMD ["sh", "-c", "cp -n /opt/notebooks/*.ipynb . && exec jupyter lab --ip=0.0.0.0 --port=8888 --no-browser"]
