"""How a person allows us to call for an account, in a browser: the keys of `auth.login` (RFC 6749, 4.1, and 7636)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from syncd.kit.shapes import Model


class Login(Model):
    """The authorization code flow, as this partner has it."""

    authorize: str = Field(
        description="The page where a person allows it: an absolute URL, or a path from the root of base_url's host. "
        "{option.NAME} is the value of an option.",
    )
    scope: str | None = Field(
        None, description="What is asked for, or {option.NAME}. Left out: the client's own scopes count."
    )
    pkce: Literal["S256", "none"] = Field(
        "S256",
        description="Proof that who has the code is who asked (RFC 7636). `none`: the partner knows nothing of it.",
    )
    response_type: bool = Field(True, description="false: the page is asked without `response_type=code`.")
    redirect: bool = Field(True, description="false: the exchange goes without `redirect_uri`.")
    params: dict[str, str] = Field(default_factory=dict, description="Further parameters of the page.")
    extra: dict[str, str | int | bool] = Field(
        default_factory=dict, description="Further fields of the exchange, in place of the token request's own."
    )

    @property
    def text(self) -> str:
        """What may name options."""
        return f"{self.authorize} {self.scope or ''}"
