"""The failure sandbox: a carrier on loopback whose numbers go wrong on purpose, and a caller."""

from onhook.lines.sandbox.caller import CallerState, OutgoingCall, Plan, SandboxCaller
from onhook.lines.sandbox.calls import CallState, Packet, SandboxCall
from onhook.lines.sandbox.carrier import SandboxCarrier
from onhook.lines.sandbox.numbers import NUMBERS, Number, number_of
from onhook.lines.sandbox.phone import run_call, run_phone

__all__ = [
    "NUMBERS",
    "CallState",
    "CallerState",
    "Number",
    "OutgoingCall",
    "Packet",
    "Plan",
    "SandboxCall",
    "SandboxCaller",
    "SandboxCarrier",
    "number_of",
    "run_call",
    "run_phone",
]
