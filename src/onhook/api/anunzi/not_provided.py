"""What Retell has and onhook has not: refused in Retell's words, with what is missing named."""

from fastapi import APIRouter

from onhook.api.anunzi.errors import COMMON, failure
from onhook.api.anunzi.paths import CALL_ID
from onhook.api.anunzi.schemas import Error
from onhook.api.routing import CallerRequest, CheckedRoute

NOT_PROVIDED: tuple[tuple[str, str, str], ...] = (
    ("POST", "/v2/create-web-call", "Web calls are"),
    ("POST", "/v3/create-web-call", "Web calls are"),
    ("PATCH", f"/v2/update-live-call/{CALL_ID}", "Updating a live call is"),
    ("POST", f"/v2/listen-live-call/{CALL_ID}", "Listening to a live call is"),
    ("POST", f"/v2/take-over-live-call/{CALL_ID}", "Taking over a live call is"),
    ("PUT", f"/rerun-call-analysis/{CALL_ID}", "Call analysis is"),
    ("POST", "/create-phone-number", "Buying phone numbers is"),
)
"""Method, path, and what it would be. 400 is a status that Retell's pages list, and that no SDK repeats."""

router = APIRouter(route_class=CheckedRoute, tags=["not provided"])


def _refuse(method: str, path: str, what: str) -> None:
    async def refuse(request: CallerRequest) -> Error:
        del request
        raise failure(400, f"{what} not provided by this server.")

    answers = {status: answer for status, answer in COMMON.items() if status != 422}
    router.add_api_route(
        path,
        refuse,
        methods=[method],
        status_code=400,
        summary="Not provided",
        description=f"{what} not provided: always 400.",
        operation_id=f"refuse_{path.split('{', maxsplit=1)[0].strip('/').replace('/', '_').replace('-', '_')}",
        responses=answers,
    )


for _method, _path, _what in NOT_PROVIDED:
    _refuse(_method, _path, _what)
