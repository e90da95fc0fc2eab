#!/bin/sh
# The README's two commands on a machine that has nothing: each one is the first command in a container of its own, on
# an empty Debian with make and Python, as root, with the checkout as committed (HEAD). Usage: walk.sh [demo|test]...
#
# Environment:
#   ENGINE       podman or docker (default: whichever is here, podman first)
#   ENGINE_ARGS  more options for its `run`: mounts, limits, certificates of your network
#   BASE         the image (default: debian:12-slim); one made by debootstrap will do: debootstrap --variant=minbase
#                --include=make,python3 bookworm DIR && tar -C DIR -c . | podman import - localhost/debian:12
#   SHARED       weights and corpus that the tests use, mounted beside the checkout (default: ../shared, if it is there)
set -eu
cd "$(dirname "$0")/../.."

engine=${ENGINE:-$(command -v podman || command -v docker || true)}
[ -n $engine ] || { echo "walk.sh: neither podman nor docker is here: apt install podman" >&2; exit 1; }
base=${BASE:-debian:12-slim}
shared=${SHARED:-../shared}
logs=build/fresh
mkdir -p "$logs"

# Where the published weights and the corpus are at hand, every test can run, so none may skip.
if [ -d "$shared" ]; then
  beside="-v $(realpath "$shared"):/root/shared:ro --env DFSERVE_NO_SKIPS=1"
fi

walk() {
  name=dfserve-fresh-$1-$$
  log=$logs/$1.log
  trap '$engine rm -f "$name" >/dev/null 2>&1 || true' EXIT INT TERM
  echo "make $1 in $base ($engine); log: $log"
  begun=$(date +%s)
  # shellcheck disable=SC2086 # these are lists of words
  git archive --prefix=root/dfserve/ HEAD | $engine run -i --name "$name" --shm-size=1g ${beside:-} ${ENGINE_ARGS:-} "$base" sh -ec "
    tar -x -C / -f -
    if ! { command -v make && command -v python3; } >/dev/null; then
      apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends make python3
    fi >/dev/null 2>&1
    cd /root/dfserve && exec make $1" >"$log" 2>&1 && code=0 || code=$?
  size=$($engine ps -a -s --filter "name=$name" --format '{{.Size}}')
  echo "make $1: exit $code after $(($(date +%s) - begun)) s; the container grew to $size"
  tail -n 25 "$log"
  $engine rm -f "$name" >/dev/null
  return "$code"
}

failed=
[ $# -gt 0 ] || set -- demo test
for target in "$@"; do
  walk "$target" || failed="$failed $target"
done
[ -z "$failed" ] || { echo "walk.sh: failed:$failed" >&2; exit 1; }
