"""What the reload log says: each change once, in words, secrets as short hashes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from syncd.config import load
from syncd.config.difference import difference, to_renormalize
from syncd.reload import Reloader
from syncd.secrets import Ref, Secret, Vault, fingerprint
from tests.config.facts import DRIVERS


def changed(good, partner, old_text, new_text):
    old = load(good, drivers=DRIVERS, env={}).require()
    file = good / ("syncd.yaml" if partner is None else f"partners/{partner}.yaml")
    text = file.read_text()
    assert old_text in text
    file.write_text(text.replace(old_text, new_text))
    return old, load(good, drivers=DRIVERS, env={}).require()


def test_an_unchanged_configuration_has_no_difference(good):
    assert difference(*changed(good, "guesty", "5/s", "5/s")) == []


def test_values_are_shown_as_they_are_written(good):
    old, new = changed(good, "guesty", "tiers: [5/s, 80/min]", "tiers: [5/s, {rate: 60/min, kind: fixed}]")
    assert difference(old, new) == ["guesty.limits.tiers: 5/s, 80/min → 5/s, {rate: 60/min, kind: fixed}"]


def test_durations_keep_their_units(good):
    assert difference(*changed(good, "guesty", "every: 15m", "every: 90m")) == [
        "guesty.resources.listings.every: 15m → 1h30m"
    ]


def test_what_was_not_set_before_says_so(good):
    old, new = changed(good, "guesty", "every: 5m, history: full", "every: 5m, history: full, overlap: 30s")
    assert difference(old, new) == ["guesty.integrations.acme.resources.reservations.overlap: (not set) → 30s"]


def test_of_a_resource_that_is_new_in_the_file_only_what_was_written_changed(good):
    old, new = changed(good, "guesty", "every: 15m}}", "every: 15m}, guests: {schema: freeze}}")
    assert difference(old, new) == ["guesty.resources.guests.schema: (not set) → freeze"]
    assert difference(new, old) == ["guesty.resources.guests.schema: freeze → (not set)"]


def test_what_is_new_and_empty_is_told_too(good):
    old, new = changed(good, "attio", "{token: {env: ATTIO_TOKEN}}", "{token: {env: ATTIO_TOKEN}}\n    webhook: {}")
    assert difference(old, new) == ["attio.integrations.crm.webhook: (not set) → {}"]


def test_shares_of_adapters_are_told_whole(good):
    old, new = changed(good, "guesty", "    resources:", "    adapter: {v1: 90, v2: 10}\n    resources:")
    assert difference(old, new) == ["guesty.integrations.acme.adapter: (not set) → {v1: 90, v2: 10}"]
    old, new = changed(good, "guesty", "{v1: 90, v2: 10}", "v2")
    assert difference(old, new) == ["guesty.integrations.acme.adapter: {v1: 90, v2: 10} → v2"]


def test_the_main_files_keys_stand_as_in_yaml(good):
    assert difference(*changed(good, None, "secrets:", "drain: 45s\nsecrets:")) == ["drain: 30s → 45s"]


def test_partners_and_integrations_come_and_go(good):
    old, new = changed(good, "attio", "  crm:", "  sales:")
    assert difference(old, new) == ["attio.integrations.crm: removed", "attio.integrations.sales: added"]
    (good / "partners" / "attio.yaml").rename(good / "partners" / "attio2.yaml")
    third = load(good, drivers=DRIVERS, env={}).require()
    assert difference(new, third) == ["attio: removed", "attio2: added (1 integration: sales)"]


def test_a_kill_switch_shows(good):
    old = load(good, drivers=DRIVERS, env={}).require()
    new = load(good, drivers=DRIVERS, env={"SYNCD_PARTNER_GUESTY_ENABLED": "false"}).require()
    assert difference(old, new) == ["guesty.enabled: true → false"]


def test_a_literal_secret_shows_as_its_hash_alone(good):
    old, new = changed(good, "attio", "{env: ATTIO_TOKEN}", "planted-literal-secret")
    (line,) = difference(old, new)
    digest = fingerprint(Secret("planted-literal-secret"))
    assert line == f"attio.integrations.crm.credentials.token: {{env: ATTIO_TOKEN}} → literal #{digest}"
    assert "planted" not in line


def test_a_replaced_file_shows_although_the_reference_is_the_same(good):
    file = good / "secrets" / "guesty" / "id"
    file.parent.mkdir(parents=True)
    config = load(good, drivers=DRIVERS, env={}).require()
    vault = Vault(good / "secrets", {})
    prints = []
    for value in ("first-value", "second-value"):
        file.write_text(value)
        file.chmod(0o600)
        vault.reload()
        vault.resolve(Ref(file="guesty/id"))
        prints.append(vault.fingerprints())
    (line,) = difference(config, config, before=prints[0], after=prints[1])
    first, second = (fingerprint(Secret(value)) for value in ("first-value", "second-value"))
    assert line == f"guesty.integrations.acme.credentials.client_id: {{file: guesty/id}} #{first} → #{second}"


def test_a_known_secret_in_an_option_is_masked(good):
    Secret("planted-option-value")
    text = "resources: {listings: {every: 15m}}"
    old, new = changed(good, "guesty", text, text + "\noptions: {reservations: planted-option-value}")
    (line,) = difference(old, new)
    assert line == "guesty.options.reservations: (not set) → ****"


def test_a_change_is_told_however_much_stands_before_it_and_whatever_hides_it(good):
    keys = [Secret(f"planted-option-{number}").reveal() for number in (1, 2)]
    for pair in (keys, [["x" * 130, "one"], ["x" * 130, "two"]], ["x" * 130 + key for key in keys]):
        config = load(good, drivers=DRIVERS, env={}).require()
        partner = config.partners["guesty"]
        old, new = (
            config.model_copy(update={"partners": {"guesty": partner.model_copy(update={"options": {"kept": value}})}})
            for value in pair
        )
        (line,) = difference(old, new)
        assert line.startswith("guesty.options.kept: ") and line.endswith(" → (another, of which the same is shown)")
        assert "planted" not in line and len(line) < 200


def test_what_is_stored_by_another_adapter_or_mapping_is_named_with_the_command_that_mends_it(good):
    yard = "driver: rest\nrest: {resources: {boats: {fields: {name: name}}, berths: {fields: {no: no}}}}\n"
    (good / "partners" / "yard.yaml").write_text(
        yard + 'integrations: {yard: {base_url: "https://y.example", adapter: v1}}\n'
    )
    old, new = changed(good, "yard", "{name: name}", "{name: name, length: metres}")
    assert to_renormalize(old, new) == [
        "yard.integrations.yard: what is stored of boats was made by another mapping; do: syncd renormalize yard/boats"
    ]
    old, new = changed(good, "yard", "adapter: v1", "adapter: {v1: 50, v2: 50}")
    assert to_renormalize(old, new) == [
        "yard.integrations.yard: what is stored was made by another adapter; do: syncd renormalize yard"
    ]
    assert to_renormalize(new, new) == []


@pytest.mark.parametrize(("item", "shown"), [(None, "null"), ({}, "{}"), ([None], "null")])
def test_a_list_may_hold_what_alone_is_nothing(good, item, shown):
    old, new = ({"kept": ["one"]}, {"kept": ["one", item]})
    config = load(good, drivers=DRIVERS, env={}).require()
    partner = config.partners["guesty"]
    first, second = (
        config.model_copy(update={"partners": {"guesty": partner.model_copy(update={"options": options})}})
        for options in (old, new)
    )
    assert difference(first, second) == [f"guesty.options.kept: one → one, {shown}"]


def test_a_fault_in_telling_what_changed_does_not_deny_the_reload(good, monkeypatch):
    def fail(*args, **more):
        raise StopIteration

    config = load(good, drivers=DRIVERS, env={}).require()
    monkeypatch.setattr("syncd.reload.difference", fail)
    reloader: Any = SimpleNamespace(_secrets=dict)
    (line,) = Reloader._changes(reloader, config, config, config, {})
    assert line == "what changed cannot be told: a fault in syncd: StopIteration"
