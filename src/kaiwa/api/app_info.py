"""What a client may know of the app and of the server."""

from litestar import Response

from kaiwa import __version__
from kaiwa.api import wire, wire_app
from kaiwa.api.auth import authorise
from kaiwa.api.site import ApiRequest, site_of
from kaiwa.errors import ServiceUnavailable
from kaiwa.store.db import check_alive


async def get_welcome() -> Response[wire.Welcome]:
    """Where one has arrived."""
    return Response(wire.Welcome("Kaiwa OpenAPI", "v1", __version__))


async def get_parameters(request: ApiRequest) -> Response[wire_app.Parameters]:
    """What a client needs to draw the app: opening, form, switches and limits."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    return Response(wire_app.parameters(caller.config, site.keeper.limits))


async def get_meta(request: ApiRequest) -> Response[wire_app.Meta]:
    """Icons of the app's tools."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    tools = await site.open_tools(caller.config.agent) if caller.config.agent else ()
    return Response(wire_app.Meta({tool.spec.name: tool.icon for tool in tools}))


async def get_info(request: ApiRequest) -> Response[wire_app.Info]:
    """The app's name, description and mode."""
    caller = await authorise(request, site_of(request).db)
    return Response(wire_app.info(caller.app))


async def get_site(request: ApiRequest) -> Response[wire_app.SiteBody]:
    """How the app presents itself on a page."""
    caller = await authorise(request, site_of(request).db)
    return Response(wire_app.site_body(caller.app))


async def get_healthz() -> Response[wire.Health]:
    """The process is alive."""
    return Response(wire.Health("ok"))


async def get_readyz(request: ApiRequest) -> Response[wire.Health]:
    """New questions are welcome: the database answers and the server is not shutting down."""
    site = site_of(request)
    if site.context.running.draining:
        raise ServiceUnavailable(retry_after=5)
    await check_alive(site.db)
    return Response(wire.Health("ok"))
