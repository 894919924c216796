"""The built-in SIP user agent: messages in, messages out; `transport.py` is the only user of sockets."""
