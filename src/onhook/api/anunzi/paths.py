"""How ids stand in paths."""

from starlette.convertors import StringConvertor, register_url_convertor


class AnyText(StringConvertor):
    """Takes whatever follows: slashes, line breaks, nothing. A malformed id is a bad request, not an unknown route."""

    regex = r"[\s\S]*"


register_url_convertor("any", AnyText())

CALL_ID = "{call_id:any}"
