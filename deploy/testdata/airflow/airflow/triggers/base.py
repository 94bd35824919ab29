import abc


class TriggerEvent:
    def __init__(self, payload):
        self.payload = payload


class BaseTrigger(abc.ABC):
    def __init__(self, **kwargs):
        assert not kwargs, kwargs

    @abc.abstractmethod
    def serialize(self):
        """Returns the path of the class and the arguments of its constructor."""

    @abc.abstractmethod
    async def run(self):
        yield
