#!/usr/bin/env python3
"""Starts an import into lakeFS, has lakefs_import_exporter watch it, and waits for its end.

    lakefs_import.py my-repo main s3://bucket/nightly/
    lakefs_import.py my-repo main --id dc1chj1ksduerdki88b0     # waits for one that was started before

Standard output has the ID of the import as soon as it is known, and the ID of the commit at the end. Exit statuses:

    0  succeeded
    1  not started: lakeFS or the exporter refused, or could not be reached. It is safe to try again
    2  wrong usage
    3  failed
    4  canceled
    5  lost: lakeFS does not know the import
    6  stalled: no heartbeat, most likely because its lakeFS process died. The commit may be on the branch all the same
    7  --timeout is over, and the import goes on: wait for it with --id
    8  the import may have started or may go on, and cannot be followed: look before you start another

Nothing is started unless the exporter would take the registration: to see that, the script registers an import that
does not exist, and removes it. The start is only repeated where lakeFS cannot have got it. Everything else is repeated
until it works, so a restart of the exporter does no harm.

Environment:

    LAKECTL_SERVER_ENDPOINT_URL, LAKECTL_CREDENTIALS_ACCESS_KEY_ID, LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY
    EXPORTER        default http://localhost:10470; it needs --web.enable-import-api and --storage.path
    EXPORTER_USER   user:password of the exporter's web.yml
    SERVER          name of the server in the exporter's config.yml, if there are several

As a module: import_and_wait() does all of it. start() and follow() are its two halves.
"""

import argparse
import base64
import http.client
import json
import os
import socket
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

EXIT_STATUSES = {"failed": 3, "canceled": 4, "lost": 5, "stalled": 6, "timeout": 7}
NOT_STARTED, UNDECIDED = 1, 8

PAUSE = 2  # seconds before the next attempt
PATIENCE = 60  # seconds of attempts before an import has started
WAIT = 30  # seconds that the exporter waits for the end of an import


class Refused(Exception):
    """The answer to a request was no, and would be again. status is the HTTP status."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


class Unavailable(Exception):
    """There was no usable answer to a request. sent says that it may have been carried out."""

    def __init__(self, message, sent):
        super().__init__(message)
        self.sent = sent


class Undecided(Exception):
    """The import may have started or may go on, and cannot be followed."""


class Ended(Exception):
    """The import did not succeed. state is a key of EXIT_STATUSES."""

    def __init__(self, import_id, state, message):
        super().__init__(f"import {import_id}: {state}: {message}")
        self.import_id, self.state = import_id, state


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirects: a POST would become a GET, and credentials would go elsewhere."""

    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirects)


class API:
    """An HTTP API of JSON objects with basic authentication. user is NAME:PASSWORD, or empty."""

    def __init__(self, name, url, user):
        self.name, self.url, self.headers = name, url.rstrip("/"), {"Content-Type": "application/json"}
        if user:
            self.headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()

    def call(self, method, path, body=None, timeout=15):
        """Returns the JSON object that a request is answered with. Raises Refused or Unavailable."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers, method=method)
        try:
            status, content = self.send(request, timeout)
        except urllib.error.URLError as err:
            unsent = isinstance(err.reason, (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError))
            raise Unavailable(f"{self.name} at {self.url}: {err.reason}", sent=not unsent) from err
        except (OSError, http.client.HTTPException) as err:
            raise Unavailable(f"{self.name} at {self.url}: {err or type(err).__name__}", sent=True) from err
        if status == 204:
            return {}
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        message = f"{self.name} at {self.url}: HTTP status {status}"
        if isinstance(answer, dict):
            if status < 300:
                return answer
            message += f": {answer.get('message')}"
        elif status < 300:
            message += " without a JSON object: is the address right?"
        # A 404 that is not the API's own comes from a proxy: it knows nothing.
        if 300 <= status < 500 and status not in (408, 429) and (status != 404 or isinstance(answer, dict)):
            raise Refused(message, status)
        raise Unavailable(message, sent=status != 429)

    @staticmethod
    def send(request, timeout):
        """Returns HTTP status and content of the answer to a request."""
        try:
            with OPENER.open(request, timeout=timeout) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as err:
            return err.code, err.read()


def lakefs_from_environment():
    """Returns the lakeFS that lakectl would use."""
    env = {name: os.environ.get(f"LAKECTL_{name}", "") for name in
           ("SERVER_ENDPOINT_URL", "CREDENTIALS_ACCESS_KEY_ID", "CREDENTIALS_SECRET_ACCESS_KEY")}
    for name, value in env.items():
        if not value:
            raise Refused(f"LAKECTL_{name} is not set", None)
    url, key, secret = env.values()
    url = url.rstrip("/")
    return API("lakeFS", url if url.endswith("/api/v1") else url + "/api/v1", f"{key}:{secret}")


def exporter_from_environment():
    """Returns the exporter of EXPORTER and EXPORTER_USER."""
    return API("exporter", os.environ.get("EXPORTER") or "http://localhost:10470", os.environ.get("EXPORTER_USER", ""))


def log(message):
    print(message, file=sys.stderr, flush=True)


def persist(attempt, seconds):
    """Returns what attempt returns, which is tried for so many seconds while there is no usable answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except Unavailable as err:
            if time.monotonic() + PAUSE > deadline:
                raise
            log(f"{err}; trying again")
        time.sleep(PAUSE)


def import_path(repository, branch, import_id):
    """Returns the path of an import in the exporter's API."""
    path = "/api/v1/imports/" + "/".join(urllib.parse.quote(part, safe="") for part in (repository, branch, import_id))
    server = os.environ.get("SERVER")
    return path + ("?" + urllib.parse.urlencode({"server": server}) if server else "")


def check(repository, branch, settings=None, exporter=None):
    """Raises Refused unless the exporter would take the registration of an import now."""
    exporter = exporter or exporter_from_environment()
    path = import_path(repository, branch, "check-" + uuid.uuid4().hex)
    persist(lambda: exporter.call("PUT", path, settings or {}), PATIENCE)
    persist(lambda: exporter.call("DELETE", path), PATIENCE)


def start(repository, branch, source, destination="", message="Import objects", settings=None, lakefs=None, exporter=None):
    """Starts the import of the objects below source and returns its ID. It is for follow() to register it.

    settings is what the exporter's PUT takes: labels, expected_objects, no_progress_after, max_duration.
    Raises Refused or Unavailable if nothing was started, Undecided if that is not known.
    """
    lakefs = lakefs or lakefs_from_environment()
    check(repository, branch, settings, exporter)
    path = f"/repositories/{urllib.parse.quote(repository)}/branches/{urllib.parse.quote(branch)}/import"
    body = {"paths": [{"type": "common_prefix", "path": source, "destination": destination}], "commit": {"message": message}}

    def attempt():
        try:
            return lakefs.call("POST", path, body, timeout=60)
        except Unavailable as err:
            if err.sent:
                raise Undecided(f"{err}; the import may have started, and its ID is not known") from err
            raise

    answer = persist(attempt, PATIENCE)
    if not answer.get("id"):
        raise Undecided(f"lakeFS at {lakefs.url}: the answer has no import ID")
    return answer["id"]


class Follower:
    """Follows an import. Where the exporter discovers imports, register may be False: then it is not told to watch it."""

    def __init__(self, repository, branch, import_id, settings=None, register=True, exporter=None):
        self.path, self.settings = import_path(repository, branch, import_id), settings or {}
        self.register, self.registered = register, False
        self.exporter = exporter or exporter_from_environment()
        self.state = ""
        self.missing_since = None

    def poll(self, wait=0):
        """Asks once, and has the exporter wait so many seconds for the end of the import.

        Returns None while the import goes on or there is no usable answer, at the end its JSON. Raises Refused.
        """
        try:
            if self.register and not self.registered:
                self.exporter.call("PUT", self.path, self.settings)
                self.registered = True
            query = ("&" if "?" in self.path else "?") + f"wait={wait:.0f}s" if wait >= 1 else ""
            status = self.exporter.call("GET", self.path + query, timeout=wait + 15)
        except Unavailable as err:
            log(f"{err}; trying again")
            return None
        except Refused as err:
            if err.status != 404 or self.missing_for() > PATIENCE:
                raise
            log(err)
            self.registered = False  # it was removed, or is yet to be discovered
            return None
        return self.judge(status)

    def judge(self, status):
        """Returns the status if it is that of an import that has ended."""
        state = status.get("state")
        if state != self.state:
            log(f"import {status.get('import_id')}: {state}, {status.get('ingested_objects', 0)} objects")
            self.state = state
        if state != "not_found":
            self.missing_since = None
        elif self.missing_for() > PATIENCE:
            status["state"] = "lost"
        return status if status.get("state") in ("succeeded", "failed", "canceled", "lost", "stalled") else None

    def missing_for(self):
        """Returns for how many seconds the import has not been found."""
        self.missing_since = self.missing_since or time.monotonic()
        return time.monotonic() - self.missing_since


def commit_of(import_id, status):
    """Returns the ID of the commit of an import that has ended, or raises Ended."""
    if status["state"] == "succeeded":
        return (status.get("commit") or {}).get("id", "")
    raise Ended(import_id, status["state"], status.get("error") or "see the log of the branch, where its commit may be")


def follow(repository, branch, import_id, settings=None, timeout=6 * 3600, exporter=None):
    """Has the exporter watch an import, and returns the ID of its commit when it has succeeded, else raises Ended."""
    follower = Follower(repository, branch, import_id, settings, exporter=exporter)
    now = time.monotonic()
    deadline, wait = now + timeout, 0
    while now < deadline:
        try:
            status = follower.poll(wait)
        except Refused as err:
            raise Undecided(f"{err}; import {import_id} goes on") from err
        if status:
            return commit_of(import_id, status)
        asked, now = now, time.monotonic()
        if now < asked + 1:
            time.sleep(min(PAUSE, max(0, deadline - now)))
        now = time.monotonic()
        wait = min(WAIT, deadline - now)
    raise Ended(import_id, "timeout", f"still {follower.state or 'unknown'} after {timeout} s")


def import_and_wait(repository, branch, source, timeout=6 * 3600, settings=None, **options):
    """Imports the objects below source, and returns the ID of the commit. options are those of start()."""
    import_id = start(repository, branch, source, settings=settings, **options)
    print(import_id, flush=True)
    return follow(repository, branch, import_id, settings, timeout, options.get("exporter"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    parser.add_argument("branch")
    parser.add_argument("source", nargs="?", help="where the objects are, such as s3://bucket/nightly/")
    parser.add_argument("--id", help="wait for this import instead of starting one")
    parser.add_argument("--destination", default="", help="prefix on the branch, default: none")
    parser.add_argument("--message", default="Import objects", help="of the commit")
    parser.add_argument("--settings", type=json.loads, default={}, metavar="JSON",
                        help='for the exporter, such as \'{"labels": {"team": "ingest"}, "expected_objects": 128000}\'')
    parser.add_argument("--timeout", type=float, default=6 * 3600, metavar="SECONDS", help="default: 21600, six hours")
    args = parser.parse_intermixed_args()
    if bool(args.source) == bool(args.id):
        parser.error("give either a source or --id")
    try:
        if args.id:
            print(args.id, flush=True)
            commit = follow(args.repository, args.branch, args.id, args.settings, args.timeout)
        else:
            commit = import_and_wait(args.repository, args.branch, args.source, args.timeout, args.settings,
                                     destination=args.destination, message=args.message)
        print(commit)
        return 0
    except Ended as err:
        log(err)
        return EXIT_STATUSES[err.state]
    except Undecided as err:
        log(err)
        return UNDECIDED
    except (Refused, Unavailable) as err:
        log(f"nothing was started: {err}")
        return NOT_STARTED
    except KeyboardInterrupt:
        log("interrupted; an import whose ID was printed goes on")
        return 130


if __name__ == "__main__":
    sys.exit(main())
