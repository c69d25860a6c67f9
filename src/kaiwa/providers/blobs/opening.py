"""From the address an operator gives to the store behind it.

Credentials come from the variables the tools of each cloud read; obstore reads them itself.
"""

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from kaiwa.errors import OperatorError
from kaiwa.ports import BlobStore
from kaiwa.providers.blobs.faults import reason_of
from kaiwa.providers.blobs.folder import Folder
from kaiwa.providers.blobs.objects import Objects

if TYPE_CHECKING:
    from obstore.store import (
        AzureConfig,
        ClientConfig,
        GCSConfig,
        ObjectStore,
        RetryConfig,
        S3Config,
    )

FILES: Final = "files"
"""The folder, within the data folder, of a store that has no address."""

_FORMS: Final = "file:///folder, s3://bucket, gs://bucket, az://container and memory:"
_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": ("endpoint", "region", "virtual_hosted_style_request", "disable_bulk_delete"),
    "gs": ("base_url",),
    "az": ("account_name", "endpoint", "use_emulator"),
}
_ADDRESSES: Final = ("endpoint", "base_url")
_ENDPOINTS: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_CONNECT_SECONDS: Final = 2
_RETRIES: Final = 2
_RETRY_SECONDS: Final = 4
_LONGEST: Final = timedelta(days=1)
"""For one answer, however long its reader takes; `patience` bounds each wait within."""


def open_blobs(url: str, folder: Path, patience: float = 20.0) -> BlobStore:
    """The store at the address; an empty one means the folder `FILES` inside `folder`.

    `patience`: seconds a store in the cloud may take for an answer, or for 5 MB of a file. Nothing
    is asked of it yet. Raises `OperatorError`.
    """
    if not url:
        return _open_folder(folder / FILES, make=True)
    try:
        address = urlsplit(url)
        port = address.port
    except ValueError:
        raise OperatorError("The address of the file storage is not valid.") from None
    if address.scheme == "memory" and not address.netloc and not address.path.strip("/"):
        return Objects(MemoryStore())
    if address.scheme == "file" and not address.netloc and address.path.startswith("/"):
        return _open_folder(Path(unquote(address.path)), make=False)
    open_store = _CLOUDS.get(address.scheme)
    if open_store is None:
        raise OperatorError(f"The address of the file storage has to be one of {_FORMS}.")
    if address.username is not None or address.password is not None or port is not None:
        raise OperatorError(
            "The address of the file storage may not hold credentials or a port; "
            "they belong into the environment and into endpoint=."
        )
    if not address.netloc:
        raise OperatorError(f"The address {address.scheme}:// of the file storage names no bucket.")
    return _open_cloud(open_store, address, _read_options(address), patience)


def _open_folder(path: Path, *, make: bool) -> BlobStore:
    try:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            raise OperatorError(f"The folder of the file storage, {path}, does not exist.")
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise OperatorError(f"The folder of the file storage, {path}, cannot be written.")
        return Folder(path)
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
        raise OperatorError(
            f"The folder of the file storage, {path}, cannot be used: {reason}."
        ) from None


def _read_options(address: SplitResult) -> dict[str, str]:
    known = _OPTIONS[address.scheme]
    options = dict(parse_qsl(address.query, keep_blank_values=True))
    for name, value in options.items():
        if name not in known:
            raise OperatorError(
                f"The address of the file storage may not hold {name}=; "
                f"it takes {', '.join(known)}, and credentials come from the environment."
            )
        if name in _ADDRESSES and not value.startswith(("http://", "https://")):
            raise OperatorError(f"In the address of the file storage, {name}= has to be a URL.")
    return options


_Open = Callable[[str, str | None, dict[str, str], "ClientConfig", "RetryConfig"], "ObjectStore"]


def _open_cloud(
    open_store: _Open, address: SplitResult, options: dict[str, str], patience: float
) -> BlobStore:
    prefix = unquote(address.path).strip("/") or None
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=patience),
        "timeout": _LONGEST,
    }
    if _goes_plain(address.scheme, options):
        client["allow_http"] = True
    retry: RetryConfig = {
        "max_retries": _RETRIES,
        "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
    }
    try:
        store = open_store(address.netloc, prefix, options, client, retry)
    except (BaseError, ValueError) as error:
        raise OperatorError(f"The file storage cannot be opened: {reason_of(error)}.") from None
    return Objects(store, os.environ.get("AWS_SECRET_ACCESS_KEY", ""))


def _goes_plain(scheme: str, options: Mapping[str, str]) -> bool:
    """Whether the operator chose an address without TLS, as of a store on the same machine."""
    given = [options[name] for name in _ADDRESSES if name in options]
    set_ = [os.environ[name] for name in _ENDPOINTS[scheme] if os.environ.get(name)]
    emulated = options.get("use_emulator", "").lower() in ("1", "true")
    return emulated or any(url.startswith("http://") for url in (given or set_)[:1])


def _open_s3(
    bucket: str,
    prefix: str | None,
    options: dict[str, str],
    client: "ClientConfig",
    retry: "RetryConfig",
) -> "ObjectStore":
    if "endpoint" in options:
        # The variable for S3 alone would win over what the address says.
        options = options | {"aws_endpoint_url_s3": options["endpoint"]}
    config = cast("S3Config", options)
    return S3Store(bucket, prefix=prefix, config=config, client_options=client, retry_config=retry)


def _open_gcs(
    bucket: str,
    prefix: str | None,
    options: dict[str, str],
    client: "ClientConfig",
    retry: "RetryConfig",
) -> "ObjectStore":
    config = cast("GCSConfig", options)
    return GCSStore(bucket, prefix=prefix, config=config, client_options=client, retry_config=retry)


def _open_azure(
    container: str,
    prefix: str | None,
    options: dict[str, str],
    client: "ClientConfig",
    retry: "RetryConfig",
) -> "ObjectStore":
    config = cast("AzureConfig", options)
    return AzureStore(
        container, prefix=prefix, config=config, client_options=client, retry_config=retry
    )


_CLOUDS: Final[Mapping[str, _Open]] = {"s3": _open_s3, "gs": _open_gcs, "az": _open_azure}
