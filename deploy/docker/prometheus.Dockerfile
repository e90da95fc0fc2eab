# Prometheus and its blackbox exporter, from Debian, for deploy/compose: their configurations are mounted at /etc/prometheus.
ARG BASE=debian:12-slim
FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dfserve-prometheus" \
      org.opencontainers.image.description="Debian's Prometheus and blackbox exporter, for dfserve" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
# Debian keeps one version of a package, so a pinned one would soon be gone; the image says what it got (/opt/sbom).
# hadolint ignore=DL3008
RUN apt-get -qq update \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends prometheus prometheus-blackbox-exporter \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir /opt/sbom && dpkg-query -W -f '${Package} ${Version}\n' >/opt/sbom/debian.txt \
 && mkdir /prometheus && chown 1000:1000 /prometheus
USER 1000:1000
EXPOSE 9090
ENTRYPOINT ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus", \
            "--web.listen-address=0.0.0.0:9090"]
