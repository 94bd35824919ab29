#!/usr/bin/env python3
"""Registers the imports in lakeFS's log with lakefs_import_exporter.

    tail -n 1000 -F /var/log/lakefs.log | register_imports.py

lakeFS logs an import's ID

  * at logging.level DEBUG, in a line "Ingest source" of each import;
  * with logging.audit_log_level INFO, in a line of each request for an import's status.
    lakectl and the web UI send some, the exporter sends others, which must be left out.

Formats json and text (lakeFS's default) are read. The exporter needs --web.enable-import-api
and --storage.path. Environment:

  EXPORTER            default http://localhost:10470
  EXPORTER_USER       user:password of the exporter's web.yml
  SERVER              name of the server in the exporter's config.yml, if there are several
  EXPORTER_ADDRESSES  IP addresses, separated by commas, from which lakeFS sees requests of
                      exporters. Open-source lakeFS does not log the user agent: without
                      this, only its lines "Ingest source" are used.
  RETRY_SECONDS       wait before the next attempt when the exporter does not answer, default 5
"""

import base64
import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

EXPORTER = os.environ.get("EXPORTER", "http://localhost:10470")
EXPORTER_USER = os.environ.get("EXPORTER_USER", "")
SERVER = os.environ.get("SERVER", "")
EXPORTER_ADDRESSES = {a.strip() for a in os.environ.get("EXPORTER_ADDRESSES", "").split(",")} - {""}
RETRY_SECONDS = float(os.environ.get("RETRY_SECONDS", "5"))

TEXT_FIELD = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S*)')
# The exporter's branch "-" is none of lakeFS's.
IMPORT_ID = re.compile(r"[\w-]{1,128}$")
IMPORT_PATH = re.compile(r"/repositories/([a-z0-9-]+)/branches/(\w[\w-]*)/import(?:\?id=([\w-]{1,128}))?$")


def fields(line):
    """Returns the fields of a line of the log."""
    if not line.startswith("{"):
        return {name: value.strip('"') for name, value in TEXT_FIELD.findall(line)}
    try:
        return json.loads(line)
    except ValueError:
        return {}


def sent_by_exporter(entry):
    """Reports whether the line's request is an exporter's, or may be."""
    if "client" in entry:  # the user agent; lakeFS with RBAC only
        return str(entry["client"]).startswith("lakefs_import_exporter/")
    address = str(entry.get("source_ip", "")).rpartition(":")[0].strip("[]")
    return not EXPORTER_ADDRESSES or address in EXPORTER_ADDRESSES


def find_import(entry):
    """Returns repository, branch and ID of the import in a line, or None."""
    path = IMPORT_PATH.search(str(entry.get("path", "")))
    if path is None:
        return None
    repository, branch, polled = path.groups()
    if entry.get("msg") == "Ingest source" and IMPORT_ID.match(str(entry.get("import_id"))):
        return repository, branch, entry["import_id"]
    if polled and entry.get("method") == "GET" and str(entry.get("status_code")) == "200" and not sent_by_exporter(entry):
        return repository, branch, polled
    return None


def register(found):
    """Registers an import, as soon as the exporter can be reached: until then the log waits."""
    url = f"{EXPORTER}/api/v1/imports/" + "/".join(found)
    if SERVER:
        url += "?" + urllib.parse.urlencode({"server": SERVER})
    request = urllib.request.Request(url, method="PUT")
    if EXPORTER_USER:
        request.add_header("Authorization", "Basic " + base64.b64encode(EXPORTER_USER.encode()).decode())
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except urllib.error.HTTPError as err:
            print(f"{url}: HTTP status {err.code}: {err.read(500).decode(errors='replace').strip()}", file=sys.stderr)
            if err.code in (400, 409):  # it would be refused again
                return
        except (OSError, http.client.HTTPException) as err:
            print(f"{url}: {err}", file=sys.stderr)
        time.sleep(RETRY_SECONDS)


def main():
    sys.stdin.reconfigure(errors="replace")
    seen = {}  # an ID is in many lines; the oldest are forgotten
    for line in sys.stdin:
        found = find_import(fields(line))
        if found is None or found in seen:
            continue
        register(found)
        seen[found] = True
        if len(seen) > 10_000:
            del seen[next(iter(seen))]


if __name__ == "__main__":
    main()
