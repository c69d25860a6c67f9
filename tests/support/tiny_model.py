"""A model for sherpa-onnx that hears HELLOLO WORLD in everything, of some hundred bytes.

It is a Zipformer CTC model whose graph is two constants: ten frames of scores for five tokens.
"""

from base64 import b64decode
from pathlib import Path
from typing import Final

HEARD: Final = "HELLOLO WORLD"
MODEL: Final = b64decode(
    "CAg6qQMK+AESCWxvZ19wcm9icyIIQ29uc3RhbnQq4AEKBXZhbHVlKtMBCAEICggFEAFKyAEAAKDBAAAA"
    "AAAAoMEAAKDBAACgwQAAAAAAAKDBAACgwQAAoMEAAKDBAACgwQAAoMEAAAAAAACgwQAAoMEAAAAAAACg"
    "wQAAoMEAAKDBAACgwQAAoMEAAKDBAACgwQAAAAAAAKDBAAAAAAAAoMEAAKDBAACgwQAAoMEAAKDBAACg"
    "wQAAoMEAAAAAAACgwQAAAAAAAKDBAACgwQAAoMEAAKDBAACgwQAAoMEAAKDBAACgwQAAAAAAAAAAAACg"
    "wQAAoMEAAKDBAACgwaABBAo1Eg1sb2dfcHJvYnNfbGVuIghDb25zdGFudCoaCgV2YWx1ZSoOCAEQB0oI"
    "CgAAAAAAAACgAQQSAWdaGQoBeBIUChIIARIOCgMSAU4KAxIBVAoCCFBaFQoGeF9sZW5zEgsKCQgHEgUK"
    "AxIBTmIiCglsb2dfcHJvYnMSFQoTCAESDwoDEgFOCgQSAlQyCgIIBWIcCg1sb2dfcHJvYnNfbGVuEgsK"
    "CQgHEgUKAxIBTkIECgAQDXIcCgptb2RlbF90eXBlEg56aXBmb3JtZXIyX2N0Y3IMCgd2ZXJzaW9uEgEx"
    "cg8KB2NvbW1lbnQSBHRlc3RyDwoKdm9jYWJfc2l6ZRIBNXIXChJzdWJzYW1wbGluZ19mYWN0b3ISATQ="
)
TOKENS: Final = "<blk> 0\n\u2581HE 1\nL 2\nLO 3\n\u2581WORLD 4\n"
"""The first is the blank; the bar is a space."""


def write_model(folder: Path) -> Path:
    """Put it there, as models are published."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(MODEL)
    (folder / "tokens.txt").write_text(TOKENS, "utf-8")
    return folder
