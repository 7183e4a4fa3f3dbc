#!/usr/bin/env bash
# Build the trainer image, unless the one that is there was built from the same files.
#
#     docker/build-trainer.sh [TAG]          (default: airflow-mlops/trainer:latest)
#
# The base is BASE_IMAGE if given, else python:3.11-slim if it is here or can be pulled, else one that is made from this
# machine's own Python (docker/local-base-image.sh; its environment variables PYTHON, UV and TMPDIR apply).
#
# Environment:
#   BASE_IMAGE     the base to build on; nothing is pulled or made then
#   PULL_TIMEOUT   seconds that pulling the base may take (default 120); a registry that is not there fails at once
#   FORCE          1 builds even if nothing changed
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

readonly REGISTRY_BASE=python:3.11-slim
readonly LOCAL_BASE=airflow-mlops/python-base:local
readonly LABEL=io.github.airflow-mlops.content
tag=${1:-airflow-mlops/trainer:latest}

die() { echo "build-trainer: $*" >&2; exit 1; }
say() { printf '[%3ds] %s\n' "$SECONDS" "$*"; }
# Print the digest of the given files: names and content, whatever the working copy's dates.
digest() { (cd "$here" && sha256sum -- "$@") | sha256sum | cut -c -24; }
content_of() { docker image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$1" 2>/dev/null || true; }
exists() { docker image inspect "$1" >/dev/null 2>&1; }

command -v docker >/dev/null || die "the docker command is missing; install Docker's command line tools"
docker version --format '{{.Server.Version}}' >/dev/null 2>&1 ||
  die "no Docker engine answers at ${DOCKER_HOST:-the default socket}; start one, or set DOCKER_HOST"

mapfile -t sources < <(cd "$here" && LC_ALL=C ls trainer/*.py)
content=$(digest build-trainer.sh local-base-image.sh trainer/Dockerfile trainer/requirements.txt "${sources[@]}")
content+=${BASE_IMAGE:+-$(printf %s "$BASE_IMAGE" | sha256sum | cut -c -8)}
if [[ ${FORCE:-} != 1 && $(content_of "$tag") == "$content" ]]; then
  say "$tag is up to date ($content)"
  exit 0
fi

# Make the local base, unless the one that is there has the same requirements and recipe.
make_local_base() {
  local base_content
  base_content=$(digest local-base-image.sh trainer/requirements.txt)
  if [[ $(content_of "$LOCAL_BASE") != "$base_content" ]]; then
    say "Making $LOCAL_BASE from this machine's Python; this takes a minute or two"
    LABELS="$LABEL=$base_content" "$here/local-base-image.sh" "$LOCAL_BASE" "$here/trainer/requirements.txt"
  fi
}

base=${BASE_IMAGE:-}
if [[ -z $base ]]; then
  if exists "$REGISTRY_BASE"; then
    base=$REGISTRY_BASE
  elif say "Pulling $REGISTRY_BASE" && timeout "${PULL_TIMEOUT:-120}" docker pull --quiet "$REGISTRY_BASE"; then
    base=$REGISTRY_BASE
  else
    say "$REGISTRY_BASE cannot be pulled"
    make_local_base
    base=$LOCAL_BASE
  fi
fi

say "Building $tag on $base"
# The classic builder needs no plugin and works with every engine. BuildKit is taken where the engine has nothing else.
export DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0}
# The code version that the model's run, its version and its reviewer will see.
revision=$(git -C "$here" describe --always --dirty --abbrev=40 2>/dev/null || true)
docker build --quiet --build-arg "BASE_IMAGE=$base" --label "$LABEL=$content" \
  ${revision:+--label "org.opencontainers.image.revision=$revision"} --tag "$tag" "$here/trainer" >/dev/null
say "Built $tag, $(($(docker image inspect --format '{{.Size}}' "$tag") / 1000000)) MB, content $content"
