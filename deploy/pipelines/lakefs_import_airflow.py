"""An Airflow sensor that waits for the end of a lakeFS import, by lakefs_import_exporter.

Put this file and lakefs_import.py into the plugins folder of workers and triggerer, and set EXPORTER and, if the
exporter asks for a password, EXPORTER_USER in the environment of both. docs/pipelines.md has a DAG.

The sensor returns the ID of the commit. A failed or canceled import fails the task for good; one that is stalled or lost
is asked for again by a retry. For Airflow 2.7 and later, 3 included.
"""

import asyncio
from datetime import timedelta

from airflow.triggers.base import BaseTrigger, TriggerEvent

try:  # Airflow 3
    from airflow.sdk import BaseSensorOperator, PokeReturnValue
except ImportError:
    from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
try:  # Airflow 3.1
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:
    from airflow.exceptions import AirflowException, AirflowFailException

from lakefs_import import Ended, Follower, Refused, commit_of


class LakeFSImportSensor(BaseSensorOperator):
    """Waits until an import has ended.

    settings is what the exporter's PUT takes. register=False leaves it to discovery to have the import watched.
    """

    template_fields = ("repository", "branch", "import_id")

    def __init__(self, *, repository, branch, import_id, settings=None, register=True, deferrable=False, poke_interval=15, **kwargs):
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.repository, self.branch, self.import_id = repository, branch, import_id
        self.settings, self.register, self.deferrable = settings, register, deferrable

    def follower(self):
        """Returns the arguments of the Follower. Templates have been rendered when it is called."""
        return {"repository": self.repository, "branch": self.branch, "import_id": self.import_id,
                "settings": self.settings, "register": self.register}

    def execute(self, context):
        if not self.deferrable:
            return super().execute(context)
        self.defer(trigger=LakeFSImportTrigger(self.poke_interval, self.follower()), method_name="execute_complete",
                   timeout=timedelta(seconds=self.timeout))

    def poke(self, context):
        try:
            status = Follower(**self.follower()).poll()
        except Refused as err:
            raise AirflowException(str(err)) from err
        return PokeReturnValue(True, self.execute_complete(context, status)) if status else False

    def execute_complete(self, context, event):
        """Returns the ID of the commit of an import that has ended."""
        if "refused" in event:
            raise AirflowException(event["refused"])
        try:
            return commit_of(self.import_id, event)
        except Ended as err:
            raise (AirflowFailException if err.state in ("failed", "canceled") else AirflowException)(str(err)) from err


class LakeFSImportTrigger(BaseTrigger):
    """Fires when an import has ended. It asks every so many seconds instead of having the exporter wait, which would
    take up one of the triggerer's few threads."""

    def __init__(self, poke_interval, follower):
        super().__init__()
        self.poke_interval, self.follower = poke_interval, follower

    def serialize(self):
        return f"{type(self).__module__}.{type(self).__name__}", {"poke_interval": self.poke_interval, "follower": self.follower}

    async def run(self):
        follower = Follower(**self.follower)
        while True:
            try:
                status = await asyncio.to_thread(follower.poll)
            except Refused as err:
                status = {"refused": str(err)}
            if status:
                yield TriggerEvent(status)
                return
            await asyncio.sleep(self.poke_interval)
