#!/usr/bin/env bash
# Starts an import into lakeFS, has lakefs_import_exporter watch it, and waits for its end:
#
#     import-and-wait.sh REPOSITORY BRANCH SOURCE [OPTION VALUE]...
#     import-and-wait.sh REPOSITORY BRANCH --id ID        # waits for one that was started before
#
# It needs bash, curl and jq. Output, exit statuses, environment and options are those of lakefs_import.py beside this file:
#
#     --destination PREFIX   on the branch, default: none
#     --message TEXT         of the commit, default: Import objects
#     --settings JSON        for the exporter, such as {"labels": {"team": "ingest"}, "expected_objects": 128000}
#     --timeout SECONDS      default 21600: six hours
set -euo pipefail

usage() {
  echo "usage: import-and-wait.sh REPOSITORY BRANCH SOURCE|--id ID [--destination PREFIX] [--message TEXT] [--settings JSON] [--timeout SECONDS]" >&2
  exit 2
}

id="" destination="" message="Import objects" settings="{}" timeout=21600
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --id | --destination | --message | --settings | --timeout)
      [ $# -gt 1 ] || usage
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    -?*) usage ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
[ ${#arguments[@]} = "$([ -n "$id" ] && echo 2 || echo 3)" ] || usage
repository=${arguments[0]} branch=${arguments[1]} source=${arguments[2]-}

pause=2     # seconds before the next attempt
patience=60 # seconds of attempts before an import has started

log() { echo "$*" >&2; }

not_started() {
  log "nothing was started: $*"
  exit 1
}

undecided() {
  log "$*"
  exit 8
}

for variable in LAKECTL_SERVER_ENDPOINT_URL LAKECTL_CREDENTIALS_ACCESS_KEY_ID LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY; do
  [ -n "$id" ] || [ -n "${!variable-}" ] || not_started "$variable is not set"
done

# without_slash prints a URL without slashes at its end.
without_slash() {
  local url=$1
  while [[ $url == */ ]]; do url=${url%/}; done
  printf '%s' "$url"
}
lakefs=$(without_slash "${LAKECTL_SERVER_ENDPOINT_URL-}")
lakefs=${lakefs%/api/v1}/api/v1
exporter=$(without_slash "${EXPORTER:-http://localhost:10470}")

# import_url ID prints the URL of an import in the exporter's API, up to its last parameter.
import_url() {
  jq -rn '$ARGS.positional | "\(.[0])/api/v1/imports/" + (.[1:4] | map(@uri) | join("/")) + "?server=\(.[4] | @uri)"' \
    --args "$exporter" "$repository" "$branch" "$1" "${SERVER-}"
}

deadline=$((SECONDS + timeout))

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
answer=$folder/answer

# call METHOD URL USER:PASSWORD SECONDS [BODY] sends a request. It returns 0 if that is answered with a JSON object, which is in
# the file $answer then, or with HTTP status 204. Otherwise it sets problem, and returns 1 if the request is refused, 2 if there
# is no usable answer, 3 if in addition the request was certainly not carried out. ps does not show the credentials.
call() {
  local secret=${3//\\/\\\\} result=0 status is_json=
  local options=(--silent --show-error --globoff --request "$1" --max-time "$4" --header 'Content-Type: application/json')
  [ $# -lt 5 ] || options+=(--data-raw "$5")
  : >"$answer"
  status=$(curl "${options[@]}" --output "$answer" --write-out '%{http_code}' \
    --config <([ -z "$3" ] || printf 'user = "%s"\n' "${secret//\"/\\\"}") "$2" 2>"$folder/problem") || result=$?
  if [ $result != 0 ]; then
    problem="${2%%\?*}: $(<"$folder/problem")"
    case $result in
      5 | 6 | 7 | 60) return 3 ;; # no connection
      *) return 2 ;;
    esac
  fi
  problem="${2%%\?*}: HTTP status $status"
  if jq -e 'type == "object"' "$answer" >/dev/null 2>&1; then
    is_json=yes
    problem+=": $(jq -r .message "$answer")"
  fi
  case $status in
    204) return 0 ;;
    2*)
      [ -z "$is_json" ] || return 0
      problem+=" without a JSON object: is the address right?"
      return 2
      ;;
    429) return 3 ;;
    408 | 5*) return 2 ;;
    404) [ -n "$is_json" ] || return 2 ;; # from a proxy, which knows nothing
  esac
  return 1
}

# persist ARGUMENTS... is call, repeated for $patience seconds while there is no usable answer.
persist() {
  local end=$((SECONDS + patience)) result
  while true; do
    result=0
    call "$@" || result=$?
    if [ $result -lt 2 ] || { [ "$1" = POST ] && [ $result = 2 ]; } || [ $((SECONDS + pause)) -gt $end ]; then
      return $result
    fi
    log "$problem; trying again"
    sleep $pause
  done
}

start() {
  # Would the exporter take the registration? This one is of an import that does not exist.
  local check result=0
  check=$(import_url "check-$$-$RANDOM$RANDOM")
  persist PUT "$check" "${EXPORTER_USER-}" 15 "$settings" || not_started "$problem"
  persist DELETE "$check" "${EXPORTER_USER-}" 15 || not_started "$problem"
  persist POST "$lakefs/repositories/$repository/branches/$branch/import" \
    "${LAKECTL_CREDENTIALS_ACCESS_KEY_ID}:${LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY}" 60 \
    "$(jq -n --arg path "$source" --arg destination "$destination" --arg message "$message" \
      '{paths: [{type: "common_prefix", path: $path, destination: $destination}], commit: {message: $message}}')" || result=$?
  case $result in
    0) id=$(jq -r '.id // empty' "$answer") ;;
    2) undecided "$problem; the import may have started, and its ID is not known" ;;
    *) not_started "$problem" ;;
  esac
  [ -n "$id" ] || undecided "$lakefs: the answer has no import ID"
}

# judge sets state from the answer, and ends the script when the import has ended.
judge() {
  local new
  new=$(jq -r .state "$answer")
  [ "$new" = "$state" ] || log "import $id: $new, $(jq '.ingested_objects // 0' "$answer") objects"
  state=$new
  [ "$state" = not_found ] || missing_since=
  local outcome
  outcome="import $id: $state: $(jq -r '.error // "see the log of the branch, where its commit may be"' "$answer")"
  case $state in
    succeeded) jq -r .commit.id "$answer"; exit 0 ;;
    failed) log "$outcome"; exit 3 ;;
    canceled) log "$outcome"; exit 4 ;;
    lost) log "$outcome"; exit 5 ;;
    stalled) log "$outcome"; exit 6 ;;
    not_found) ! missing || { log "$outcome"; exit 5; } ;;
  esac
}

# missing reports whether the import has not been found for so long that it will not be.
missing() {
  missing_since=${missing_since:-$SECONDS}
  [ $((SECONDS - missing_since)) -gt $patience ]
}

follow() {
  local url registered="" wait=0 asked result
  url=$(import_url "$id")
  state=unknown missing_since=
  while [ $SECONDS -lt $deadline ]; do
    asked=$SECONDS result=0
    if [ -z "$registered" ]; then
      call PUT "$url" "${EXPORTER_USER-}" 15 "$settings" || result=$?
      [ $result != 0 ] || registered=yes
    fi
    [ $result != 0 ] || call GET "$url&wait=${wait}s" "${EXPORTER_USER-}" $((wait + 15)) || result=$?
    case $result in
      0) judge ;;
      1)
        if [[ $problem != *"HTTP status 404"* ]] || missing; then
          undecided "$problem; import $id goes on"
        fi
        registered= # it was removed
        ;;
      *) log "$problem; trying again" ;;
    esac
    [ $SECONDS -gt $((asked + 1)) ] || sleep $pause
    wait=$((deadline - SECONDS))
    [ $wait -lt 30 ] || wait=30
    [ $wait -gt 0 ] || wait=0
  done
  log "import $id: timeout: still $state after $timeout s"
  exit 7
}

[ -n "$id" ] || start
echo "$id"
follow
