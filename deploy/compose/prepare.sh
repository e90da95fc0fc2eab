#!/bin/sh
# Makes what compose.yaml needs and no repository should hold: a certificate, a client's key, Grafana's password.
# Usage: prepare.sh [NAME …]   the names (default: localhost) under which clients reach the proxy
#
# It writes to DFSERVE_SECRETS (default: secrets, beside this file) and leaves alone what is there.
set -eu
cd "$(dirname "$0")"
secrets=${DFSERVE_SECRETS:-secrets}
command -v openssl >/dev/null || { echo "prepare.sh: openssl is missing: apt-get install openssl" >&2; exit 1; }

# The folder is closed to other users of this machine; in it, files are open to whichever user reads them in a container.
mkdir -p "$secrets/tls"
chmod 700 "$secrets"
umask 022

if [ ! -e "$secrets/tls/server.pem" ]; then
  names=
  for name in "${@:-localhost}"; do names="$names${names:+,}DNS:$name"; done
  said=$(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=${1:-localhost}" \
    -addext "subjectAltName=$names" -keyout "$secrets/tls/server.key" -out "$secrets/tls/server.pem" 2>&1) \
    || { echo "prepare.sh: openssl made no certificate: $said" >&2; exit 1; }
  chmod 644 "$secrets/tls/server.key"
fi
if [ ! -e "$secrets/keys.conf" ]; then
  openssl rand -base64 32 >"$secrets/key"
  printf '"%s" someone;\n' "$(cat "$secrets/key")" >"$secrets/keys.conf"
fi
[ -e "$secrets/grafana_password" ] || openssl rand -hex 16 >"$secrets/grafana_password"
echo "certificate: $secrets/tls/server.pem   key: $secrets/key   Grafana's password (admin): $secrets/grafana_password"
