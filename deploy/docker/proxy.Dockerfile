# nginx, from Debian, for deploy/compose: its configuration is mounted at /proxy.
ARG BASE=debian:12-slim
FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dfserve-proxy" \
      org.opencontainers.image.description="TLS and keys before dfserve's Triton: Debian's nginx" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
# Debian keeps one version of a package, so a pinned one would soon be gone; the image says what it got (/opt/sbom).
# hadolint ignore=DL3008
RUN apt-get -qq update \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends nginx-light \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir /opt/sbom && dpkg-query -W -f '${Package} ${Version}\n' >/opt/sbom/debian.txt \
 && mkdir -p /proxy/run /proxy/logs /proxy/tls \
 && chmod 1777 /proxy/run /proxy/logs
WORKDIR /proxy
USER 1000:1000
EXPOSE 8443
STOPSIGNAL SIGQUIT
# The logs that the configuration names are the container's output: its log files would fill its memory.
CMD ["sh", "-c", "ln -sf /dev/stdout logs/calls.log && ln -sf /dev/stderr logs/error.log && exec nginx -p /proxy -c nginx.conf -e stderr -g 'daemon off;'"]
