#!/bin/sh
set -e
[ "$1" != purge ] || rmdir --ignore-fail-on-non-empty /etc/lakefs_import_exporter 2>/dev/null || true
! [ -d /run/systemd/system ] || systemctl daemon-reload
