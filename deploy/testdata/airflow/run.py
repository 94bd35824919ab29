"""Runs the sensor as a worker and a triggerer of Airflow do: run.py IMPORT_ID poke|deferrable."""

import asyncio
import importlib
import json
import sys

from airflow.sdk import TaskDeferred
from airflow.sdk.exceptions import AirflowException
from lakefs_import_airflow import LakeFSImportSensor


def sensor(**kwargs):
    return LakeFSImportSensor(task_id="wait", repository="my-repo", branch="main", import_id=sys.argv[1],
                              settings={"labels": {"team": "ingest"}}, poke_interval=0.2, timeout=60, **kwargs)


async def first_event(trigger):
    async for event in trigger.run():
        return event


def deferred():
    try:
        sensor(deferrable=True).execute({})
    except TaskDeferred as err:
        # The trigger is stored, and made anew in another process; so is the event.
        path, arguments = json.loads(json.dumps(err.trigger.serialize()))
        module, name = path.rsplit(".", 1)
        trigger = getattr(importlib.import_module(module), name)(**arguments)
        event = asyncio.run(asyncio.wait_for(first_event(trigger), err.timeout.total_seconds()))
        return getattr(sensor(deferrable=True), err.method_name)({}, json.loads(json.dumps(event.payload)))
    raise AssertionError("was not deferred")


try:
    print(deferred() if sys.argv[2] == "deferrable" else sensor().execute({}))
except AirflowException as err:
    print(f"{type(err).__name__}: {err}")
