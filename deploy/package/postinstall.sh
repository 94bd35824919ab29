#!/bin/sh
set -e
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
# An upgrade: dpkg says from which version, rpm how many there are now.
if [ "$1" = configure ] && [ -n "$2" ] || [ "$1" = 2 ]; then
  systemctl try-restart lakefs_import_exporter.service
fi
