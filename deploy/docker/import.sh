# Imports a folder of 50,000 files into lakeFS, and has the exporter watch that:
#
#     sh import.sh FOLDER
#
# A folder called "nowhere" is not made first, so that its import fails. Wants
# LAKEFS, the endpoint.
set -eu
folder=/source/$1
keys=$(cat /run/secrets/access_key_id):$(cat /run/secrets/secret_access_key)
api=$LAKEFS/api/v1/repositories

call() { # METHOD URL JSON
  curl --silent --show-error --fail-with-body --user "$keys" --request "$1" \
    --header 'Content-Type: application/json' --data "$3" "$2"
}

if [ "$1" != nowhere ] && [ ! -d "$folder" ]; then
  rm -rf "$folder.new" # of a run that was broken off
  mkdir "$folder.new"
  (cd "$folder.new" && seq 1 50000 | sed 's/^/file-/' | xargs touch)
  mv "$folder.new" "$folder"
fi
# If this fails, it is there already, or the import will say what is wrong.
call POST "$api" '{"name": "my-repo", "storage_namespace": "local://my-repo", "default_branch": "main"}' >/dev/null 2>&1 || true
started=$(call POST "$api/my-repo/branches/main/import" '{
  "paths": [{"type": "common_prefix", "path": "local://'"$folder"'/", "destination": "'"$1"'/"}],
  "commit": {"message": "Import '"$1"'"}
}') || { echo "lakeFS starts no import: $started" >&2; exit 1; }
id=$(echo "$started" | sed -n 's/.*"id" *: *"\([A-Za-z0-9_-]*\)".*/\1/p')
[ -n "$id" ] || { echo "lakeFS answers without an ID: $started" >&2; exit 1; }

# Renamed when it is whole, so that the exporter never reads half of it.
cat >"/imports/$id.new" <<END
[{"repository": "my-repo", "branch": "main", "id": "$id", "expected_objects": 50000, "labels": {"team": "ingest"}}]
END
mv "/imports/$id.new" "/imports/$id.json"
echo "import $id of $folder is watched: see http://localhost:10470/imports and http://localhost:3000"
