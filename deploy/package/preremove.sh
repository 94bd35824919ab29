#!/bin/sh
set -e
# dpkg says "remove", rpm that none is left; both say something else in an upgrade.
if [ "$1" = remove ] || [ "$1" = 0 ]; then
  ! [ -d /run/systemd/system ] || systemctl stop lakefs_import_exporter.service
  ! command -v systemctl >/dev/null || systemctl --quiet disable lakefs_import_exporter.service
fi
