"""Benchmarks with gates: each module measures one promise and fails past its gate.

`python -m benchmarks` runs all, `python -m benchmarks NAME ...` some, `python -m benchmarks.NAME` one.
"""
