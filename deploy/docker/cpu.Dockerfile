# dfserve with the Triton that PyPI carries (release 24.10, CPU only): small, no GPU, no registry but a Debian's.
# That release has published vulnerabilities: publish its ports on 127.0.0.1, or put the proxy before it (docs/network.md).
#
# `make image` builds it, from a folder with the wheel and the constraints. BASE is a Debian 12 or later, or an Ubuntu
# 24.04 or later; one made by debootstrap will do.
ARG BASE=debian:12-slim

FROM ${BASE} AS build
# Debian keeps one version of a package, so a pinned one would soon be gone; the image says what it got (/opt/sbom).
# hadolint ignore=DL3008
RUN apt-get -qq update \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3 python3-venv libstdc++6 zlib1g \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
      "libpython$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
COPY *.whl constraints.txt /build/
RUN python3 -m venv /opt/dfserve \
 && /opt/dfserve/bin/pip install --quiet --no-cache-dir --constraint /build/constraints.txt \
      "$(ls /build/dfserve-*.whl)[serve,containers,page]"
ENV DFSERVE_SERVER_ENV=/opt/dfserve-server
RUN /opt/dfserve/bin/dfdeploy setup
# What is in the image, for whoever has to know it: CycloneDX, one file an environment, and Debian's own list.
RUN python3 -m venv /build/sbom \
 && /build/sbom/bin/pip install --quiet --no-cache-dir cyclonedx-bom==7.5.0 \
 && mkdir /opt/sbom \
 && for name in dfserve dfserve-server; do \
      /build/sbom/bin/cyclonedx-py environment /opt/$name/bin/python --output-file /opt/sbom/$name.cdx.json || exit 1; \
    done

FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dfserve" \
      org.opencontainers.image.description="Audio deepfake detectors on Triton, for a CPU" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
# Debian keeps one version of a package, so a pinned one would soon be gone; the image says what it got (/opt/sbom).
# hadolint ignore=DL3008
RUN apt-get -qq update \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3 libstdc++6 zlib1g \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
      "libpython$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')" \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt /opt
RUN dpkg-query -W -f '${Package} ${Version}\n' >/opt/sbom/debian.txt
ENV PATH=/opt/dfserve/bin:${PATH} \
    DFSERVE_SERVER_ENV=/opt/dfserve-server \
    DFSERVE_IN_CONTAINER=1 \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 1000:1000
EXPOSE 8001 8000 8002 8003
# Not that it is up, but that its answers are right.
HEALTHCHECK --interval=60s --timeout=50s --start-period=60s \
  CMD ["dfdeploy", "check", "--repository", "/models"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["dfdeploy", "serve", "--repository", "/models", "--host", "0.0.0.0"]
