"""The failure sandbox: a carrier on loopback whose numbers go wrong on purpose."""

from onhook.lines.sandbox.calls import CallState, Packet, SandboxCall
from onhook.lines.sandbox.carrier import SandboxCarrier
from onhook.lines.sandbox.numbers import NUMBERS, Number, number_of
from onhook.lines.sandbox.phone import run_phone

__all__ = ["NUMBERS", "CallState", "Number", "Packet", "SandboxCall", "SandboxCarrier", "number_of", "run_phone"]
