"""What Dify's format can switch on and Kaiwa does not do yet: told, never dropped in silence."""

from typing import Final

from kaiwa.domain.dsl_yaml import Block

_SWITCHES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "annotation_reply": (
        "annotation replies are not honoured yet",
        ("id", "score_threshold", "embedding_model"),
    ),
}
_DATASET_KEYS = (
    "retrieval_model", "top_k", "score_threshold", "score_threshold_enabled", "reranking_enable",
    "reranking_mode", "reranking_model", "weights", "metadata_filtering_mode",
    "metadata_filtering_conditions", "metadata_model_config",
)  # fmt: skip
_NO_KNOWLEDGE = "knowledge bases are not honoured yet"


def note_what_is_later(config: Block) -> None:
    """Take these keys of `model_config`; note those that are switched on."""
    for key, (reason, details) in _SWITCHES.items():
        switch = config.block(key)
        if switch.flag("enabled", default=False):
            config.note(key, reason)
        _pass(switch, details)
    more = config.block("more_like_this")
    if more.flag("enabled", default=False):
        config.note("more_like_this", "more like this is not honoured yet, only told to clients")
    _note_knowledge(config)


def _note_knowledge(config: Block) -> None:
    settings = config.block("dataset_configs")
    datasets = settings.block("datasets")
    for item in datasets.items("datasets"):
        dataset = Block(item, config.notes).block("dataset")
        if dataset.flag("enabled", default=True):
            config.notes.append(f"{item.key}: {_NO_KNOWLEDGE}")
    _pass(datasets, ("strategy",))
    _pass(settings, _DATASET_KEYS)
    if config.text("dataset_query_variable"):
        config.note("dataset_query_variable", "is for completion apps only, ignored")


def _pass(block: Block, known: tuple[str, ...]) -> None:
    for key in known:
        block.find(key)
    block.note_rest()
