"""A file on its way in, to be kept for questions to come."""

from litestar import Response

from kaiwa.api import wire
from kaiwa.api.auth import authorise
from kaiwa.api.form import Form, name_of
from kaiwa.api.site import ApiRequest, linking, site_of
from kaiwa.domain.app import Caller
from kaiwa.errors import FileTooLarge, NoFileUploaded, UnsupportedFileType
from kaiwa.files.keeping import Allow, Coming
from kaiwa.files.kinds import Kind


async def post_upload(request: ApiRequest) -> Response[wire.UploadedFile]:
    """Keep a file for questions to come; it is this end user's alone."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    form = Form(request, site.keeper.limits.largest, NoFileUploaded)
    form.check_length(FileTooLarge.over)
    segment = await form.find_file()
    name = name_of(segment) or ""
    coming = Coming(name, segment.content_type or "", form.read_file())
    stored = await site.keeper.keep(caller.app, form.user, coming, allowing(caller))
    return Response(wire.uploaded_file(stored, linking(request)(stored)), status_code=201)


def allowing(caller: Caller) -> Allow:
    """Pictures may always come, other files as the app or a field of its form says."""
    config = caller.config
    all_rules = [config.files, *(field.files for field in config.form)]

    def allow(kind: Kind) -> None:
        if kind.type == "image":
            return
        if not any(rules.enabled and rules.takes(kind.type, kind.extension) for rules in all_rules):
            raise UnsupportedFileType

    return allow
