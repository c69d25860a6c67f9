"""Refusals of pictures and tools: told apart in every server's words, and from other trouble."""

import pytest
from msgspec import Struct

from kaiwa.domain.prompt import ModelRequest
from kaiwa.errors import (
    CompletionFailed,
    KaiwaError,
    ModelNotSupported,
    PicturesNotSupported,
    ToolsNotSupported,
)
from kaiwa.providers.http import Operator
from tests.providers.asking import NETWORK_KINDS, equipped, hear, network_model, pictured
from tests.support.model_server import ModelServer, fail_within, refuse

pytestmark = pytest.mark.anyio

CANNOT_LOOK: dict[str, tuple[int, str]] = {
    "OpenAI, Azure": (
        400,
        "Invalid content type. image_url is only supported by certain models.",
    ),
    "Anthropic": (400, "'claude-2.1' does not support image input."),
    "OpenRouter": (404, "No endpoints found that support image input"),
    "Ollama": (400, "this model does not support image input"),
    "Ollama, on this machine": (500, "this model is missing data required for image input"),
    "llama.cpp": (
        500,
        "image input is not supported - hint: if this is unexpected, you may need to provide the"
        " mmproj",
    ),
    "vLLM": (400, "facebook/opt-125m is not a multimodal model None"),
    "vLLM, by its limit": (400, "At most 0 image(s) may be provided in one prompt."),
    "LM Studio": (400, "Model does not support images. Please use a model that does."),
    "DeepSeek": (
        400,
        "Failed to deserialize the JSON body into the target type: messages[1]: unknown variant"
        " `image_url`, expected `text` at line 1 column 3044895",
    ),
    "Groq": (400, "messages[0].content must be a string"),
    "Groq, once": (
        400,
        "'messages.0' : for 'role:user' the following must be satisfied"
        "[('messages.0.content' : value must be a string)]",
    ),
    "Mistral": (400, "Image input is not enabled for this model"),
    "Gemini": (400, "Image input modality is not enabled for models/gemma-3-27b-it"),
    "xAI": (400, "Image inputs are not supported by this model."),
    "Volcengine": (400, "Model do not support image input. Request id: 02178"),
    "Bedrock": (400, "This model doesn't support the image field. Remove image and try again."),
}


CANNOT_CALL: dict[str, tuple[int, str]] = {
    "OpenAI": (
        404,
        "tools is not supported in this model. For a list of supported models, refer to"
        " https://platform.openai.com/docs/guides/function-calling",
    ),
    "OpenAI, its parameter": (
        400,
        "Unsupported parameter: 'tools' is not supported with this model.",
    ),
    "Azure, its first models": (404, "Unrecognized request argument supplied: tools"),
    "Anthropic": (400, "'claude-2.1' does not support tool use."),
    "OpenRouter": (404, "No endpoints found that support tool use. To learn more, visit …"),
    "Ollama": (400, "registry.ollama.ai/library/smollm2:135m does not support tools"),
    "vLLM": (
        400,
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    ),
    "llama.cpp": (500, "tools param requires --jinja flag"),
    "llama.cpp, once": (500, "Unsupported param: tools"),
    "DeepSeek": (400, "deepseek-reasoner does not support Function Calling"),
    "Groq": (400, "`tool calling` is not supported with this model"),
    "Mistral": (400, "Function calling is not enabled for this model"),
    "Gemini": (400, "Function calling is not enabled for models/gemma-3-27b-it"),
    "xAI": (
        400,
        "Invalid request content: The model does not support tool use or function calling but"
        " tools or tool_choice have been specified on the request.",
    ),
    "Bedrock": (400, "This model doesn't support tool use in streaming mode."),
    "DashScope": (
        400,
        "<400> InternalError.Algo.InvalidParameter: The tool call is not supported.",
    ),
    "SiliconFlow": (400, "Function call is not supported for this model."),
    "Novita": (400, "model features function calling not support"),
}


class Case(Struct, frozen=True):
    """A refusal of what the request carries."""

    request: ModelRequest
    error: type[KaiwaError]
    message: str
    status: int
    sentence: str


BLIND = "The model model-1 cannot look at pictures."
TOOLLESS = "The model model-1 cannot call tools."
CASES = {
    **{
        f"{vendor}: pictures": Case(pictured(), PicturesNotSupported, BLIND, *said)
        for vendor, said in CANNOT_LOOK.items()
    },
    **{
        f"{vendor}: tools": Case(equipped(), ToolsNotSupported, TOOLLESS, *said)
        for vendor, said in CANNOT_CALL.items()
    },
}


@pytest.mark.parametrize("kind", NETWORK_KINDS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_a_model_cannot_do_is_told_as_such_and_not_tried_again(
    kind: str, case: Case, server: ModelServer, http: Operator
) -> None:
    server.play(refuse(case.status, case.sentence))
    with pytest.raises(case.error) as caught:
        await hear(network_model(kind, server, http), case.request)
    assert caught.value.message == case.message
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", NETWORK_KINDS)
@pytest.mark.parametrize(
    ("request_", "error", "sentence"),
    [
        (pictured(), PicturesNotSupported, "image input is not supported"),
        (equipped(), ToolsNotSupported, "tools param requires --jinja flag"),
    ],
)
async def test_a_stream_may_begin_with_such_a_refusal(
    kind: str,
    request_: ModelRequest,
    error: type[KaiwaError],
    sentence: str,
    server: ModelServer,
    http: Operator,
) -> None:
    server.play(fail_within(message=sentence, code="500"))
    with pytest.raises(error):
        await hear(network_model(kind, server, http), request_)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_when_nothing_of_it_was_sent_the_same_words_mean_something_else(
    case: Case, server: ModelServer, http: Operator
) -> None:
    server.play(refuse(case.status, case.sentence))
    with pytest.raises(KaiwaError) as caught:
        await hear(network_model("openai", server, http))
    wanted = ModelNotSupported if case.status == 404 else CompletionFailed
    assert type(caught.value) is wanted


@pytest.mark.parametrize(
    "sentence",
    [
        "You uploaded an unsupported image. Please make sure your image is valid.",
        "Image size is not supported",
        "The model does not support image format image/bmp",
        "We do not support image URLs that need a login",
        "messages.0.content.0.image.source.base64: image exceeds 5 MB maximum",
        "Invalid image data",
        "image/tiff is not supported",
    ],
)
async def test_a_picture_that_is_wrong_is_no_model_that_is_blind(
    sentence: str, server: ModelServer, http: Operator
) -> None:
    server.play(refuse(400, sentence))
    with pytest.raises(CompletionFailed) as caught:
        await hear(network_model("openai", server, http), pictured())
    assert caught.value.message == f"[openai] Bad Request Error, {sentence}"


@pytest.mark.parametrize(
    "sentence",
    [
        "The model does not support this tool_choice",
        "This model does not support parallel tool calls",
        "parallel_tool_calls is not supported with this model",
        "tool call validation failed: parameters for tool f did not match schema",
        "Tool names with dots are not supported",
        "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    ],
)
async def test_a_tool_that_is_wrong_is_no_model_that_cannot_call_any(
    sentence: str, server: ModelServer, http: Operator
) -> None:
    server.play(refuse(400, sentence))
    with pytest.raises(CompletionFailed) as caught:
        await hear(network_model("openai", server, http), equipped())
    assert caught.value.message == f"[openai] Bad Request Error, {sentence}"
