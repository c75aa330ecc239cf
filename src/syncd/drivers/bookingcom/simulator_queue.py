"""The simulated queues of reservations: shown until acknowledged, by e-mail when nobody does, or emptied by being fetched."""

from __future__ import annotations

from typing import Any, ClassVar
from xml.sax.saxutils import escape

import defusedxml.ElementTree as ElementTree
import orjson
from aiohttp import web

from syncd.drivers.bookingcom.simulator_account import CHANGED, NEW, PLAIN, BookingComAccount
from syncd.drivers.bookingcom.simulator_data import day, message_of, nights, room_of, stamp, stay_of
from syncd.testing.base import Call, Route
from syncd.testing.collection import Entry, Raw, merged
from syncd.testing.dice import epoch

OTA = 'xmlns="http://www.opentravel.org/OTA/2003/05"'
CARD = '<Guarantee><GuaranteesAccepted><GuaranteeAccepted><PaymentCard CardNumber="4111111111111111" SeriesCode="123" ExpireDate="1129"><CardHolderName>CARD HOLDER</CardHolderName></PaymentCard></GuaranteeAccepted></GuaranteesAccepted></Guarantee>'  # noqa: E501
REPORTS = ("is_no_show", "cc_is_invalid", "cancel_reservation_invalid_cc", "stay_change")


class BookingComQueue(BookingComAccount):
    """`queues`: message id -> since when it waits, for new ones and for changes."""

    routes: ClassVar[tuple[Route, ...]] = (
        *BookingComAccount.routes,
        ("GET", NEW, "fetch_new"),
        ("POST", NEW, "settle_new"),
        ("GET", CHANGED, "fetch_changes"),
        ("POST", CHANGED, "settle_changes"),
        ("POST", PLAIN, "fetch_plain"),
        ("POST", "/hotels/xml/reservationssummary", "summary"),
        ("POST", "/hotels/xml/reporting", "report"),
    )

    def __init__(self, **options: Any) -> None:
        self.queues: dict[str, dict[str, float]] = {NEW: {}, CHANGED: {}}
        self.mailed: set[tuple[str, str]] = set()
        self.broken: set[str] = set()
        """Messages shown without what makes them readable."""
        self.reports: list[Raw] = []
        super().__init__(**options)
        for external_id in list(self.state["reservations"].entries)[: int(self.options["queued"])]:
            self.queues[NEW][external_id] = self.clock.monotonic()

    # The truth and its changes

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        if resource == "messages":
            talk = self.dice.pick([entry.raw for entry in self.state["conversations"]])
            name = f"m-{self.dice.code(10)}"
            return name, merged(message_of(self.dice, name, talk, self.now()), fields or {})
        external_id = str(4418000000 + self.mutated["create"])
        owner = self.dice.pick(list(self.state["properties"].entries))
        return external_id, merged(stay_of(self.dice, external_id, owner, self.now()), fields or {})

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        if resource != "reservations" or changes is not None:
            return merged(raw, changes or {})
        if self.dice.portion() < 0.2:
            return {**raw, "status": "cancelled"}
        rooms = [room_of(self.dice, n) for n in range(1 + int(self.dice.portion() * 3))]
        return {**raw, "status": "modified", "nights": 1 + int(self.dice.portion() * 9), "rooms": rooms}

    def deletable(self, resource: str) -> bool:
        return False

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        if resource == "messages" and after is not None:
            metadata = {"uuid": self.dice.code(24), "type": "MESSAGING_API_NEW_MESSAGE", "payloadVersion": "1.0"}
            note = orjson.dumps({"metadata": metadata, "payload": after.raw})
            self.deliveries.post(metadata["type"], note, metadata["uuid"])
        if resource != "reservations" or after is None:
            return
        waits = self.queues[NEW] if what == "create" or after.id in self.queues[NEW] else self.queues[CHANGED]
        waits.setdefault(after.id, self.clock.monotonic())

    def mail(self) -> int:
        """What nobody acknowledged in time goes to the property by e-mail, once. Returns how many ever did."""
        now = self.clock.monotonic()
        for queue, waiting in self.queues.items():
            self.mailed |= {
                (queue, one) for one, since in waiting.items() if now - since > float(self.options["deadline"])
            }
        return len(self.mailed)

    def action(self, name: str, params: Raw) -> Any:
        """`queues` (what waits, how many e-mails), `reports`, `break` and `gone_unit` ({"id"}), `unseen` ({"id", "changes"}:
        no message tells of them), `mend`, `expire_tokens`."""
        if name == "queues":
            return {"new": sorted(self.queues[NEW]), "changes": sorted(self.queues[CHANGED]), "mailed": self.mail()}
        if name == "reports":
            return {"reports": self.reports}
        if name == "break":
            self.broken.add(str(params["id"]))
            return {}
        if name == "unseen":  # a change that an acknowledgement took with it, or whose message never arrived
            collection, one = self.state["reservations"], str(params["id"])
            collection.replace(one, merged(collection.entries[one].raw, params["changes"]))
            return {}
        if name == "mend":
            self.broken.clear()
            return {}
        if name == "expire_tokens":
            self.tokens.clear()
            return {}
        if name == "gone_unit":
            entry = self.state["units"].remove(str(params["id"]))
            self.state["deleted_units"].add(entry.id, entry.raw, self.now())
            return {}
        return super().action(name, params)

    # OTA

    def fetch_new(self, call: Call) -> web.Response:
        return self._fetch(call, NEW, "OTA_HotelResNotifRQ", "HotelReservations", "HotelReservation")

    def fetch_changes(self, call: Call) -> web.Response:
        return self._fetch(call, CHANGED, "OTA_HotelResModifyNotifRQ", "HotelResModifies", "HotelResModify")

    def settle_new(self, call: Call) -> web.Response:
        return self._settle(call, NEW, "OTA_HotelResNotifRS")

    def settle_changes(self, call: Call) -> web.Response:
        return self._settle(call, CHANGED, "OTA_HotelResModifyNotifRS")

    def _fetch(self, call: Call, queue: str, root: str, group: str, message: str) -> web.Response:
        self._paused(call)
        self.mail()
        shown = list(self.queues[queue])[: int(call.query.get("limit", 200))]
        inside = "".join(self._message(message, self.state["reservations"].entries[one].raw) for one in shown)
        body = f"<{group}>{inside}</{group}>" if shown else ""
        at = stamp(self.now())
        return self.xml(f'<{root} {OTA} TimeStamp="{at}" Target="Production" Version="2.001">{body}</{root}>')

    def _paused(self, call: Call) -> None:
        """Five seconds between an acknowledgement and the next fetch: one too early is a violation."""
        tier = next(tier for tier in self.enforcer.tiers if tier.name == "pause")
        self.enforcer.book(tier, "").wait(call.arrived_at, 1.0)

    def _settle(self, call: Call, queue: str, root: str) -> web.Response:
        tier = next(tier for tier in self.enforcer.tiers if tier.name == "pause")
        self.enforcer.book(tier, "").accepted.add(self.clock.monotonic(), 1.0)
        document = ElementTree.fromstring(call.body)
        named = {child.tag.rpartition("}")[2] for child in document}
        ids = [one.get("ResID_Value", "") for one in document.iter() if one.tag.endswith("}HotelReservationID")]
        if document.tag.rpartition("}")[2] != root or "Success" not in named or not ids:
            return self.fail(root, "448", "Hotel reservation has transaction message of the wrong type", 400)
        unknown = [one for one in ids if self.state["reservations"].get(one) is None]
        if unknown:
            return self.fail(root, "404", f"reservation {unknown[0]} not found", 404)
        settled = [one for one in ids if self.queues[queue].pop(one, None) is not None]
        self.counters.count("acknowledged", len(settled))
        self.counters.count("acknowledgements")
        if not settled:
            return self.fail(root, "448", "Hotel reservation has transaction message of the wrong type", 400)
        return self.xml(f"<{root} {OTA}><Success/></{root}>")

    def _message(self, message: str, stay: Raw) -> str:
        """How a cancellation is marked is not public: by a status beside its rooms, or by having none left; here by turns."""
        if stay["status"] == "cancelled" and int(stay["id"]) % 2:
            return f'<{message} ResStatus="Cancelled">{self._stay({**stay, "status": "modified"})}</{message}>'
        return f"<{message}>{self._stay(stay)}</{message}>"

    def _stay(self, stay: Raw) -> str:
        who = f'<HotelReservationID ResID_Value="{stay["id"]}" ResID_Date="{stay["booked"][:19]}"/>'
        ids = f"<HotelReservationIDs>{who}</HotelReservationIDs>"
        if stay["status"] == "cancelled":
            return f"<ResGlobalInfo>{ids}</ResGlobalInfo>"
        money = (
            f'CurrencyCode="{stay["currency"]}" DecimalPlaces="{"?" if stay["id"] in self.broken else stay["places"]}"'
        )
        plan = "2200145VCC" if stay["virtual"] else "2200145"
        stays = ""
        for room in stay["rooms"]:
            rates = "".join(
                f'<RoomRate EffectiveDate="{night}" RatePlanCode="{plan}"><Rates><Rate>'
                f'<Total AmountAfterTax="{room["price"]}" {money}/></Rate></Rates></RoomRate>'
                for night in nights(stay)
            )
            stays += (
                f'<RoomStay IndexNumber="{room["index"]}"><RoomTypes><RoomType RoomTypeCode="801185502"><RoomDescription '
                f'Name="Garden double"/></RoomType></RoomTypes><RoomRates>{rates}</RoomRates><GuestCounts>'
                f'<GuestCount AgeQualifyingCode="10" Count="{room["adults"]}"/><GuestCount AgeQualifyingCode="8" '
                f'Count="{room["children"]}"/></GuestCounts>'
                f'<Total AmountAfterTax="{room["price"] * stay["nights"]}" {money}/>'
                f'<BasicPropertyInfo HotelCode="{stay["property"]}"/></RoomStay>'
            )
        total = sum(room["price"] for room in stay["rooms"]) * stay["nights"]
        name = f"<GivenName>{escape(stay['first'])}</GivenName><Surname>{escape(stay['last'])}</Surname>"
        customer = f"<Customer><PersonName>{name}</PersonName><Email>{stay['id']}@guest.booking.com</Email></Customer>"
        return (
            f'<RoomStays>{stays}</RoomStays><ResGlobalInfo><Total AmountAfterTax="{total}" {money}/>{ids}'
            f"<Profiles><ProfileInfo><Profile>{customer}</Profile></ProfileInfo></Profiles>{CARD}</ResGlobalInfo>"
        )

    # B.XML

    def fetch_plain(self, call: Call) -> web.Response:
        """New, changed and cancelled ones together; whoever fetches them has taken them."""
        shown = list(dict.fromkeys([*self.queues[NEW], *self.queues[CHANGED]]))
        fresh = set(self.queues[NEW])
        for waiting in self.queues.values():
            waiting.clear()
        stays = [self.state["reservations"].entries[one].raw for one in shown]
        return self.xml(f"<reservations>{''.join(self._plain(stay, fresh) for stay in stays)}</reservations>")

    def summary(self, call: Call) -> web.Response:
        wanted = [one.text or "" for one in ElementTree.fromstring(call.body).iter("hotel_id")]
        if len(wanted) != 1 or self.state["properties"].get(wanted[0]) is None:
            return self.failure(403, call, "Access denied for hotel")
        today = day(self.now())
        stays = [
            raw
            for raw in self.below(call, "reservations", wanted[0])
            if raw["status"] != "cancelled" and nights(raw)[-1] >= today
        ]
        return self.xml(f"<reservations>{''.join(self._plain(stay, None) for stay in stays)}</reservations>")

    def _plain(self, stay: Raw, fresh: set[str] | None) -> str:
        """One `reservation`; `fresh` None: as the summary tells it."""
        name = f"<first_name>{escape(stay['first'])}</first_name><last_name>{escape(stay['last'])}</last_name>"
        booked = f"<date>{stay['booked'][:10]}</date><time>{stay['booked'][11:19]}</time>"
        status = ""
        card = ""
        if fresh is not None:
            word = "cancelled" if stay["status"] == "cancelled" else "new" if stay["id"] in fresh else "modified"
            status = f"<hotel_id>{stay['property']}</hotel_id><status>{word}</status>"
            card = "<cc_number>4111111111111111</cc_number><cc_cvc>123</cc_cvc><cc_name>CARD HOLDER</cc_name>"
        if stay["status"] == "cancelled":
            return f"<reservation><id>{stay['id']}</id>{status}{booked}<customer>{name}</customer></reservation>"
        scale, last = 10 ** stay["places"], day(epoch(f"{stay['arrival']}T00:00:00Z"), stay["nights"])
        rooms = ""
        for room in stay["rooms"]:
            night = f"{room['price'] / scale:.3f}"
            rates = "".join(f'<price date="{one}" rate_id="2200145">{night}</price>' for one in nights(stay))
            rooms += (
                f"<room><id>801185502</id><roomreservation_id>{room['index']}</roomreservation_id>"
                f"<arrival_date>{stay['arrival']}</arrival_date><departure_date>{last}</departure_date>"
                f"<numberofguests>{room['adults']}</numberofguests><currencycode>{stay['currency']}</currencycode>"
                f"<totalprice>{room['price'] * stay['nights'] / scale:.3f}</totalprice>{rates}</room>"
            )
        total = f"<totalprice>{sum(room['price'] for room in stay['rooms']) * stay['nights'] / scale:.3f}</totalprice>"
        money = "" if fresh is None else f"<currencycode>{stay['currency']}</currencycode>{total}"
        inside = f"{status}{booked}{money}<customer>{name}{card}</customer>{rooms}"
        return f"<reservation><id>{stay['id']}</id>{inside}</reservation>"

    def report(self, call: Call) -> web.Response:
        told = ElementTree.fromstring(call.body)
        report = told.find("report")
        external_id = told.findtext("reservation_id", "")
        if self.state["reservations"].get(external_id) is None:
            return self.failure(404, call, "reservation not found")
        if report is None or report.text not in REPORTS:
            return self.failure(400, call, "unknown report")
        self.reports.append({"id": external_id, "report": report.text, **report.attrib})
        return self.xml("<ok/>")
