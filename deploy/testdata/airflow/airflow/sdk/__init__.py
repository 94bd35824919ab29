import logging
import time


class PokeReturnValue:
    def __init__(self, is_done, xcom_value=None):
        self.is_done, self.xcom_value = is_done, xcom_value

    def __bool__(self):
        return self.is_done


class TaskDeferred(BaseException):
    def __init__(self, trigger, method_name, timeout):
        self.trigger, self.method_name, self.timeout = trigger, method_name, timeout


class BaseSensorOperator:
    def __init__(self, *, task_id, poke_interval=60, timeout=7 * 24 * 3600, **kwargs):
        assert not kwargs, kwargs
        self.task_id, self.poke_interval, self.timeout = task_id, poke_interval, timeout
        self.log = logging.getLogger(task_id)

    def defer(self, *, trigger, method_name, kwargs=None, timeout=None):
        raise TaskDeferred(trigger, method_name, timeout)

    def execute(self, context):
        while True:
            result = self.poke(context)
            if result:
                return result.xcom_value if isinstance(result, PokeReturnValue) else None
            time.sleep(self.poke_interval)
