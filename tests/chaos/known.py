"""Bugs that the suite has found and that are not mended yet, as reasons for `xfail`."""

ENGINE_FORGETS_GOODBYES = (
    "the SIP engine writes down neither the dialog of an answer that comes after a stop, nor the CSeqs that its BYEs "
    "have used: a crash then leaves a ghost call"
)
