"""Posts a message to the address under `alerts`: once, signed, with a deadline, following no redirect."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from urllib.parse import urlsplit

import aiohttp

from syncd import __version__
from syncd.clock import Clock
from syncd.config import AlertsConfig
from syncd.errors import ConfigError, SyncdError
from syncd.kit import signatures
from syncd.secrets import Secret, Vault

POST_SECONDS: Final = 10.0


class UndeliveredError(SyncdError):
    """The receiver did not take it; the text says why and holds nothing of the address."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where messages go."""

    url: Secret
    secret: Secret | None
    format: Literal["generic", "slack"]

    @classmethod
    def of(cls, config: AlertsConfig, vault: Vault) -> Receiver | None:
        """None where no address is configured. Raises ConfigError where one is and cannot be used."""
        if config.url is None:
            return None
        url = vault.resolve(config.url)
        parts = urlsplit(url.reveal().strip())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(
                "the address under `alerts` is no http(s) URL", hint="mend the file that alerts.url names"
            )
        return cls(url, _signing(vault.resolve(config.secret)) if config.secret is not None else None, config.format)

    async def post(self, body: bytes, identifier: str, at: datetime, clock: Clock) -> None:
        """Raises UndeliveredError."""
        headers = {"Content-Type": "application/json", "User-Agent": f"syncd/{__version__}"}
        if self.secret is not None:
            stamp = str(int(at.timestamp()))
            headers |= {"webhook-id": identifier, "webhook-timestamp": stamp}
            headers["webhook-signature"] = signatures.sign_standard(body, identifier, stamp, self.secret.reveal())
        try:
            async with (
                clock.timeout(POST_SECONDS),
                aiohttp.ClientSession(auto_decompress=False) as http,
                http.post(self.url.reveal().strip(), data=body, headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status >= 300:
                    raise UndeliveredError(f"the receiver of alerts answered {answer.status}")
        except TimeoutError:
            raise UndeliveredError(f"the receiver of alerts did not answer within {POST_SECONDS:.0f} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UndeliveredError(f"the receiver of alerts cannot be reached: {type(error).__name__}") from None


def _signing(secret: Secret) -> Secret:
    """The same as Standard Webhooks writes it. No base64 is a plain text, whose bytes are the key. Raises ConfigError."""
    text = secret.reveal().strip()
    if signatures.standard_keys([text]):
        return secret
    if not text or text.startswith("whsec_"):
        raise ConfigError(
            "the secret under `alerts` has no base64 after whsec_", hint="mend the file that alerts.secret names"
        )
    return Secret("whsec_" + base64.b64encode(text.encode()).decode())
