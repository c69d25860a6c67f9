"""What an OpenAPI document offers: its operations, and the credentials it asks for.

It reads no files and sends nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, cast

import yaml
from msgspec import DecodeError, Struct, json
from msgspec.structs import replace
from yarl import URL

from kaiwa.domain.message import JsonValue
from kaiwa.domain.tools import legal_name
from kaiwa.providers.tools.names import find_free, legal_description, name_all
from kaiwa.providers.tools.schemas import JsonObject, References, Unusable, as_object

Place = Literal["path", "query", "header"]

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_FORM: Final = "application/x-www-form-urlencoded"
_OWN_HEADERS: Final = frozenset({"accept", "authorization", "content-type", "cookie"})
"""Never parameters: the document says these elsewhere."""
_STYLES: Final = {
    "path": ("simple",),
    "header": ("simple",),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
}


class Parameter(Struct, frozen=True):
    """A parameter outside the body."""

    key: str
    """Its name among the arguments."""
    name: str
    place: Place
    required: bool
    style: str
    explode: bool
    as_json: bool
    schema: dict[str, JsonValue]


class Body(Struct, frozen=True):
    """What a request carries."""

    content_type: str
    required: bool
    schema: dict[str, JsonValue]
    fields: dict[str, str] | None
    """Its properties by their names among the arguments; None: it is one argument, `key`."""
    key: str = "body"

    @property
    def is_form(self) -> bool:
        return self.content_type == _FORM


class Operation(Struct, frozen=True):
    """Something that can be asked for."""

    name: str
    label: str
    description: str
    method: str
    server: str
    """The address before the path, which may be relative; empty when the document names none."""
    path: str
    parameters: tuple[Parameter, ...]
    body: Body | None

    @property
    def schema(self) -> dict[str, JsonValue]:
        """Of its arguments."""
        properties: dict[str, JsonValue] = {one.key: one.schema for one in self.parameters}
        required = [one.key for one in self.parameters if one.required]
        if self.body is not None and self.body.fields is None:
            properties[self.body.key] = self.body.schema
            required += [self.body.key] * self.body.required
        elif self.body is not None and self.body.fields is not None:
            parts = cast("dict[str, JsonValue]", self.body.schema["properties"])
            needed = cast("list[str]", self.body.schema.get("required") or [])
            for key, name in self.body.fields.items():
                properties[key] = parts[name]
                required += [key] * (self.body.required and name in needed)
        return {"type": "object", "properties": properties, "required": [*required]}


class Document(Struct, frozen=True):
    """An OpenAPI document."""

    operations: tuple[Operation, ...]
    """At least one; their names are legal and differ."""
    left_out: tuple[str, ...]
    """Operations that cannot be used, each with the reason."""
    key_header: str
    """The header and the parameter of the query that carry an API key; empty when there is none."""
    key_query: str


def read_document(text: str, held: Iterable[tuple[str, str]] = ()) -> Document:
    """`held`: places and names of parameters that the settings give, as headers in lower case.

    Raises `Unusable` when there is nothing in it that can be used.
    """
    document = _parse(text)
    if "swagger" in document:
        raise Unusable("it is of Swagger 2.0; OpenAPI 3.0 and 3.1 are understood")
    version = str(document.get("openapi", ""))
    if not version.startswith(("3.0", "3.1")):
        raise Unusable("it does not say that it is of OpenAPI 3.0 or 3.1")
    references = References(document)
    key_header, key_query = _find_keys(document, references)
    keys = {("header", key_header.lower()), ("query", key_query)}
    reader = _Reader(references, document, {*keys, *held})
    operations, left_out = reader.read()
    if not operations:
        reason = f": {left_out[0]}" if left_out else ""
        raise Unusable(f"it has no operation that can be used{reason}")
    names = name_all(one.name for one in operations)
    named = tuple(replace(one, name=name) for name, one in zip(names, operations, strict=True))
    return Document(named, tuple(left_out), key_header, key_query)


def _parse(text: str) -> JsonObject:
    try:
        if text.lstrip().startswith("{"):
            return as_object(json.decode(text))
    except (DecodeError, RecursionError):
        pass  # it may be YAML all the same, which has a better word for what is wrong
    try:
        return as_object(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise Unusable(f"it is neither JSON nor YAML: {reason}") from error


def _find_keys(document: JsonObject, references: References) -> tuple[str, str]:
    found = {"header": "", "query": ""}
    components = references.follow(document.get("components", {}))
    for scheme in as_object(components.get("securitySchemes", {})).values():
        one = references.follow(scheme)
        if one.get("type") == "apiKey" and one.get("in") in found:
            place = str(one["in"])
            found[place] = found[place] or str(one.get("name", ""))
    return found["header"], found["query"]


class _Reader:
    def __init__(
        self, references: References, document: JsonObject, withheld: set[tuple[str, str]]
    ) -> None:
        """`withheld`: parameters that carry credentials, by place and name."""
        self._references = references
        self._document = document
        self._withheld = withheld

    def read(self) -> tuple[list[Operation], list[str]]:
        operations: list[Operation] = []
        left_out: list[str] = []
        for path, item in as_object(self._document.get("paths", {})).items():
            for method in _METHODS:
                try:
                    shared = self._references.follow(item)
                    if method in shared:
                        operation = self._references.follow(shared[method])
                        operations.append(self._read_operation(path, method, shared, operation))
                except Unusable as error:
                    left_out.append(f"{method.upper()} {path}: {error}")
        return operations, left_out

    def _read_operation(
        self, path: str, method: str, shared: JsonObject, operation: JsonObject
    ) -> Operation:
        name = str(operation.get("operationId") or f"{method}{path}")
        summary = str(operation.get("summary") or "").strip()
        description = str(operation.get("description") or "").strip()
        parameters = self._read_parameters(shared, operation)
        given = {f"{{{one.name}}}" for one in parameters if one.place == "path"}
        if path.count("{") != sum(path.count(place) for place in given):
            raise Unusable("it does not describe all parameters of its path")
        return Operation(
            name=name,
            label=summary or name,
            description=legal_description(
                "\n".join(dict.fromkeys(filter(None, (summary, description))))
                or f"{method.upper()} {path}"
            ),
            method=method.upper(),
            server=self._find_server(operation, shared, self._document),
            path=path,
            parameters=tuple(parameters),
            body=self._read_body(operation, {one.key for one in parameters}),
        )

    def _find_server(self, *places: JsonObject) -> str:
        for place in places:
            servers = place.get("servers")
            if isinstance(servers, list) and servers:
                server = as_object(cast("list[object]", servers)[0])
                url = str(server.get("url", ""))
                for name, variable in as_object(server.get("variables", {})).items():
                    url = url.replace(f"{{{name}}}", str(as_object(variable).get("default", "")))
                return url
        return ""

    def _read_parameters(self, *places: JsonObject) -> list[Parameter]:
        """Those of the path, and then the operation's, which win."""
        found: dict[tuple[str, str], JsonObject] = {}
        for place in places:
            for item in _items(place.get("parameters")):
                one = self._references.follow(item)
                found[str(one.get("in")), str(one.get("name"))] = one
        parameters: list[Parameter] = []
        for (place, name), one in found.items():
            if place == "cookie":
                if one.get("required") is True:
                    raise Unusable(f"it needs the cookie {name}")
            elif place not in ("path", "query", "header"):
                raise Unusable(f"its parameter {name} has no place that is known")
            elif not self._is_withheld(place, name):
                taken = {other.key for other in parameters}
                parameters.append(self._read_parameter(place, name, one, taken))
        return parameters

    def _is_withheld(self, place: Place, name: str) -> bool:
        if place == "header":
            name = name.lower()
            return name in _OWN_HEADERS or (place, name) in self._withheld
        return (place, name) in self._withheld

    def _read_parameter(
        self, place: Place, name: str, one: JsonObject, taken: set[str]
    ) -> Parameter:
        style = str(one.get("style") or ("form" if place == "query" else "simple"))
        if style not in _STYLES[place]:
            raise Unusable(f"its parameter {name} is written in the style {style}")
        content = as_object(one.get("content", {}))
        holder = self._references.follow(next(iter(content.values()))) if content else one
        schema = self._references.read_schema(holder.get("schema", {}))
        if description := one.get("description"):
            schema = {**schema, "description": str(description)}
        key = legal_name(name)
        explode = one.get("explode", style == "form")
        return Parameter(
            key=find_free(f"{place}_{key}" if key in taken else key, taken),
            name=name,
            place=place,
            required=place == "path" or one.get("required") is True,
            style=style,
            explode=explode is True,
            as_json=bool(content),
            schema=schema,
        )

    def _read_body(self, operation: JsonObject, taken: set[str]) -> Body | None:
        if "requestBody" not in operation:
            return None
        body = self._references.follow(operation["requestBody"])
        required = body.get("required") is True
        contents = as_object(body.get("content", {}))
        content_type = _choose_content_type(contents)
        if content_type is None:
            if required:
                raise Unusable("its body is neither JSON nor a form")
            return None
        media = self._references.follow(contents[content_type])
        schema = self._references.read_schema(media.get("schema", {}))
        if description := body.get("description"):
            schema = {"description": str(description), **schema}
        sent = "application/json" if content_type == "*/*" else content_type
        fields = _fields(schema, taken)
        if fields is None and sent == _FORM:
            raise Unusable("its form has no fields that are known")
        return Body(sent, required, schema, fields, find_free("body", taken))


def _items(value: object) -> Sequence[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _choose_content_type(contents: Mapping[str, object]) -> str | None:
    bare = {one.partition(";")[0].strip().lower(): one for one in contents}
    chosen = next(_ranked(bare), None)
    return None if chosen is None else bare[chosen]


def _ranked(names: Mapping[str, str]) -> Iterator[str]:
    yield from (name for name in names if name == "application/json")
    yield from (name for name in names if name.endswith("+json") or name == "*/*")
    yield from (name for name in names if name == _FORM)


def _fields(schema: Mapping[str, JsonValue], taken: set[str]) -> dict[str, str] | None:
    """None when the body has to be one argument: it is not plainly an object of known fields."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        return None
    if schema.get("additionalProperties") or {"allOf", "anyOf", "oneOf"} & schema.keys():
        return None
    fields = {legal_name(name): name for name in properties}
    return None if len(fields) < len(properties) or fields.keys() & taken else fields


def resolve_server(server: str, document: str) -> str:
    """The server's address, which may be relative to the document's; "" when it is none."""
    try:
        url = URL(server)
        if document.startswith(("http://", "https://")):
            url = URL(document).join(url)
    except ValueError:
        return ""
    return str(url).rstrip("/") if url.scheme in ("http", "https") and url.host else ""
