"""Starting: nothing that is wrong with one trunk keeps a node from ending what the last one left."""

from pathlib import Path

import pytest
from tests.wire.node import running_node

from onhook.provision import DEFAULT_ENVIRONMENT
from onhook.store.secrets import SecretBox, load_or_create_key
from onhook.store.store import TrunkRecord

pytestmark = pytest.mark.wire


async def test_a_trunk_whose_password_cannot_be_read_keeps_no_node_from_starting(tmp_path: Path) -> None:
    locked = SecretBox(load_or_create_key(tmp_path / "another.key")).encrypt("secret")
    async with running_node(tmp_path) as under_test:
        trunk = TrunkRecord(
            "locked", DEFAULT_ENVIRONMENT, "old", "sip:192.0.2.1", created_at=0, username="ann", password=locked
        )
        await under_test.node.store.put(trunk)
    async with running_node(tmp_path) as under_test:
        assert (await under_test.client.get("/v1/calls")).status_code == 200
