"""Deterministic made-up data: the same seed gives the same names, ids and amounts on every machine."""
# ruff: noqa: SIM905 - lists of words read better as one text

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

T = TypeVar("T")

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FIRST = tuple(
    "Ada Bjørn Chiara Dilek Émile Fatou Grzegorz Hana Inês Jonas Keiko Liam Mónica Ngozi Olga Pia Quentin Ravi Søren "
    "Tomás Uma Vera Wei Zoë".split()
)
LAST = tuple(
    "Almeida Bauer Costa Dahl Eriksen Ferrari García Hansen Ito Jansen Kowalska Lindqvist Moreau Novák Okafor Petrov "
    "Quiroga Rossi Schmidt Tanaka Ünal Weber".split()
)
CITIES = (
    ("Lisboa", "Portugal", "PT", "Europe/Lisbon", 38.7071, -9.1355),
    ("Bergen", "Norway", "NO", "Europe/Oslo", 60.39, 5.32),
    ("Valencia", "Spain", "ES", "Europe/Madrid", 39.47, -0.376),
    ("Graz", "Austria", "AT", "Europe/Vienna", 47.07, 15.44),
    ("Nantes", "France", "FR", "Europe/Paris", 47.218, -1.554),
    ("Aarhus", "Denmark", "DK", "Europe/Copenhagen", 56.16, 10.2),
    ("Kraków", "Poland", "PL", "Europe/Warsaw", 50.06, 19.94),
    ("Torino", "Italy", "IT", "Europe/Rome", 45.07, 7.69),
)
"""City, country, its code, time zone, latitude, longitude."""
STREETS = ("Rua do Cais", "Strandgaten", "Calle del Mar", "Lindenweg", "Rue des Halles", "Havnegade", "Via Garibaldi")
ADJECTIVES = tuple("Bright Quiet Sunny Small Grand Northern Old Green Hidden Blue Tall".split())
NOUNS = tuple("loft studio house cabin flat villa barn mill terrace cottage attic".split())
FIRMS = tuple("Fjordlys Nordhavn Atlântica Alpenblick Kupfer Havre Solvang Meridian Kestrel Orla".split())
FORMS = ("Energi AS", "Stays ApS", "Lda", "GmbH", "SARL", "Oy", "S.r.l.", "Ltd", "AB", "BV")
WORDS = tuple(
    "harbour garden renewal invoice breakfast late arrival key parking terrace deposit contract turbine service "
    "follow-up quote call answer window boiler".split()
)


class Dice:
    """A seeded source of chance with the shapes that partner records need."""

    def __init__(self, seed: int | str) -> None:
        self.random = random.Random(seed)

    def portion(self) -> float:
        """A number in [0, 1)."""
        draw = self.random.random
        return draw()

    def below(self, number: int) -> int:
        """0 up to, not including, `number`."""
        return int(self.portion() * number)

    def between(self, low: int, high: int) -> int:
        return low + self.below(high - low + 1)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def chance(self, share: float) -> bool:
        return self.portion() < share

    def code(self, length: int, alphabet: str = ALPHABET) -> str:
        return "".join(self.random.choices(alphabet, k=length))

    def hexadecimal(self, length: int) -> str:
        return f"{self.random.getrandbits(length * 4):0{length}x}"

    def uuid(self) -> str:
        """A version 4 UUID as text."""
        bits = self.random.getrandbits(128)
        bits = (bits & ~(0xF << 76)) | (4 << 76)
        bits = (bits & ~(0x3 << 62)) | (2 << 62)
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def city(self) -> tuple[str, str, str, str, float, float]:
        """One of `CITIES`."""
        return self.pick(CITIES)

    def person(self) -> tuple[str, str]:
        return self.pick(FIRST), self.pick(LAST)

    def firm(self) -> str:
        return f"{self.pick(FIRMS)} {self.pick(FORMS)} {self.below(9000) + 1000}"

    def email(self, name: str = "") -> str:
        return f"{name.lower() or 'office'}.{self.code(6).lower()}@{self.pick(FIRMS).lower().replace('â', 'a')}.example"

    def phone(self) -> str:
        return f"+4915{self.random.getrandbits(32) % 10**8:08d}"

    def sentence(self, words: int) -> str:
        return " ".join(self.random.choices(WORDS, k=words)).capitalize()


def iso(at: float, digits: int = 3) -> str:
    """Epoch seconds as `2026-11-20T19:22:41.310Z`, with as many decimals as asked (up to nine)."""
    moment = datetime.fromtimestamp(at, UTC)
    fraction = f"{moment.microsecond:06d}000"[:digits]
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if digits else "") + "Z"


def epoch(text: str) -> float:
    """ISO text with any number of decimals, `Z` or an offset, or a bare date, as epoch seconds. Raises ValueError."""
    body = text.strip().replace("Z", "+00:00")
    if "." in body:
        head, _, tail = body.partition(".")
        digits = len(tail) - len(tail.lstrip("0123456789"))
        body = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    moment = datetime.fromisoformat(body)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
