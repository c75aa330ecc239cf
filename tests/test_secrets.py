"""Secrets: a type that cannot be printed, references that resolve or say what to run, files that others may not read."""

from __future__ import annotations

import copy
import json
import os
import pickle
import traceback
from pathlib import Path

import orjson
import pytest
from pydantic import ValidationError

from syncd.errors import ConfigError
from syncd.redaction import KNOWN
from syncd.secrets import Ref, Secret, SecretError, Vault, fingerprint

PLANTED = "planted-secret-value-1"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "guesty").mkdir()
    return tmp_path


def put(directory: Path, name: str, content: str | bytes, mode: int = 0o600) -> Path:
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "print_it",
    [
        str,
        lambda s: f"{s}",
        lambda s: f"Bearer {s!s}",
        "{}".format,
        "%s".__mod__,
        lambda s: "a" + s,
        lambda s: s.encode(),
    ],
    ids=["str", "f-string", "header", "format", "percent", "concatenation", "encode"],
)
def test_no_text_can_be_made_of_a_secret_by_accident(print_it):
    with pytest.raises((TypeError, AttributeError)) as refused:
        print_it(Secret(PLANTED))
    assert PLANTED not in str(refused.value)


@pytest.mark.parametrize("write_it", [pickle.dumps, json.dumps, orjson.dumps], ids=["pickle", "json", "orjson"])
def test_a_secret_cannot_be_written_out(write_it):
    with pytest.raises(TypeError) as refused:
        write_it(Secret(PLANTED))
    assert PLANTED not in str(refused.value)


def test_repr_shows_nothing_of_it_wherever_it_stands():
    secret = Secret(PLANTED)
    shown = repr([secret, {"x": secret}, Ref(literal=secret)]) + Ref(literal=secret).model_dump_json()
    assert PLANTED not in shown
    assert str(len(PLANTED)) not in repr(secret)


def test_a_traceback_through_a_secret_does_not_show_it():
    try:
        Secret(PLANTED) + ""
    except TypeError as error:
        assert PLANTED not in "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def test_secrets_are_equal_by_value_and_never_to_a_text():
    assert Secret("same-value") == Secret("same-value")
    assert hash(Secret("same-value")) == hash(Secret("same-value"))
    assert Secret("same-value") != Secret("other-value")
    assert Secret("same-value") != "same-value"
    assert Secret("gehäuse-\ud800") == Secret("gehäuse-\ud800")


def test_a_copy_is_the_secret_itself():
    secret = Secret(PLANTED)
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"x": secret})["x"] is secret


def test_a_fingerprint_tells_two_apart_and_is_stable():
    assert fingerprint(Secret("a-value")) == fingerprint(Secret("a-value")) != fingerprint(Secret("b-value"))
    assert len(fingerprint(Secret("a-value"))) == 8


def test_making_a_secret_makes_it_known_to_redaction():
    Secret("made-known-by-being-made")
    assert KNOWN.mask("x made-known-by-being-made y") == "x **** y"


def test_a_reference_reads_as_it_is_written():
    assert Ref.model_validate({"env": "A"}).text == "{env: A}"
    assert Ref.model_validate({"file": "a/b"}).text == "{file: a/b}"
    assert Ref.model_validate({"credential": "key"}).text == "{credential: key}"
    literal = Ref.model_validate("literal-value")
    assert literal.text == f"literal #{fingerprint(Secret('literal-value'))}"
    assert literal.literal.reveal() == "literal-value"


@pytest.mark.parametrize(
    "wrong", [None, 12, True, "", [], {}, {"env": "A", "file": "b"}, {"literal": "x"}, {"env": "a b"}, {"envv": "A"}]
)
def test_anything_else_is_no_reference_and_is_not_repeated(wrong):
    with pytest.raises(ValidationError):
        Ref.model_validate(wrong)


def test_a_variable_a_file_a_credential_and_a_literal_resolve(directory):
    put(directory, "guesty/id", "from-the-file\n")
    credentials = directory / "credentials"
    credentials.mkdir()
    put(credentials, "key", "from-systemd", 0o440)
    vault = Vault(directory, {"TOKEN": "from-the-variable", "CREDENTIALS_DIRECTORY": str(credentials)})
    refs = [Ref(env="TOKEN"), Ref(file="guesty/id"), Ref(credential="key"), Ref(literal=Secret("from-the-yaml"))]
    assert [vault.resolve(ref).reveal() for ref in refs] == [
        "from-the-variable",
        "from-the-file",
        "from-systemd",
        "from-the-yaml",
    ]


@pytest.mark.parametrize(
    ("content", "value"),
    [("value\n", "value"), ("value\r\n", "value"), ("value\n\n", "value\n"), (" value ", " value "), ("a\nb", "a\nb")],
)
def test_one_line_end_belongs_to_the_editor(directory, content, value):
    put(directory, "x", content)
    assert Vault(directory, {}).resolve(Ref(file="x")).reveal() == value


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602, 0o610])
def test_a_file_others_may_use_is_refused_with_the_chmod_to_run(directory, mode):
    path = put(directory, "guesty/my id", PLANTED, mode)
    with pytest.raises(SecretError, match=rf"has mode {mode:04o}") as refused:
        Vault(directory, {}).resolve(Ref(file="guesty/my id"))
    assert refused.value.hint == f"chmod 600 '{path}'"
    assert PLANTED not in str(refused.value)
    path.chmod(0o600)
    assert Vault(directory, {}).resolve(Ref(file="guesty/my id")).reveal() == PLANTED


def test_a_credential_of_systemd_may_show_a_group_but_not_the_world(directory):
    put(directory, "key", PLANTED, 0o444)
    with pytest.raises(SecretError, match="mode 0444"):
        Vault(None, {"CREDENTIALS_DIRECTORY": str(directory)}).resolve(Ref(credential="key"))


@pytest.mark.parametrize(
    ("ref", "message", "hint"),
    [
        (Ref(env="ABSENT"), "environment variable ABSENT is not set", "set ABSENT"),
        (Ref(env="BLANK"), "environment variable BLANK is empty", ""),
        (Ref(file="absent"), "absent does not exist", "install -m 600"),
        (Ref(file="guesty"), "is not an ordinary file", ""),
        (Ref(file="empty"), "is empty", ""),
        (Ref(file="binary"), "is not UTF-8", ""),
        (Ref(file="huge"), "larger than 64 KiB", ""),
        (Ref(file="nul"), "NUL", ""),
        (Ref(file="../outside"), "leaves the secrets directory", "absolute"),
        (Ref(file="guesty/../../outside"), "leaves the secrets directory", "absolute"),
        (Ref(credential="key"), "systemd passed none", "LoadCredential=key"),
        (Ref(file="pipe"), "is not an ordinary file", ""),
    ],
    ids=lambda value: value.text if isinstance(value, Ref) else "",
)
def test_what_cannot_be_resolved_says_why_and_what_to_do(directory, ref, message, hint):
    put(directory, "empty", "\n")
    put(directory, "binary", b"\xff\xfe\x00")
    put(directory, "huge", b"x" * 70_000)
    put(directory, "nul", "a\0b")
    os.mkfifo(directory / "pipe", 0o600)
    with pytest.raises(ConfigError, match=message) as refused:
        Vault(directory, {"BLANK": " "}).resolve(ref)
    assert hint in refused.value.hint


def test_a_relative_file_without_a_directory_says_which_line_to_add():
    with pytest.raises(SecretError, match="no secrets directory") as refused:
        Vault(None, {}).resolve(Ref(file="guesty/id"))
    assert "secrets: {directory:" in refused.value.hint


def test_a_value_holds_until_the_reload_and_the_old_one_stays_masked(directory):
    put(directory, "x", "first-value-of-x")
    vault = Vault(directory, {})
    assert vault.resolve(Ref(file="x")).reveal() == "first-value-of-x"
    put(directory, "x", "second-value-of-x")
    assert vault.resolve(Ref(file="x")).reveal() == "first-value-of-x"
    before = vault.fingerprints()
    vault.reload()
    assert vault.resolve(Ref(file="x")).reveal() == "second-value-of-x"
    assert vault.fingerprints()[Ref(file="x")] != before[Ref(file="x")]
    assert KNOWN.mask("first-value-of-x second-value-of-x") == "**** ****"
