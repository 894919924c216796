"""The bodies of batch calls and concurrency."""

from typing import Any

from pydantic import ConfigDict, Field

from onhook.api.anunzi.schemas import CallTask
from onhook.api.schema import Schema

MAX_TASKS = 1000


class CreateBatchCall(Schema):
    """Call many numbers from one of the environment's, now or later."""

    model_config = ConfigDict(strict=True)

    from_number: str = Field(min_length=1)
    tasks: list[CallTask] = Field(min_length=1, max_length=MAX_TASKS)
    name: str | None = Field(default=None, max_length=255)
    trigger_timestamp: int | None = Field(
        default=None, ge=0, description="When to begin, ms since the epoch; at once when absent or past"
    )
    reserved_concurrency: int | None = Field(default=None, description="No effect: there is no limit to reserve from")
    call_time_window: dict[str, Any] | None = Field(
        default=None, description="Not supported: anything but null answers 400"
    )


class BatchCall(Schema):
    """A batch whose calls are scheduled."""

    batch_call_id: str
    name: str
    from_number: str
    scheduled_timestamp: int
    total_task_count: int


class Concurrency(Schema):
    """How many calls are on the line."""

    current_concurrency: int
