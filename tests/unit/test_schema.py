"""What comes of it that validators are made late: no start waits for one, and nobody hears of it."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

READ_ONE = """
from fastapi import APIRouter
from onhook.api.schema import Schema

class Order(Schema):
    number: int

router = APIRouter()

@router.post("/orders")
def take(order: Order) -> None: ...

assert not Order.__pydantic_complete__, "made at the start"
print(router.routes[0].body_field.validate({"number": 1}))
"""


def test_the_first_body_of_a_kind_is_read_late_and_without_a_warning() -> None:
    program = [sys.executable, "-W", "error::UserWarning", "-c", READ_ONE]
    done = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("(Order(number=1), [])\n", "")
