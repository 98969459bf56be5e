#!/bin/sh
# Start a command with the secrets of the files that the container was given, and of no image or command line.
set -eu
secrets=${SECRETS:-/run/secrets}
if [ -r "$secrets/postgres_password" ]; then
    PGPASSWORD=$(cat "$secrets/postgres_password")
    export PGPASSWORD
fi
if [ -r "$secrets/ray_token" ]; then
    export RAY_AUTH_TOKEN_PATH="$secrets/ray_token"
fi
exec "$@"
