"""What every handler is given."""

from litestar import Request
from litestar.datastructures import State
from msgspec import Struct

from kaiwa.api.guesses import Guesses
from kaiwa.chat.turn import Context
from kaiwa.store.db import Database

ApiRequest = Request[object, object, State]


class ApiSettings(Struct, frozen=True):
    """The settings that the contract's handlers need; times in seconds."""

    ping: float = 10
    patience: float = 10
    """How long one write to a client may take before it counts as one that has left."""


class Site(Struct, frozen=True):
    """The running server, as its handlers see it."""

    context: Context
    settings: ApiSettings
    guesses: Guesses

    @property
    def db(self) -> Database:
        return self.context.db


def site_of(request: ApiRequest) -> Site:
    """The running server behind a request."""
    site = request.app.state.site
    assert isinstance(site, Site)
    return site
