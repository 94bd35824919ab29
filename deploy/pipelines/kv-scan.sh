#!/usr/bin/env bash
# Writes an import file of all imports that lakeFS knows, for lakefs_import_exporter:
#
#     kv-scan.sh /etc/lakefs_import_exporter/imports/discovered.json
#
# It reads lakeFS's key-value store with lakeFS's own program, whatever the database is:
# CosmosDB, for example. It needs lakefs (of the server's version), lakeFS's configuration
# (config.yaml or LAKEFS_... variables), and jq. Environment:
#
#     INTERVAL   seconds between two scans, default 60
#     SERVER     name of the server in the exporter's config.yml, if there are several
#
# A scan runs lakefs once, and once more for each repository. If any of that fails, the file
# stays as it is.
set -euo pipefail

file=${1:?usage: kv-scan.sh FILE}
# An import file may have 1 MiB.
max_imports=5000

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# scan PARTITION PREFIX prints the records of a partition whose keys begin with PREFIX/, as
# JSON. 0 follows / in ASCII. lakeFS logs to standard output unless told to use standard
# error, "=", and prints errors to standard output.
scan() {
  local records
  if records=$(LAKEFS_LOGGING_OUTPUT="=" LAKEFS_LOGGING_LEVEL=ERROR timeout 60 \
    lakefs kv scan "$1" "$2/" --until "${2}0" </dev/null 2>"$log"); then
    printf '%s\n' "$records"
  else
    echo "kv-scan: lakefs kv scan $1 failed: $(cat "$log" - <<<"$records" | tail -n 5)" >&2
    return 1
  fi
}

# refresh writes the file. It is renamed when it is complete, so that the exporter never
# reads half of it.
refresh() {
  local repositories partitions partition imports=
  repositories=$(scan graveler repos) || return
  # A repository that is being deleted has state 1; lakeFS answers 410 for its imports.
  partitions=$(jq -r '.value | select(.state != 1 and .instance_uid) | "\(.id)-\(.instance_uid)"' <<<"$repositories") || return
  if [ -z "$partitions" ]; then
    echo "kv-scan: found no repositories: is this lakeFS's configuration?" >&2
    return 1
  fi
  while read -r partition; do
    imports+=$(scan "$partition" imports)$'\n' || return
  done <<<"$partitions"
  # The instance's UID has 20 characters. Import IDs begin with their time: the newest sort last.
  jq -s -c --arg server "${SERVER-}" --argjson max "$max_imports" '
    map({repository: .partition[:-21], branch: "-", id: (.key | ltrimstr("imports/"))}
        | select((.repository | test("^[a-z0-9][a-z0-9-]{2,62}$")) and (.id | test("^[A-Za-z0-9_-]{1,128}$")))
        | if $server != "" then . + {server: $server} else . end)
    | sort_by(.id) | .[-$max:]' <<<"$imports" >"$file.new" || return
  mv "$file.new" "$file"
}

while true; do
  refresh || echo "kv-scan: keeping $file as it is" >&2
  sleep "${INTERVAL:-60}"
done
