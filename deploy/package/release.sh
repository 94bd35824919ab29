#!/bin/sh
# Makes what a release consists of, in dist/, for each platform that is named: the same
# bytes wherever it is made, from the same commit by the same Go. "make release" calls
# it, with VERSION, MAINTAINER, NFPM and CYCLONEDX. Wants GNU tar, jq and zip.
set -eu
program=lakefs_import_exporter
released="LICENSE README.md CHANGELOG.md BENCHMARKS.md SECURITY.md config.example.yml docs
  deploy/alertmanager deploy/grafana deploy/lakefs deploy/mixin deploy/pipelines deploy/prometheus deploy/systemd"

test -z "$(git status --porcelain)" || { echo "release: there are changes that are not committed" >&2; exit 1; }
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C VERSION MAINTAINER
export GOAMD64=v1 GOARM64=v8.0 GOARM=7 GOEXPERIMENT='' GOFIPS140=off GOFLAGS=''

rm -rf dist
for platform; do
  os=${platform%-*} arch=${platform#*-} name=$program-$VERSION.$platform exe=
  [ "$os" != windows ] || exe=.exe
  mkdir -p "dist/$name"
  # shellcheck disable=SC2086 # a list
  git archive HEAD $released | tar -x -C "dist/$name"
  GOOS=$os GOARCH=$(echo "$arch" | sed s/armv7/arm/) make build BINARY="dist/$name/$program$exe" \
    VERSION="$VERSION" REVISION="$(git rev-parse HEAD)" BRANCH=HEAD
  if [ "$os" = linux ]; then
    export ARCH="$(echo "$arch" | sed s/armv7/arm7/)"
    mkdir dist/package
    cp "dist/$name/$program" dist/package/
    sed 's,/usr/local/bin/,/usr/bin/,' deploy/systemd/$program.service >dist/package/$program.service
    for packager in deb rpm; do
      "$NFPM" package --config=deploy/package/nfpm.yaml --packager=$packager --target=dist/
    done
    rm -r dist/package
  fi
  if [ "$os" = windows ]; then
    find "dist/$name" -exec chmod u=rwX,go=rX {} + -exec touch --date="@$SOURCE_DATE_EPOCH" {} +
    (cd dist && find "$name" -type f | sort | zip -q -X "$name.zip" -@)
  else
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
      -C dist -c "$name" | gzip -n >"dist/$name.tar.gz"
  fi
  rm -r "dist/$name"
done
# What is built in: the software bill of materials, in CycloneDX, without what differs
# from one making to the next.
sbom=dist/$program-$VERSION.cdx.json
"$CYCLONEDX" app -json -noserial -std -main . . |
  jq --arg time "$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" \
    '.metadata.timestamp = $time | del(.metadata.tools[]?.hashes)' >"$sbom"
(cd dist && sha256sum -- * >../SHA256SUMS.new && mv ../SHA256SUMS.new SHA256SUMS)
