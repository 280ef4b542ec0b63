#!/usr/bin/env bash
# Builds the image of the Dockerfile without Docker and without a hub, and runs the demo in it as an
# unknown user: buildah, with chroot for isolation, on a base from Debian's mirror. Needs root and
# `apt-get install buildah mmdebstrap`; 20 GB below the folder $1; half an hour on two cores.
# BUILD holds further words for `buildah bud` (mounts of a local package index, build arguments).
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:?a folder that may take 20 GB}")
base=docker.io/library/debian:bookworm-slim
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
store=(buildah --root "$folder/root" --runroot "$folder/run")
mkdir -p "$folder/data"
chmod 1777 "$folder/data"
if ! "${store[@]}" images --quiet "$base" >/dev/null 2>&1; then
  mmdebstrap --variant=minbase --quiet bookworm "$folder/base.tar"
  made=$("${store[@]}" from scratch)
  "${store[@]}" add --quiet "$made" "$folder/base.tar" /
  "${store[@]}" commit --quiet --rm "$made" "$base"
fi
# shellcheck disable=SC2086 # BUILD is several words
"${store[@]}" bud --pull-never --layers --tag winnow ${BUILD:-} .
made=$("${store[@]}" from --pull-never localhost/winnow)
trap '"${store[@]}" rm "$made" >/dev/null' EXIT
"${store[@]}" run --user 12345 --volume "$folder/data:/data" "$made" -- winnow demo --out /data
