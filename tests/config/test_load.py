"""Loading as a whole: several mistakes at once, partial results, inheritance, switches, lints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from syncd import drivers
from syncd.config import ConfigProblems, Facts, Finding, Rate, load, parse_rate, render
from syncd.config.facts import Elsewhere, KnownTier
from syncd.errors import ConfigError
from syncd.model import History
from syncd.secrets import Ref
from tests.config.facts import DRIVERS, GUESTY


def write(directory: Path, name: str, text: str) -> None:
    (directory / "partners" / f"{name}.yaml").write_text(text)


def loaded(directory: Path, env: dict[str, str] | None = None, **more):
    return load(directory, drivers=DRIVERS, env=env or {}, **more)


def test_a_sound_directory_loads_without_a_word(good):
    found = loaded(good)
    assert found.problems == ()
    config = found.require()
    assert list(config.partners) == ["attio", "guesty"]
    guesty = config.partners["guesty"]
    assert guesty.name == "guesty"
    assert guesty.integrations["acme"].name == "acme"
    assert guesty.integrations["acme"].credentials["client_id"] == Ref(file="guesty/id")
    assert [tier.rate for tier in guesty.limits.tiers] == [Rate(5, 1.0), Rate(80, 60.0)]
    assert set(config.integrations) == {"acme", "crm"}


def test_a_configuration_without_a_partner_says_what_to_copy(good):
    for name in ("guesty", "attio"):
        (good / "partners" / f"{name}.yaml").rename(good / "partners" / f"{name}.yaml.example")
    found = loaded(good)
    assert found.require().partners == {}
    (told,) = found.problems
    assert told.severity == "warning" and "no partner has a file" in told.message
    assert "attio.yaml.example" in told.help and "(attio, guesty)" in told.help


def test_a_contract_whose_document_is_not_there_is_told_at_its_name(good):
    text = "driver: guesty\ncontract: {spec: %s}\n" + ACME
    write(good, "guesty", text % "specs/guesty.json")
    (told,) = loaded(good).problems
    assert (told.severity, told.line, told.column) == ("warning", 2, 18)
    assert "specs/guesty.json" in told.message
    (good / "specs").mkdir()
    (good / "specs" / "guesty.json").write_text("{}")
    assert loaded(good).problems == ()
    write(good, "guesty", text % "[specs/guesty.json, specs/new.json]")
    assert [one.column for one in loaded(good).problems] == [38]


def test_the_main_file_may_be_named_itself(good):
    assert loaded(good / "syncd.yaml").require() == loaded(good).require()


def test_partners_alone_are_a_configuration(good):
    (good / "syncd.yaml").unlink()
    config = loaded(good).require()
    assert str(config.server.listen) == "127.0.0.1:8080"
    assert set(config.partners) == {"attio", "guesty"}


def test_nothing_there_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml: error: cannot be read: No such file"):
        loaded(tmp_path / "absent.yaml").require()


def test_every_mistake_of_every_file_is_told_in_one_run(good):
    (good / "syncd.yaml").write_text("log: {level: loud}\ndrain: 30\n")
    write(
        good,
        "guesty",
        "driver: guesty\nworkers: 0\nresources: {lists: {every: 15}}\nintegrations: {a: {adapter: v9}}\n",
    )
    write(good, "attio", "driver: attio\nintegrations:\n  crm: {credentials: {tokn: {env: A}}}\n")
    found = loaded(good)
    told = [(Path(problem.file).name, problem.line, problem.message) for problem in found.errors]
    assert [(file, line) for file, line, _ in sorted(told)] == [
        ("attio.yaml", 3),
        ("guesty.yaml", 2),
        ("guesty.yaml", 3),
        ("guesty.yaml", 3),
        ("guesty.yaml", 4),
        ("guesty.yaml", 4),
        ("guesty.yaml", 4),
        ("syncd.yaml", 1),
        ("syncd.yaml", 2),
    ], render(found.errors)
    report = render(found.problems)
    assert report.index("attio.yaml") < report.index("guesty.yaml") < report.index("syncd.yaml")
    assert report.endswith("9 errors in 3 files")


def test_one_broken_partner_does_not_hide_the_others(good):
    write(good, "guesty", "driver: guesty\nworkers: none\n")
    found = loaded(good)
    assert found.broken_partners == {"guesty"}
    assert set(found.config.partners) == {"attio"}
    assert all(problem.partner == "guesty" for problem in found.errors)
    with pytest.raises(ConfigProblems):
        found.require()


def test_a_reload_keeps_the_broken_partner_and_applies_the_rest(good):
    old = loaded(good).require()
    write(good, "guesty", "driver: guesty\nworkers: none\n")
    write(good, "attio", "driver: attio\nworkers: 3\nintegrations: {crm: {credentials: {token: {env: NEW}}}}\n")
    (good / "syncd.yaml").write_text("log: {level: debug}\n")
    kept = loaded(good).keeping(old)
    assert kept.partners["guesty"] is old.partners["guesty"]
    assert kept.partners["attio"].workers == 3
    assert kept.log.level == "debug"


def test_a_reload_with_a_broken_main_file_changes_nothing(good):
    old = loaded(good).require()
    (good / "syncd.yaml").write_text("log: {level: loud}\n")
    write(good, "attio", "driver: attio\nworkers: 3\nintegrations: {crm: {credentials: {token: {env: NEW}}}}\n")
    assert loaded(good).keeping(old) is old


def test_a_partner_whose_file_is_gone_is_gone_after_the_reload(good):
    old = loaded(good).require()
    (good / "partners" / "attio.yaml").unlink()
    assert set(loaded(good).keeping(old).partners) == {"guesty"}


def test_a_partner_renamed_into_a_broken_file_stays(good):
    old = loaded(good).require()
    (good / "partners" / "attio.yaml").rename(good / "partners" / "Attio.yaml")
    found = loaded(good)
    assert found.broken_partners == {"Attio"}
    assert set(found.keeping(old).partners) == {"attio", "guesty"}


def test_a_new_partner_cannot_take_a_name_that_a_kept_one_holds(good):
    old = loaded(good).require()
    write(good, "guesty", "driver: guesty\nworkers: none\n")
    write(good, "rival", "driver: attio\nintegrations: {acme: {credentials: {token: {env: RIVAL}}}}\n")
    kept = loaded(good).keeping(old)
    assert set(kept.partners) == {"attio", "guesty"}
    assert kept.integrations["acme"][0].name == "guesty"


def test_settings_of_a_resource_fall_from_partner_to_integration(good):
    partner = loaded(good).require().partners["guesty"]
    assert partner.resource("acme", "listings").every == 900.0
    reservations = partner.resource("acme", "reservations")
    assert (reservations.every, reservations.history) == (300.0, History.FULL)
    assert partner.resource("acme", "guests").every is None
    write(
        good,
        "guesty",
        "driver: guesty\nresources: {guests: {every: 1h, overlap: 5m}}\nintegrations:\n"
        "  acme:\n    credentials: {client_id: {env: A}, client_secret: {env: B}}\n"
        "    resources: {guests: {cron: '0 3 * * *'}}\n",
    )
    guests = loaded(good).require().partners["guesty"].resource("acme", "guests")
    assert (guests.every, guests.cron, guests.overlap) == (None, "0 3 * * *", 300.0)


def test_empty_sections_mean_their_defaults(good):
    (good / "syncd.yaml").write_text("database:\nserver:\nretention:\n")
    write(good, "guesty", "driver: guesty\nlimits:\nresources:\n  listings:\noptions:\nintegrations:\n")
    found = loaded(good)
    assert found.errors == ()
    assert found.config.database.pool_size == 10
    assert [problem.message for problem in found.warnings] == ["no integrations: nothing will be synced"]


@pytest.mark.parametrize(
    ("word", "enabled"), [("false", False), ("0", False), ("OFF", False), ("true", True), ("1", True)]
)
def test_the_environment_switches_a_partner(good, word, enabled):
    config = loaded(good, {"SYNCD_PARTNER_GUESTY_ENABLED": word}).require()
    assert config.partners["guesty"].is_enabled("acme") is enabled
    assert config.partners["attio"].is_enabled("crm")


def test_the_environment_switches_one_integration_and_overrides_the_file(good):
    write(good, "attio", "driver: attio\nintegrations: {crm-eu: {enabled: false, credentials: {token: {env: A}}}}\n")
    assert not loaded(good).require().partners["attio"].is_enabled("crm-eu")
    env = {"SYNCD_INTEGRATION_CRM_EU_ENABLED": "true", "SYNCD_INTEGRATION_ACME_ENABLED": "false"}
    partners = loaded(good, env).require().partners
    assert partners["attio"].is_enabled("crm-eu")
    assert not partners["guesty"].is_enabled("acme")


def test_a_switch_nobody_can_read_refuses_to_start(good):
    found = loaded(good, {"SYNCD_PARTNER_GUESTY_ENABLED": "flase"})
    assert "SYNCD_PARTNER_GUESTY_ENABLED is 'flase'" in found.errors[0].message
    assert found.errors[0].place == "environment"


def test_a_switch_for_nobody_is_a_warning(good):
    found = loaded(good, {"SYNCD_INTEGRATION_ACNE_ENABLED": "false"})
    assert found.errors == ()
    assert "switches nothing" in found.warnings[0].message
    assert "ACME" in found.warnings[0].help


def test_a_literal_secret_is_a_warning_and_an_error_when_strict(good):
    write(good, "attio", "driver: attio\nintegrations: {crm: {credentials: {token: planted-literal}}}\n")
    found = loaded(good)
    assert [problem.severity for problem in found.problems] == ["warning"]
    assert found.require()
    strict = loaded(good, strict=True)
    assert "a secret stands in the file itself" in strict.errors[0].message
    assert "planted-literal" not in render(strict.problems) + render(strict.problems, "github") + repr(strict)


def test_a_database_url_is_a_secret_only_with_a_password(good):
    (good / "syncd.yaml").write_text("database: {url: 'postgresql:///syncd'}\n")
    assert loaded(good).problems == ()
    (good / "syncd.yaml").write_text("database: {url: 'postgresql://syncd:hunter2hunter2@db/syncd'}\n")
    found = loaded(good)
    assert len(found.warnings) == 1
    assert "hunter2" not in render(found.problems)


@pytest.mark.parametrize(
    "text",
    [
        "driver: attio\nintegrations: {crm: {credentials: {tokn: planted-secret-1}}}\n",
        "driver: attio\nintegrations: {crm: {credentials: planted-secret-1}}\n",
        "driver: attio\nbase_url: https://user:planted-secret-1@api.example\nintegrations: {crm: {}}\n",
        "driver: attio\nbase_url: htp://user:planted-secret-1@api.example\nintegrations: {crm: {}}\n",
        "driver: attio\nintegrations: {crm: {credentials: [planted-secret-1]}}\n",
        "driver: attio\nintegrations:\n  crm:\n    credentials: {token: planted-secret-1\n",
        "driver: attio\nintegrations:\n  crm:\n    credentials:\n      api_token: planted-secret-1\n      : :\n",
        "driver: attio\nintegrations:\n  crm:\n    webhook: {secrets: planted-secret-1}\n",
        "driver: attio\nintegrations:\n  crm:\n    credentials: {token: {fle: planted-secret-1}}\n",
        "driver: attio\nintegrations:\n  crm:\n    credentials:\n      token: |\n        planted-secret-1\n      x: 1\n",
    ],
)
def test_no_report_of_a_mistake_shows_a_literal(good, text):
    write(good, "attio", text)
    found = loaded(good)
    assert found.errors
    assert "planted-secret" not in render(found.problems) + render(found.problems, "github")


def test_two_integrations_on_one_credential_are_told_unless_they_share_a_scope(good):
    text = (
        "driver: attio\nintegrations:\n  one: {%s credentials: {token: {env: A}}}\n"
        "  two: {%s credentials: {token: {env: A}}}\n"
    )
    write(good, "attio", text % ("", ""))
    found = loaded(good)
    assert ["'one' uses this credential too" in problem.message for problem in found.warnings] == [True]
    assert found.warnings[0].line == 4
    write(good, "attio", text % ("scope: a,", "scope: a,"))
    assert loaded(good).problems == ()


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("driver: attio", "driver: guesty", []),
        ("driver: attio\nbase_url: http://127.0.0.1:8101", "driver: guesty\nbase_url: http://127.0.0.1:8102", []),
        (
            "driver: attio\nbase_url: https://one.example/a",
            "driver: guesty\nbase_url: https://one.example/b",
            ["'one'"],
        ),
        ("driver: attio", "driver: attio\nbase_url: https://eu.example", ["'one'"]),
    ],
)
def test_a_credential_that_two_companies_have_by_one_name_is_counted_by_each_alone(good, first, second, told):
    both = {
        name: Facts(credentials={"token": True}, base_url=f"https://{name}.example") for name in ("attio", "guesty")
    }
    write(good, "attio", first + "\nintegrations: {one: {credentials: {token: {env: A}}}}\n")
    write(good, "guesty", second + "\nintegrations: {two: {credentials: {token: {env: A}}}}\n")
    found = load(good, drivers={**DRIVERS, **both}, env={})
    shared = [one for one in found.warnings if "uses this credential too" in one.message]
    assert [one.message.split()[0] for one in shared] == told
    assert all("one file" in (one.help or "") for one in shared), "a scope is one file's"


def scopes(good, counted_by, *integrations):
    known = {
        **DRIVERS,
        "attio": Facts(credentials={"token": True}, base_url="https://x.example", counted_by=counted_by),
    }
    write(good, "attio", "driver: attio\nintegrations:\n" + "".join(f"  {one}\n" for one in integrations))
    found = load(good, drivers=known, env={})
    partner = found.require().partners["attio"]
    return [partner.scope_for(name).removeprefix("attio/") for name in partner.integrations], found.warnings


KEYS = [
    "one: {credentials: {token: {env: A}}}",
    "two: {credentials: {token: {env: B}}}",
    "three: {credentials: {token: {env: A}}}",
]


@pytest.mark.parametrize(
    ("counted_by", "expected", "told"),
    [
        ("account", ["one", "two", "three"], ["'one' uses this credential too"]),
        ("credential", ["one", "two", "one"], []),
        ("client", ["one", "one", "one"], ["it spends from the limits of 'one'"]),
        ("partner", ["one", "one", "one"], []),
    ],
)
def test_integrations_that_the_partner_counts_together_share_one_scope_by_themselves(good, counted_by, expected, told):
    found, warnings = scopes(good, counted_by, *KEYS)
    assert found == expected
    assert [one.message[: len(start)] for one, start in zip(warnings, told, strict=True)] == told


def test_a_scope_in_the_file_comes_before_what_the_driver_knows(good):
    apart = "one: {scope: a, accept_risk: true, credentials: {token: {env: A}}}"
    other = "two: {scope: b, accept_risk: true, credentials: {token: {env: A}}}"
    for counted_by in ("credential", "client", "partner"):
        assert scopes(good, counted_by, apart, other) == (["a", "b"], ())
    assert scopes(good, "credential", apart, "two: {credentials: {token: {env: A}}}") == (["a", "a"], ())


def test_two_integrations_of_one_grant_are_a_mistake_whatever_scope_they_share_and_in_whichever_file(good):
    facts = Facts(credentials={"refresh_token": True}, base_url="https://x.example", replaced=("refresh_token",))
    known = {**DRIVERS, "attio": facts}
    text = "driver: attio\nintegrations:\n  %s: {scope: a, %s credentials: {refresh_token: {env: %s}}}\n"
    both = text % ("one", "", "A") + "  two: {scope: a, %s credentials: {refresh_token: {env: %s}}}\n"
    write(good, "attio", both % ("", "A"))
    found = load(good, drivers=known, env={})
    assert [(one.line, "the same refresh_token as one" in one.message) for one in found.errors] == [(4, True)]
    assert "attio" in found.broken_partners
    for sound in (("", "B"), ("enabled: false,", "A")):
        write(good, "attio", both % sound)
        assert load(good, drivers=known, env={}).problems == ()
    switch = "SYNCD_INTEGRATION_TWO_ENABLED"
    assert [one.line for one in load(good, drivers=known, env={switch: "true"}).errors] == [4], "it runs"
    write(good, "attio", both % ("", "A"))
    assert load(good, drivers=known, env={switch: "false"}).problems == ()
    write(good, "attio", both % ("accept_risk: true,", "A"))
    found = load(good, drivers=known, env={})
    assert (found.errors, ["refresh_token as one" in one.message for one in found.warnings]) == ((), [True])
    write(good, "attio", text % ("one", "", "A"))
    write(good, "crm", text % ("two", "", "A"))
    (error,) = load(good, drivers=known, env={}).errors
    assert (error.partner, "as one" in error.message) == ("crm", True)


def test_a_real_driver_tells_what_each_use_replaces(good):
    text = "driver: cloudbeds\noptions: {auth: %s, properties: ['1']}\nintegrations:\n"
    keys = "client_id: {env: A}, client_secret: {env: B}, refresh_token: {env: C}"
    for name in ("one", "two"):
        text += f"  {name}: {{scope: a, credentials: {{{keys}}}}}\n"
    write(good, "cloudbeds", text % "oauth")
    messages = [one.message for one in load(good, drivers=drivers.facts(), env={}).errors if one.partner == "cloudbeds"]
    assert [message.partition(":")[0] for message in messages] == ["the same refresh_token as one"]


def test_which_account_each_is_of_is_asked_of_the_integrations_of_one_application_whose_address_is_one(good):
    line = "  %s: {scope: a, %s credentials: {client_id: {env: %s}, client_secret: {env: S%s}, refresh_token: {env: %s}}}\n"

    def told(one: str, two: str, other: str = "A", hook: str = "webhook: {secrets: [{env: H}]},") -> list[str]:
        text = line % ("one", hook + one, "A", "A", "R1") + line % ("two", two, other, other, "R2")
        write(good, "airbnb", "driver: airbnb\nintegrations:\n" + text)
        found = load(good, drivers=drivers.facts(), env={})
        assert not found.errors
        return [one.message.partition(",")[0] for one in found.warnings if one.partner == "airbnb"]

    says = "options: {host_id: %d},"
    assert told("", says % 2) == ["of one application with two"]
    assert told(says % 1, "") == ["of one application with one"]
    assert told(says % 1, says % 2) == told("", "", other="B") == told("", "", hook="") == []


def test_two_integrations_that_would_empty_one_queue_are_a_mistake_whatever_scope_they_share(good):
    known = {**DRIVERS, "attio": Facts(credentials={"token": True}, base_url="https://x.example", queues=True)}
    text = (
        "driver: attio\nintegrations:\n  one: {scope: a, credentials: {token: {env: A}}}\n"
        "  two: {scope: a, %s credentials: {token: {env: %s}}}\n"
    )
    write(good, "attio", text % ("", "A"))
    (found,) = load(good, drivers=known, env={}).errors
    assert (found.line, "the same credentials as one" in found.message) == (4, True)
    for sound in (("", "B"), ("enabled: false,", "A"), ("accept_risk: true,", "A")):
        write(good, "attio", text % sound)
        assert load(good, drivers=known, env={}).errors == ()


def test_a_webhook_without_a_secret_is_told_whether_the_partner_signs_or_not(good):
    text = "driver: attio\nintegrations: {crm: {%s credentials: {token: {env: A}}, webhook: {}}}\n"
    write(good, "attio", text % "")
    assert loaded(good).warnings[0].message.endswith("every delivery is refused")
    real = load(good, drivers=drivers.facts(), env={}).warnings[0].message
    assert real.endswith("every delivery is refused until `syncd webhook register crm` has obtained one")
    known = {"credentials": {"token": True}, "base_url": "https://x.example"}
    unsigned = {**DRIVERS, "attio": Facts(**known, signs_webhooks=False)}
    assert "part of its URL must be one" in load(good, drivers=unsigned, env={}).warnings[0].message
    deaf = {**DRIVERS, "attio": Facts(**known, signs_webhooks=False, webhooks=False)}
    assert load(good, drivers=deaf, env={}).problems == ()
    write(good, "attio", text % "accept_risk: true,")
    assert loaded(good).problems == ()


REST = """\
driver: rest
rest: {base_url: 'https://x.example', resources: {boats: {path: /boats, id: id}},
       webhooks: {verify: hmac_sha256, header: X-Signature, routes: {boat.changed: boats}}}
integrations:
  one: {webhook: {secrets: [{env: A}], rules: {%s}}}
"""


def test_an_accounts_own_rules_are_checked_like_the_descriptions(good):
    write(good, "boats", REST % "header: X-Other, tolerance: 1m")
    assert load(good, drivers=drivers.facts(), env={}).problems == ()
    write(good, "boats", REST % "hedaer: X-Other")
    found = [problem for problem in load(good, drivers=drivers.facts(), env={}).errors if problem.partner == "boats"]
    assert len(found) == 1 and "hedaer" in found[0].message and found[0].line == 5
    write(good, "attio", "driver: attio\nintegrations: {crm: {credentials: {token: {env: A}}, "
          "webhook: {secrets: [{env: A}], rules: {tolerance: 1m, hedaer: X}}}}\n")  # fmt: skip
    found = [problem for problem in load(good, drivers=drivers.facts(), env={}).errors if problem.partner == "attio"]
    assert len(found) == 1 and "hedaer" in found[0].message and found[0].line == 2


def test_where_a_partner_reaches_us_is_said_once_for_all_or_for_one_account(good):
    text = (
        "driver: attio\nintegrations:\n  crm: {credentials: {token: {env: A}}}\n  two: {scope: crm, "
        "credentials: {token: {env: A}}, webhook: {secrets: [{env: B}], url: 'https://h.example/x/'}}\n"
    )
    write(good, "attio", text)
    config = loaded(good).require()
    assert (config.webhook_url("crm"), config.webhook_url("two")) == ("", "https://h.example/x")
    public = config.server.model_copy(update={"public_url": "https://sync.example.com"})
    config = config.model_copy(update={"server": public})
    assert config.webhook_url("crm") == "https://sync.example.com/webhooks/attio/crm"
    assert config.webhook_url("two") == "https://h.example/x"


def test_plain_http_to_another_machine_is_told_and_to_this_one_is_not(good):
    text = "driver: attio\nintegrations: {crm: {base_url: '%s', credentials: {token: {env: A}}}}\n"
    write(good, "attio", text % "http://api.attio.com")
    assert "plain http" in loaded(good).warnings[0].message
    for url in ("http://127.0.0.1:9100/v2", "http://localhost:9100", "http://[::1]:9100"):
        write(good, "attio", text % url)
        assert loaded(good).problems == ()
    two = "driver: attio\nbase_url: 'http://api.attio.com'\nintegrations:\n"
    write(good, "attio", two + "  crm: {credentials: {token: {env: A}}}\n  two: {credentials: {token: {env: B}}}\n")
    assert [(told.line, "plain http" in told.message) for told in loaded(good).warnings] == [(2, True)], "once a place"


def test_accepted_risk_allows_a_looser_limit(good):
    text = "driver: guesty\nlimits: {tiers: [50/s], accept_risk: %s}\nintegrations:\n"
    text += "  acme: {credentials: {client_id: {env: A}, client_secret: {env: B}}}\n"
    write(good, "guesty", text % "false")
    assert "50/s is above the limit this driver knows, 10/s" in loaded(good).errors[0].message
    write(good, "guesty", text % "true")
    assert loaded(good).problems == ()


ACME = "integrations:\n  acme: {credentials: {client_id: {env: A}, client_secret: {env: B}}}\n"
"""Its driver uses 70 % of 10/s, 120/min and 5000/h, and makes four calls at once."""


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ("tiers: [7/s]", None),
        ("tiers: [84/min]", None),
        ("tiers: [100/10s]", None),  # beside 10/s, which holds as well
        ("tiers: [{rate: 10/s, share: 0.7}]", None),
        ("tiers: [{rate: 100/s, budget: write}]", None),  # counts other calls, beside those the driver knows
        ("share: 0.7", None),
        ("concurrency: 4", None),
        ("tiers: [8/s]", "8/s would be used of the stated 10/s, and this driver uses 7"),
        ("tiers: [10/s]", "10/s would be used of the stated 10/s, and this driver uses 7"),
        ("tiers: [120/60s]", "120/min would be used of the stated 120/min, and this driver uses 84"),
        ("tiers: [{rate: 10/s, share: 0.8}]", "8 calls would be used of the stated 10/s, and this driver uses 7"),
        ("tiers: [{rate: 4/s, kind: bucket, burst: 5}]", "9 calls would be used of the stated 10/s"),
        ("tiers: [11/s]", "11/s is above the limit this driver knows, 10/s"),
        ("tiers: [121/min]", "121/min is above the limit this driver knows, 120/min"),
        ("tiers: [101/10s]", "101/10s is above the limit this driver knows, 10/s"),
        ("share: 0.71", "share 0.71 of what is stated is more than the 0.7 this driver uses"),
        ("concurrency: 5", "5 calls at once are more than the 4 this driver makes"),
    ],
)
def test_a_limit_is_looser_where_more_would_be_used_than_the_driver_uses(good, limits, told):
    write(good, "guesty", f"driver: guesty\nlimits: {{{limits}}}\n{ACME}")
    found = loaded(good)
    assert [one.message[: len(told or "")] for one in found.errors] == ([] if told is None else [told])
    write(good, "guesty", f"driver: guesty\nlimits: {{{limits}, accept_risk: true}}\n{ACME}")
    assert loaded(good).problems == ()


@pytest.mark.parametrize(
    ("tier", "told"),
    [
        ("7/s", None),
        ("{rate: 7/s, kind: bucket, burst: 70}", None),
        ("{rate: 10/s, kind: bucket, burst: 100, share: 0.7}", None),
        ("{rate: 2/s, kind: bucket}", None),  # a burst of two
        ("8/s", "8/s would be used of the stated 10/s, and this driver uses 7"),
        ("77/s", "77/s is above the limit this driver knows, 10/s"),
        ("{rate: 70/s, kind: bucket, burst: 7}", "70/s is above the limit this driver knows, 10/s"),
        (
            "{rate: 7/s, kind: bucket, burst: 71}",
            "a burst of 71 calls would be used of the stated 100, and this driver uses 70",
        ),
        ("{rate: 7/s, kind: bucket, burst: 101}", "a burst of 101 is above the 100 that this driver knows"),
    ],
)
def test_beside_a_bucket_what_refills_and_what_it_holds_are_compared_one_by_one(good, tier, told):
    bucket = KnownTier(parse_rate("10/s"), 0.7, bucket=True, burst=100)
    known = {**DRIVERS, "guesty": replace(DRIVERS["guesty"], tiers=(bucket,))}
    write(good, "guesty", f"driver: guesty\nlimits: {{tiers: [{tier}]}}\n{ACME}")
    found = load(good, drivers=known, env={})
    assert [one.message[: len(told or "")] for one in found.errors] == ([] if told is None else [told])


def test_what_a_driver_itself_uses_may_be_written(good):
    five = {**DRIVERS, "guesty": replace(DRIVERS["guesty"], tiers=(KnownTier(parse_rate("5/s"), 0.7),))}
    write(good, "guesty", f"driver: guesty\nlimits: {{tiers: [{{rate: 5/s, share: 0.7}}]}}\n{ACME}")
    assert load(good, drivers=five, env={}).problems == ()


def test_settings_of_a_resource_that_its_driver_leaves_off_do_not_switch_it_on(good):
    for settings, warned in (
        ("{schema: freeze}", True),
        ("{enabled: true, schema: freeze}", False),
        ("{enabled: false}", False),
    ):
        write(good, "guesty", f"driver: guesty\nresources: {{guests: {settings}}}\n{ACME}")
        found = loaded(good)
        assert found.errors == ()
        assert [(one.line, one.column) for one in found.warnings] == ([(2, 13)] if warned else [])


def test_settings_of_the_partner_for_one_that_is_off_are_of_use_where_one_integration_has_it_on(good):
    text = "driver: guesty\nresources: {guests: {every: 5m}}\nintegrations:\n"
    for name in ("one", "two"):
        text += f"  {name}: {{%s credentials: {{client_id: {{env: {name}A}}, client_secret: {{env: {name}B}}}}}}\n"
    on, own = "resources: {guests: {enabled: true}},", "resources: {guests: {every: 1m}},"
    for one, two, lines in (
        ("", "", [2]), (on, "", []), ("", on, []), (own, on, [4]), (own, "", [2, 4]), ("enabled: false," + on, "", [2]),
        ("enabled: false," + own, on, []),
    ):  # fmt: skip
        write(good, "guesty", text % (one, two))
        found = loaded(good)
        assert (found.errors, [warned.line for warned in found.warnings]) == ((), lines), (one, two)


def test_what_is_listed_below_a_resource_that_is_off_is_told_at_its_switch(good):
    below = {
        **DRIVERS,
        "guesty": replace(DRIVERS["guesty"], parents={"reservations": "listings", "guests": "listings"}),
    }
    write(good, "guesty", f"driver: guesty\nresources: {{listings: {{enabled: false}}}}\n{ACME}")
    assert load(good, drivers=below, env={}).problems == ()  # what is on by default alone goes off with it
    on = "{listings: {enabled: false}, reservations: {enabled: true}}"
    write(good, "guesty", f"driver: guesty\nresources: {on}\n{ACME}")
    (told,) = load(good, drivers=below, env={}).errors
    assert (told.line, told.column) == (2, 33)
    assert told.message == "reservations is listed below listings, which is switched off"
    write(good, "guesty", f"driver: guesty\nresources: {on}\n{ACME.replace('{cred', '{enabled: false, cred')}")
    assert load(good, drivers=below, env={}).problems == ()
    off = "{listings: {enabled: false}, reservations: {enabled: false}}"
    write(good, "guesty", f"driver: guesty\nresources: {off}\n{ACME}")
    assert load(good, drivers=below, env={}).problems == ()


MOVED = "driver: guesty\n%sintegrations:\n  acme: {base_url: %s, %s credentials: " + ACME.partition("credentials: ")[2]
TOKENS = Elsewhere("token requests", "https://login.guesty.com/oauth2/token", "token_url")
HOSTS = Elsewhere("photos", "https://photos.guesty.com")


def with_addresses(*found):
    options = ("reservations", "token_url")
    return {**DRIVERS, "guesty": replace(DRIVERS["guesty"], elsewhere=found, options=options)}


def test_a_moved_base_url_names_the_other_places_its_credential_goes_to(good):
    drivers = with_addresses(TOKENS, HOSTS)
    write(good, "guesty", MOVED % ("", "http://127.0.0.1:9100/v1", ""))
    (told,) = load(good, drivers=drivers, env={}).errors
    assert (told.line, told.column) == (3, 20)
    assert "https://login.guesty.com" in told.message and "https://photos.guesty.com" in told.message
    assert "token_url: http://127.0.0.1:9100/oauth2/token" in told.help
    assert "origins: [https://photos.guesty.com]" in told.help
    with pytest.raises(ConfigProblems):
        load(good, drivers=drivers, env={}).require()


@pytest.mark.parametrize(
    ("base_url", "said"),
    [
        ("https://open-api.guesty.com/v2", ""),  # the driver's own host
        ("https://OPEN-API.guesty.com:443/v1", ""),
        ("https://login.guesty.com/v1", ""),  # everything is there
        ("http://127.0.0.1:9100", "options: {token_url: 'http://127.0.0.1:9100/oauth2/token'},"),
        ("https://sandbox.guesty.com", "options: {token_url: 'https://login.guesty.com/oauth2/token'},"),
        ("https://sandbox.guesty.com", "origins: ['https://login.guesty.com'],"),
    ],
)
def test_what_the_file_says_is_what_was_meant(good, base_url, said):
    write(good, "guesty", MOVED % ("", base_url, said))
    assert load(good, drivers=with_addresses(TOKENS), env={}).problems == ()


def test_a_base_url_of_the_partner_moves_all_its_integrations_and_is_told_of_once(good):
    text = "driver: guesty\nbase_url: https://sandbox.guesty.com\nintegrations:\n"
    for name in ("one", "two"):
        text += f"  {name}: {{credentials: {{client_id: {{env: {name}A}}, client_secret: {{env: {name}B}}}}}}\n"
    write(good, "guesty", text)
    assert [one.line for one in load(good, drivers=with_addresses(TOKENS), env={}).errors] == [2]


def test_of_an_integration_that_is_switched_off_it_is_a_warning(good):
    write(good, "guesty", MOVED % ("", "https://sandbox.guesty.com", "enabled: false,"))
    drivers = with_addresses(TOKENS)
    assert [one.severity for one in load(good, drivers=drivers, env={}).problems] == ["warning"]
    found = load(good, drivers=drivers, env={"SYNCD_INTEGRATION_ACME_ENABLED": "true"})
    assert [one.severity for one in found.problems] == ["error"]


def test_a_warning_about_one_that_is_off_hides_no_error_about_another(good):
    text = "driver: guesty\nbase_url: https://sandbox.guesty.com\nintegrations:\n"
    for name, rest in (("one", "enabled: false, "), ("two", "")):
        text += f"  {name}: {{{rest}credentials: {{client_id: {{env: {name}A}}, client_secret: {{env: {name}B}}}}}}\n"
    write(good, "guesty", text)
    assert [one.severity for one in load(good, drivers=with_addresses(TOKENS), env={}).problems] == ["warning", "error"]


def test_addresses_that_stand_in_the_file_itself_are_a_warning(good):
    described = with_addresses(replace(TOKENS, option="", described=True))
    for risk, problems in (("", ["warning"]), ("accept_risk: true,", [])):
        write(good, "guesty", MOVED % ("", "https://sandbox.guesty.com", risk))
        assert [one.severity for one in load(good, drivers=described, env={}).problems] == problems


@pytest.mark.parametrize("option", ["", "token_url"])
def test_a_password_in_an_address_is_in_no_line_about_it(good, option):
    secret = Elsewhere("token requests", "https://bob:hunter2@[2001:db8::1]:8443/token", option)
    write(good, "guesty", MOVED % ("", "https://sandbox.guesty.com:444", ""))
    (told,) = load(good, drivers=with_addresses(secret), env={}).errors
    text = f"{told.message} {told.help}"
    assert "https://[2001:db8::1]:8443" in text and "https://sandbox.guesty.com:444" in text
    assert not any(part in text for part in ("bob", "hunter2", "@"))


def test_an_integration_needs_a_base_url_from_somewhere(good):
    drivers = {**DRIVERS, "attio": Facts(credentials={"token": True})}
    found = load(good, drivers=drivers, env={})
    assert "has no base_url" in found.errors[0].message
    write(
        good,
        "attio",
        "driver: attio\nbase_url: https://a.example\nintegrations: {crm: {credentials: {token: {env: A}}}}\n",
    )
    assert load(good, drivers=drivers, env={}).problems == ()


def test_a_drivers_own_findings_get_their_place(good):
    class Picky:
        def facts(self, options, rest):
            wrong = [Finding(("options", "objects", 1), "no such object 'peple'", "did you mean 'people'?")]
            return Facts(base_url="https://x.example", findings=wrong if "objects" in options else ())

    write(good, "attio", "driver: attio\noptions:\n  objects: [deals, peple]\nintegrations: {crm: {}}\n")
    found = load(good, drivers={**DRIVERS, "attio": Picky()}, env={})
    assert [(p.line, p.column, p.message) for p in found.errors] == [(3, 20, "no such object 'peple'")]


def test_a_finding_in_an_integrations_own_options_is_placed_there_and_told_once(good):
    class Picky:
        def facts(self, options, rest):
            kind = options.get("kind")
            wrong = [Finding(("options",), f"no such kind {kind!r}")] if kind != "a" else []
            return Facts(base_url="https://x.example", findings=wrong)

    drivers = {**DRIVERS, "attio": Picky()}
    write(
        good,
        "attio",
        "driver: attio\noptions: {kind: b}\nintegrations:\n  one: {options: {kind: c}}\n  two: {}\n  three: {}\n",
    )
    told = [(p.line, p.column, p.message) for p in load(good, drivers=drivers, env={}).errors]
    assert told == [(4, 18, "no such kind 'c'"), (2, 10, "no such kind 'b'")]
    write(good, "attio", "driver: attio\nintegrations:\n  one: {options: {kind: a}}\n")
    assert load(good, drivers=drivers, env={}).problems == ()


BOOKING = (
    "driver: bookingcom\n%sintegrations: {hotel: {%scredentials: {client_id: {env: A}, client_secret: {env: B}}}}\n"
)


@pytest.mark.parametrize("own", [True, False])
def test_an_option_without_a_value_breaks_its_own_file_alone(good, own):
    options = "options: {queue_seconds: }"
    write(good, "bookingcom", BOOKING % (("", f"{options}, ") if own else (f"{options}\n", "")))
    found = load(good, drivers={**DRIVERS, **drivers.facts()}, env={})
    assert [one.message for one in found.errors] == ["bookingcom: option 'queue_seconds' has no value"]
    assert "leave" in found.errors[0].help
    assert found.broken_partners == {"bookingcom"}


def test_a_driver_that_fails_over_its_options_breaks_its_own_file_alone(good, monkeypatch):
    def fail(self, options):
        raise TypeError("unsupported operand")

    monkeypatch.setattr("syncd.drivers.bookingcom.driver.BookingCom.limits", fail)
    write(good, "bookingcom", BOOKING % ("options: {queue_seconds: 20}\n", ""))
    found = load(good, drivers={**DRIVERS, **drivers.facts()}, env={})
    assert found.broken_partners == {"bookingcom"}
    assert [one.partner for one in found.errors] == ["bookingcom"]
    assert "TypeError" in found.errors[0].message and found.errors[0].line == 2


def test_without_drivers_at_hand_only_the_files_themselves_are_checked(good):
    write(good, "attio", "driver: unheard_of\nintegrations: {crm: {}}\n")
    assert load(good, drivers=None, env={}).problems == ()


def test_unknown_options_and_adapters_are_told(good):
    text = "driver: guesty\noptions: {reservation: v3}\nintegrations:\n"
    text += "  acme: {adapter: v3, credentials: {client_id: {env: A}, client_secret: {env: B}}}\n"
    write(good, "guesty", text)
    told = {problem.message: problem.help for problem in loaded(good).errors}
    assert told["unknown option 'reservation'"] == "did you mean 'reservations'?"
    assert told["unknown adapter 'v3'"] == "known here: v1, v2"


def test_adapters_by_percent_and_in_shadow_are_checked_one_by_one(good):
    def told(settings: str) -> dict[str, str]:
        text = "driver: guesty\nintegrations:\n  acme: {credentials: {client_id: {env: A}, client_secret: {env: B}}, "
        write(good, "guesty", text + settings + "}\n")
        return {problem.message: problem.severity for problem in loaded(good).problems}

    assert told("adapter: {v1: 90, v2: 10}, shadow: v2") == {}
    assert told("adapter: {v1: 90, v2: 20}") == {"the percentages add up to 110": "error"}
    assert told("adapter: {v1: 90, v3: 10}, shadow: v4") == {
        "unknown adapter 'v3'": "error",
        "unknown adapter 'v4'": "error",
    }
    assert told("adapter: v2, shadow: v2") == {"v2 is in force already: there is nothing to compare": "warning"}
    assert told("shadow: v1") == {"v1 is in force already: there is nothing to compare": "warning"}
    write(good, "guesty", "driver: guesty\nintegrations: {acme: {adapter: {v1: -1, v2: 101}}}\n")
    assert len(loaded(good).errors) >= 2


def test_files_of_the_other_ending_are_pointed_out(good):
    (good / "partners" / "stripe.yml").write_text("driver: stripe\n")
    (good / "partners" / "stripe.yaml.example").write_text("driver: stripe\n")
    (good / "partners" / ".guesty.yaml.swp").write_text("")
    assert [problem.message for problem in loaded(good).problems] == ["not read: partner files end in .yaml"]


def test_relative_directories_start_from_the_main_file(good):
    config = loaded(good).require()
    assert config.secrets.directory == good / "secrets"


def test_the_state_directory_comes_from_the_file_then_systemd_then_who_we_are(good, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert str(loaded(good, {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}).require().state_directory) == "/var/lib/a"
    assert str(loaded(good, {"HOME": "/home/x"}).require().state_directory) == "/home/x/.local/state/syncd"
    (good / "syncd.yaml").write_text("state_directory: /srv/syncd\n")
    assert str(loaded(good, {"STATE_DIRECTORY": "/var/lib/a"}).require().state_directory) == "/srv/syncd"


def test_facts_that_are_fixed_answer_for_themselves():
    assert GUESTY.facts({}, None) is GUESTY


def test_github_annotations_name_file_line_and_column(good):
    write(good, "attio", "driver: attio\nworkers: 50%\n")
    line = render(loaded(good).errors, "github").splitlines()[0]
    assert line.startswith("::error file=")
    assert "line=2,col=10::expected a whole number, found the text '50%25'" in line


def test_configuration_is_frozen_and_its_text_holds_no_literal(good):
    write(good, "attio", "driver: attio\nintegrations: {crm: {credentials: {token: planted-literal}}}\n")
    config = loaded(good).require()
    with pytest.raises(Exception, match="frozen"):
        config.drain_seconds = 3.0
    assert "planted" not in repr(config) + str(config) + config.model_dump_json()


def test_a_partner_whose_subscriptions_we_make_ourselves_needs_no_webhook_section(good):
    write(good, "acme", "driver: acme\nresources: {things: {strategy: webhooks}}\nintegrations: {one: {}}\n")
    for registers, warned in ((True, 0), (False, 1)):
        facts = Facts(base_url="https://api.acme.example", registers=registers)
        found = load(good, drivers={**DRIVERS, "acme": facts}, env={})
        assert len([problem for problem in found.warnings if "is polled" in problem.message]) == warned
