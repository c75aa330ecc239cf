"""A description with mistakes is refused with all of them, each at its place and with what may be meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncd import drivers
from syncd.kit import DriverSpec, Resource
from syncd.kit.reading import SpecError, parse, replaced
from syncd.kit.reference import reference

SOUND: dict[str, Any] = {
    "name": "acme",
    "resources": {"rows": {"path": "/rows", "updated": "at", "fields": {"x": "y"}}},
}


def troubles(**change: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(SpecError) as caught:
        parse({**SOUND, **change})
    return [(".".join(map(str, one.path)), one.message, one.help) for one in caught.value.troubles]


def rows(**change: Any) -> list[tuple[str, str, str]]:
    resource = {**SOUND["resources"]["rows"], **change}
    return [(path.removeprefix("resources.rows").lstrip("."), message, help)
            for path, message, help in troubles(resources={"rows": resource})]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "place", "words", "help"),
    [
        ({"pth": "/x"}, "pth", "no key 'pth'", "did you mean path?"),
        ({"pages": {"kind": "ofset"}}, "pages.kind", "expected 'none', 'cursor'", "did you mean offset?"),
        ({"pages": {"kind": "cursor"}}, "pages", "need `param`", ""),
        ({"pages": {"kind": "cursor", "param": "c"}}, "pages", "one of `next`", ""),
        ({"pages": {"kind": "next"}}, "pages", "the path of the next URL", ""),
        ({"pages": {"kind": "offset", "param": "o", "next": "x"}, "page_size": 5}, "pages", "do not go with", ""),
        ({"pages": {"kind": "offset", "param": "o"}}, "", "need `page_size`", ""),
        ({"pages": {"kind": "offset", "param": "o", "in": "body"}, "page_size": 5}, "", "`method: POST`", ""),
        ({"since": {"param": "a", "body": "b"}}, "since", "one of `param`", ""),
        ({"since": "x", "updated": None}, "", "`since` needs `updated` or `order`", ""),
        ({"since": {"param": "x", "overlap": 5}}, "since.overlap", "expected a duration", "30s"),
        ({"strategy": "incremental"}, "", "needs `since`", ""),
        ({"ttl": "1d", "every": "10s"}, "", "read while its copy still serves", ""),
        ({"stamp": "updated", "updated": None}, "", "needs `updated`", ""),
        ({"fields": {"x": {"from": "y", "as": "int"}}}, "fields.x.as", "expected 'text'", "did you mean integer?"),
        ({"fields": {"x": {"form": "y"}}}, "fields.x.form", "no key 'form'", "did you mean from?"),
        ({"fields": {"x": {"from": "a[", "as": "text"}}}, "fields.x.from", "not a path", ""),
        ({"fields": {"x": {"zone": "UTC"}}}, "fields.x", "`zone` only goes with", ""),
        ({"fields": {"x": {"as": "text", "open": True}}}, "fields.x", "`open` only goes with", ""),
        ({"fields": {"x": {"from": "a.b", "as": "object", "open": True}}}, "fields.x", "one plain key", ""),
        ({"fields": {"x": {"from": "a || b", "as": "map", "open": True}}}, "fields.x", "one plain key", ""),
        ({"fields": {"x": {"from": '"a b"', "as": "map", "open": True}}}, "fields.x", "one plain key", ""),
        ({"fields": {"x": {"as": "timestamp", "zone": "Mars"}}}, "fields.x.zone", "unknown time zone", ""),
        ({"id": "header:X"}, "id", "a path into one record", ""),
        ({"records": ["a", "b["]}, "records.1", "not a path", ""),
        ({"path": "/rows/{id}"}, "", "unknown placeholder {id}", ""),
        ({"path": "/rows/{parent.id}"}, "", "needs `parent:`", ""),
        ({"parent": "rows"}, "", "needs {parent.id}", ""),
        ({"one": "/rows"}, "one", "placeholder {id}", ""),
        ({"many": {"param": "ids", "max": 0}}, "many.max", "greater than or equal to 1", ""),
        ({"page_size": 0}, "page_size", "greater than or equal to 1", ""),
        ({"adapters": {"v2": {"filds": {}}}}, "adapters.v2.filds", "no key", "did you mean fields?"),
        ({"deleted": {"from": "x", "value": "y"}}, "deleted.value", "no key", "did you mean values?"),
        ({"attests": {"resorce": "x"}}, "attests.resorce", "no key", "did you mean resource?"),
        ({"queue": {"withi": "20m"}}, "queue.withi", "no key", "did you mean within?"),
        ({"each": [{"optoin": "a"}]}, "each.0.optoin", "no key", "did you mean option?"),
        ({"pushes": {"create": {"confrim": {}}}}, "pushes.create.confrim", "no key", "did you mean confirm?"),
    ],
    ids=str,
)
def test_a_mistake_in_a_resource_is_told_at_its_place(
    change: dict[str, Any], place: str, words: str, help: str
) -> None:
    found = rows(**change)
    assert [(path, help in told) for path, message, told in found if words in message] == [(place, True)], found


@pytest.mark.parametrize(
    ("change", "place", "words", "help"),
    [
        ({"resorces": {}}, "resorces", "no key 'resorces'", "did you mean resources?"),
        ({"name": "Acme Inc"}, "name", "small letters", ""),
        ({"resources": {"A-b": {"path": "/"}}}, "resources.A-b", "small letters", ""),
        ({"resources": {"a": None}}, "resources.a", "expected a mapping, found null", ""),
        ({"resources": []}, "resources", "expected a mapping, found a list", ""),
        ({"auth": {"kind": "oauth"}}, "auth.kind", "expected 'none'", "oauth2"),
        ({"auth": {"kind": "bearer", "header": "X"}}, "auth", "do not go with", ""),
        ({"auth": {"kind": "api_key", "header": "X", "query": "k"}}, "auth", "one of `header` and `query`", ""),
        ({"auth": {"kind": "oauth2_client"}}, "auth", "needs `token_path`", ""),
        ({"auth": {"kind": "bearer", "scope": "x"}}, "auth", "`scope` does not go with", ""),
        ({"limits": {"tiers": ["7"]}}, "limits.tiers.0", "not a rate", "calls/window"),
        ({"limits": {"tiers": [{"rate": "7/s", "bust": 5}]}}, "limits.tiers.0.bust", "no key", "did you mean burst?"),
        ({"limits": {"dialect": {"boddy": "x"}}}, "limits.dialect", "no such key: boddy", ""),
        ({"limits": {"headers": {"prefx": "x"}}}, "limits.headers", "no key 'prefx'", ""),
        ({"limits": {"headers": "x ratelimit"}}, "limits.headers", "begins no header's name", ""),
        ({"limits": {"headers": {"window": 60}}}, "limits.headers", "`window` is a time such as 60s", ""),
        ({"errors": {"statuses": {403: "expired"}}}, "errors.statuses.403", "expected 'auth'", ""),
        ({"xml": {"lsits": ["a"]}}, "xml.lsits", "no key", "did you mean lists?"),
        ({"webhooks": {"account": {"namd": "host"}}}, "webhooks.account.namd", "no key", "did you mean named?"),
        ({"webhooks": {"verify": "hmac_sha265"}}, "webhooks.verify", "expected", "did you mean hmac_sha256?"),
        ({"resources": {"a": {"path": "/{parent.id}", "parent": "b"}}}, "", "no resource 'b'", ""),
        (
            {"resources": {"a": {"path": "/"}, "b": {"path": "/{parent.id}/{parent.slug}", "parent": "a"}}},
            "",
            "{parent.slug} is no field of a",
            "",
        ),
        (
            {"resources": {"a": {"path": "/{parent.id}", "parent": "b"}, "b": {"path": "/{parent.id}", "parent": "a"}}},
            "",
            "its own ancestor",
            "",
        ),
    ],
    ids=str,
)
def test_a_mistake_in_the_rest_is_told_at_its_place(change: dict[str, Any], place: str, words: str, help: str) -> None:
    found = troubles(**change)
    assert [(path, help in told) for path, message, told in found if words in message] == [(place, True)], found


def test_all_mistakes_are_told_at_once_and_none_twice() -> None:
    resources = {
        "a": {"pth": "/a"},
        "b": {"path": "/b", "pages": {"kind": "x"}},
        "c": {"path": "/c", "records": ["d["], "fields": {"e": 5}},
    }
    found = troubles(resources=resources, extra=1)
    assert len(found) == len(set(found))
    assert {path.split(".")[1] if "." in path else path for path, _, _ in found} == {"a", "b", "c", "extra"}


def test_a_part_that_is_read_by_itself_has_the_hints_of_that_part() -> None:
    (finding,) = drivers.facts()["attio"].rules({"hedaer": "X"})
    assert (finding.path, finding.help) == (("hedaer",), "did you mean header?")
    with pytest.raises(SpecError) as caught:
        replaced(Resource(name="rows", path="/rows"), {"filds": {}, "one": {"pth": "/rows/{id}"}})
    assert {one.path: one.help for one in caught.value.troubles if "no key" in one.message} == {
        ("filds",): "did you mean fields?",
        ("one", "pth"): "did you mean path?",
    }


def test_a_refused_description_says_so_in_one_message_with_a_hint() -> None:
    with pytest.raises(SpecError) as caught:
        parse({"name": "acme", "resorces": {}})
    assert str(caught.value) == "resorces: there is no key 'resorces' here"
    assert caught.value.hint == "did you mean resources?"


def test_the_same_words_make_a_resource_in_yaml_and_in_python() -> None:
    written = yaml.safe_load(
        """
        path: /people/query
        method: POST
        records: data
        id: id.record_id
        pages: {kind: offset, in: body, param: offset, size: limit}
        page_size: 500
        updated: {from: created_at}
        since: {body: filter.created_at.$gte, format: iso_ns, overlap: 5m}
        fields: {name: "values.name[0].full_name", age: {from: age, as: integer}}
        one: /people/{id}
        every: 15m
        """
    )
    built = Resource(
        name="people",
        path="/people/query",
        method="POST",
        records="data",
        id="id.record_id",
        pages={"kind": "offset", "in": "body", "param": "offset", "size": "limit"},
        page_size=500,
        updated="created_at",
        since={"body": "filter.created_at.$gte", "format": "iso_ns", "overlap": "5m"},
        fields={"name": "values.name[0].full_name", "age": {"from": "age", "as": "integer"}},
        one={"path": "/people/{id}"},
        every="15m",
    )
    assert parse({"name": "acme", "resources": {"people": written}}).resources["people"] == built
    assert (built.every, built.overlap_seconds, built.reads) == (900.0, 300.0, "incremental")


def test_a_resource_takes_the_common_page_size_unless_it_has_its_own() -> None:
    resources = {"a": {"path": "/a"}, "b": {"path": "/b", "page_size": 5}, "c": Resource(path="/c")}
    spec = parse({"name": "acme", "page_size": 50, "resources": resources})
    assert [resource.page_size for resource in spec.resources.values()] == [50, 5, None]
    assert [resource.name for resource in spec.resources.values()] == ["a", "b", "c"]


def test_what_is_open_is_known_by_the_record_s_own_key_whichever_adapter_reads_it() -> None:
    fields = {"more": {"from": "custom-fields", "as": "object", "open": True}, "note": {"as": "object"}}
    other = {"fields": {"metadata": {"as": "map", "open": True}}}
    resource = Resource(path="/x", fields=fields, adapters={"v2": other})
    assert resource.open_names() == {"custom-fields", "metadata"}


def test_facts_say_what_checking_a_configuration_needs() -> None:
    spec = parse(
        {
            **SOUND,
            "auth": {
                "kind": "oauth2_client",
                "token_path": "/token",
                "credentials": {"client_id": "app"},
                "optional": ["client_secret"],
            },
            "limits": {"tiers": ["7/s", {"rate": "25/s", "budget": "write"}, {"rate": "100/10s", "weighted": True}]},
            "webhooks": {"verify": "attio"},
        }
    )
    facts = spec.facts()
    assert facts.credentials == {"app": True, "client_secret": False}
    assert spec.auth.required == ("app",)
    assert facts.signs_webhooks
    assert set(facts.resources) == {"rows"}


def test_a_tier_becomes_what_the_gate_takes() -> None:
    spec = parse(
        {**SOUND, "limits": {"tiers": [{"rate": "300/120s", "kind": "fixed", "budget": "read", "share": 0.5}]}}
    )
    tier = spec.limits.tiers[0].spec()
    assert (tier.limit, tier.window_seconds, tier.kind, tier.budget, tier.share) == (300, 120.0, "fixed", "read", 0.5)


def test_a_description_has_a_json_schema_with_short_forms_in_it() -> None:
    schema = json.dumps(DriverSpec.model_json_schema())
    assert '"number"' in schema
    resource = DriverSpec.model_json_schema()["$defs"]["Resource"]["properties"]
    assert {"type": "string"} in resource["one"]["anyOf"]
    assert {"type": "string"} in resource["fields"]["additionalProperties"]["anyOf"]


def test_the_table_of_keys_in_the_docs_is_the_one_the_models_make() -> None:
    written = (Path(__file__).parents[2] / "docs" / "writing-a-driver.md").read_text("utf-8")
    assert written.split("## All keys\n\n")[1] == reference().rstrip("\n") + "\n", (
        "write it anew: print(syncd.kit.reference.reference())"
    )


def test_every_key_has_a_meaning() -> None:
    without = [line for line in reference().splitlines() if line.startswith("| `") and line.split("|")[2].strip() == ""]
    assert without == []
