"""The npm retell-sdk against a running server: stop, list, and the signature of webhooks."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.dialect.server_process import local_environment, serving

pytestmark = pytest.mark.dialect

HERE = Path(__file__).parent / "npm"
INSTALL = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
INSTALL_LIMIT_S = 120
DRIVE_LIMIT_S = 60


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the SDK is installed. Without npm or its registry the test is skipped, but not in CI."""
    directory = tmp_path_factory.mktemp("npm")
    reason = None
    if shutil.which("npm") is None or shutil.which("node") is None:
        reason = "node and npm are not installed"
    else:
        for name in ("package.json", "drive.mjs"):
            shutil.copy(HERE / name, directory / name)
        try:
            installed = subprocess.run(
                INSTALL, cwd=directory, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
            )
            reason = f"npm cannot install retell-sdk: {installed.stderr[-300:]}" if installed.returncode else None
        except subprocess.TimeoutExpired:
            reason = "npm cannot install retell-sdk: it took too long"
    if reason is not None:
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    return directory


@pytest.fixture(scope="module")
def seen(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the SDK saw of one call, from create to the webhook of its end."""
    cwd = tmp_path_factory.mktemp("server")
    with serving(cwd, local_environment(), "--sandbox"):
        sandbox = json.loads((cwd / "onhook-data" / "sandbox.json").read_text())
        origin = sandbox["base_url"]
        headers = {"Authorization": f"Bearer {sandbox['token']}"}
        key = httpx.post(f"{origin}/v1/keys", json={"name": "npm", "signs_webhooks": True}, headers=headers).json()
        command = ["node", "drive.mjs", origin, key["token"], sandbox["agent_id"], sandbox["from_number"]]
        driven = subprocess.run(
            command, cwd=package, capture_output=True, text=True, timeout=DRIVE_LIMIT_S, check=False
        )
    assert driven.returncode == 0, driven.stderr
    saw: dict[str, Any] = json.loads(driven.stdout)
    return saw


def test_stop_returns_null_and_does_so_again(seen: dict[str, Any]) -> None:
    assert (seen["stopped"], seen["again"]) == (None, None)
    assert (seen["shown"]["call_status"], seen["shown"]["disconnection_reason"]) == ("ended", "manual_stopped")


def test_list_finds_the_call(seen: dict[str, Any]) -> None:
    of_the_conversation = {"transcript", "transcript_object", "transcript_with_tool_calls", "latency"}
    shown = {name: value for name, value in seen["shown"].items() if name not in of_the_conversation}
    assert seen["listed"]["items"] == [shown]
    assert seen["listed"]["has_more"] is False


def test_webhooks_are_verified_and_forged_ones_are_not(seen: dict[str, Any]) -> None:
    for event in ("call_started", "call_ended"):
        assert (seen[event]["verified"], seen[event]["forged"]) == (True, False)
        assert seen[event]["call"]["call_id"] == seen["call"]["call_id"]
    assert seen["call_started"]["call"]["call_status"] == "ongoing"
    assert "end_timestamp" not in seen["call_started"]["call"]
    end = seen["call_ended"]["call"]
    assert end["end_timestamp"] == seen["shown"]["end_timestamp"]
    assert "call_analysis" not in end


def test_errors_carry_the_status_and_the_message(seen: dict[str, Any]) -> None:
    assert seen["unknown"]["status"] == 422
    assert "Cannot find requested asset under given api key." in seen["unknown"]["message"]
    assert seen["empty"]["status"] == 400
