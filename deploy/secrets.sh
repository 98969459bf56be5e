#!/bin/sh
# Make the secrets of compose.yaml, once, in deploy/secrets (or the folder given): nobody else can open that folder, and
# in a container, where another user reads them, each file is there by itself.
set -eu
folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"
for name in ray_token postgres_password grafana_password dashboard_token; do
    if [ ! -s "$folder/$name" ]; then
        openssl rand -hex 32 > "$folder/$name"
    fi
    chmod 444 "$folder/$name"
done
if [ ! -s "$folder/dashboard_key" ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout "$folder/dashboard_key" -out "$folder/dashboard_certificate" 2> /dev/null
fi
chmod 444 "$folder/dashboard_key" "$folder/dashboard_certificate"
echo "The secrets are in $folder; keep them out of repositories and images."
