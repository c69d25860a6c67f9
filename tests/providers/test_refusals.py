"""Refusals of pictures: told apart in every server's words, and from all other trouble."""

import pytest

from kaiwa.errors import CompletionFailed, KaiwaError, ModelNotSupported, PicturesNotSupported
from kaiwa.providers.http import Operator
from tests.providers.asking import NETWORK_KINDS, hear, network_model, pictured
from tests.support.model_server import ModelServer, fail_within, refuse

pytestmark = pytest.mark.anyio

CANNOT: dict[str, tuple[int, str]] = {
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


@pytest.mark.parametrize("kind", NETWORK_KINDS)
@pytest.mark.parametrize("vendor", CANNOT)
async def test_a_model_that_cannot_look_at_pictures_is_told_as_such(
    kind: str, vendor: str, server: ModelServer, http: Operator
) -> None:
    status, sentence = CANNOT[vendor]
    server.play(refuse(status, sentence))
    with pytest.raises(PicturesNotSupported) as caught:
        await hear(network_model(kind, server, http), pictured())
    assert caught.value.message == "The model model-1 cannot look at pictures."
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", NETWORK_KINDS)
async def test_a_stream_may_begin_with_such_a_refusal(
    kind: str, server: ModelServer, http: Operator
) -> None:
    server.play(fail_within(message="image input is not supported", code="500"))
    with pytest.raises(PicturesNotSupported):
        await hear(network_model(kind, server, http), pictured())


@pytest.mark.parametrize("vendor", CANNOT)
async def test_without_pictures_the_same_words_mean_something_else(
    vendor: str, server: ModelServer, http: Operator
) -> None:
    status, sentence = CANNOT[vendor]
    server.play(refuse(status, sentence))
    with pytest.raises(KaiwaError) as caught:
        await hear(network_model("openai", server, http))
    wanted = ModelNotSupported if status == 404 else CompletionFailed
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
