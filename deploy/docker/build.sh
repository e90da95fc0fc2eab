#!/bin/sh
# Builds an image of ours, from the checkout's wheel where the image holds it. Usage: build.sh cpu|gpu|export|proxy|prometheus|lab
#
# Environment:
#   ENGINE      podman or docker (default: whichever is here, docker first)
#   BASE        the image to build on (default: the Dockerfile's own)
#   TAG         what to call it (default: dfserve:cpu, dfserve:gpu …)
#   BUILD_ARGS  more options for the engine's `build`: mounts and variables of your network, for example
set -eu
cd "$(dirname "$0")/../.."
kind=${1:?usage: build.sh cpu|gpu|export|proxy|prometheus|lab}
[ -f "deploy/docker/$kind.Dockerfile" ] || { echo "build.sh: no image $kind: cpu, gpu, export, proxy, prometheus or lab" >&2; exit 2; }

engine=${ENGINE:-$(command -v docker || command -v podman || true)}
[ -n "$engine" ] || { echo "build.sh: neither docker nor podman is here" >&2; exit 1; }
case $engine in *podman) format="--format docker" ;; *) format= ;; esac # podman's own format has no health checks

context=build/image
rm -rf "$context"
mkdir -p "$context"
python=.venv/bin/python
if grep -q '^COPY \*\.whl' "deploy/docker/$kind.Dockerfile"; then
  $python -m build --wheel --outdir "$context" . >"$context/wheel.log" 2>&1 || { cat "$context/wheel.log" >&2; exit 1; }
  rm "$context/wheel.log"
fi
cp constraints.txt "deploy/docker/$kind.Dockerfile" "$context"
version=$($python -c 'import importlib.metadata as m; print(m.version("dfserve"))')
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

# shellcheck disable=SC2086 # these are lists of words
$engine build $format --file "$context/$kind.Dockerfile" --tag "${TAG:-dfserve:$kind}" \
  --build-arg VERSION="$version" --build-arg REVISION="$revision" \
  ${BASE:+--build-arg BASE="$BASE"} ${BUILD_ARGS:-} "$context"
echo "built ${TAG:-dfserve:$kind}"
