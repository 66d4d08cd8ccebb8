#!/bin/sh
# Brings docker-compose.prod.yml to the image MUSTER_IMAGE, one service after the other, without an error for any caller.
# `docker compose up -d` alone stops every container before it starts the first new one. Needs Compose v2; arguments are
# its own, such as `-p NAME`. Run it again after a failure; with the image of before it goes back.
set -eu
cd "$(dirname "$0")/../.."

compose() { docker compose -f docker-compose.prod.yml "$@"; }

arguments="$*"
up() { compose $arguments up --detach --no-deps --no-build --wait "$@"; }

for service in coordinator coordinator-2; do
    up $service # the other one goes on meanwhile
done
for service in researcher analyzer reporter; do
    old=$(compose $arguments ps --quiet $service)
    up --no-recreate --scale $service=$(($(echo "$old" | wc -w) * 2)) $service
    sleep 5 # until the coordinators have met the new ones
    docker stop $old >/dev/null
    docker rm $old >/dev/null
done
