#!/bin/sh
# pip install [--no-cache-dir] [-r FILE] [NAME…] | npm ci | apt-get update | apt-get install -y NAME…
set -e
tool=$(basename "$0")
case $tool in pip) cache=/root/.cache/pip ;; npm) cache=/root/.npm ;; apt-get) cache=/var/cache/apt ;; esac
action=$1
shift
if [ "$action" = update ]; then
  echo "download lists"
  mkdir -p /var/lib/apt/lists
  echo lists > /var/lib/apt/lists/index
  exit
fi
names=
[ "$tool" = npm ] && names=$(cat package.json)
[ "$tool" = apt-get ] && [ ! -e /var/lib/apt/lists/index ] && { echo "E: Unable to locate package" >&2; exit 100; }
while [ $# -gt 0 ]; do
  case $1 in
    -r) names="$names $(cat "$2")"; shift ;;
    --no-cache-dir) cache= ;;
    -*) ;;
    *) names="$names $1" ;;
  esac
  shift
done
mkdir -p /deps
for name in $names; do
  [ -e "/deps/$name" ] && continue
  [ -n "$cache" ] && [ -e "$cache/$name" ] || echo "download $name"
  [ -z "$cache" ] || { mkdir -p "$cache"; echo "$name" > "$cache/$name"; }
  echo "$name" > "/deps/$name"
done
