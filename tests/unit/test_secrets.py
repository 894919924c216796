"""Tokens, the secret box, and its key file."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from onhook.store.secrets import (
    SecretBox,
    SecretError,
    TokenPrefix,
    hash_token,
    load_or_create_key,
    new_token,
    same_token,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("prefix", ["talq_", "key_"])
def test_a_new_token_has_its_prefix_and_is_never_the_same(prefix: TokenPrefix) -> None:
    tokens = {new_token(prefix) for _ in range(100)}
    assert len(tokens) == 100
    assert all(token.startswith(prefix) and len(token) == len(prefix) + 48 for token in tokens)


def test_a_token_is_hashed_with_sha_256() -> None:
    assert hash_token("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_token_that_is_not_even_valid_text_is_hashed_and_not_an_error() -> None:
    assert hash_token("key_\udc80") != hash_token("key_\udc81")


def test_tokens_are_compared_whole() -> None:
    assert same_token("key_1", "key_1")
    assert not same_token("key_1", "key_2")
    assert not same_token("key_1", "key_1 ")


@pytest.mark.parametrize("secret", ["", "pass word", "pä$$wörd ☎", "x" * 10_000])
def test_a_secret_comes_out_of_the_box_as_it_went_in(secret: str) -> None:
    box = SecretBox(Fernet.generate_key())
    encrypted = box.encrypt(secret)
    assert encrypted.isascii()
    assert encrypted != secret
    assert box.decrypt(encrypted) == secret


def test_the_same_secret_is_never_encrypted_alike() -> None:
    box = SecretBox(Fernet.generate_key())
    assert box.encrypt("secret") != box.encrypt("secret")


def test_another_key_or_damaged_text_is_refused() -> None:
    box = SecretBox(Fernet.generate_key())
    encrypted = box.encrypt("secret")
    damaged = encrypted[:20] + ("A" if encrypted[20] != "A" else "B") + encrypted[21:]
    with pytest.raises(SecretError):
        SecretBox(Fernet.generate_key()).decrypt(encrypted)
    for text in (damaged, "", "not a token", "ä"):
        with pytest.raises(SecretError):
            box.decrypt(text)


def test_a_key_that_is_no_key_is_refused() -> None:
    with pytest.raises(SecretError):
        SecretBox(b"too short")


def test_a_new_key_file_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    load_or_create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_key_stays_the_same_from_start_to_start(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    encrypted = SecretBox(load_or_create_key(path)).encrypt("secret")
    assert SecretBox(load_or_create_key(path)).decrypt(encrypted) == "secret"


def test_a_key_written_by_hand_may_end_with_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    key = Fernet.generate_key()
    path.write_bytes(key + b"\n")
    assert load_or_create_key(path) == key


def test_a_damaged_key_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(b"damaged")
    with pytest.raises(SecretError):
        load_or_create_key(path)
    assert path.read_bytes() == b"damaged"


def test_many_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: load_or_create_key(path), range(16)))
    assert len(keys) == 1
    assert list(tmp_path.iterdir()) == [path]
