"""The base of all bodies that the APIs read and write."""

import warnings

from pydantic import BaseModel, ConfigDict

# FastAPI hides this from its users while it makes a validator, for it is about how FastAPI itself describes a body.
# With validators that are made later it would be told on a node's standard error.
warnings.filterwarnings("ignore", r"The '\w+' attribute with value .+ was provided to the `Field\(\)` function")


class Schema(BaseModel):
    """A body whose validator is made when the first of its kind is read, which takes 4 ms at most.

    There are close to 200, and most are only described, in the OpenAPI documents: a start does not wait for them.
    """

    model_config = ConfigDict(defer_build=True)
