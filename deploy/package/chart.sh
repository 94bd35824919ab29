#!/bin/sh
# Packages the Helm chart as a release's, in dist/: with VERSION, IMAGE
# (REGISTRY/OWNER/NAME, or NAME alone) and, if it is known, SOURCE_URL.
set -eu
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
cp -R deploy/helm/. "$dir"
registry=
case $IMAGE in */*) registry=${IMAGE%%/*} ;; esac
sed -i "s,^  registry: \"\",  registry: \"$registry\",; s,^  repository: lakefs_import_exporter,  repository: ${IMAGE#"$registry"/}," "$dir/values.yaml"
sed -i "s,image: \"lakefs_import_exporter:[^\"]*\",image: \"$IMAGE:$VERSION\"," "$dir/Chart.yaml"
[ -z "$SOURCE_URL" ] || printf 'home: %s\nsources: [%s]\n' "$SOURCE_URL" "$SOURCE_URL" >>"$dir/Chart.yaml"
mkdir -p dist
helm package "$dir" --version "$VERSION" --app-version "$VERSION" --destination dist
