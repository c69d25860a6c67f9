"""What files are by their bytes, names and declared types; names made harmless."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.errors import FileNameMissing, UnsupportedFileType
from kaiwa.files.kinds import (
    LONGEST_EXTENSION,
    LONGEST_STEM,
    Kind,
    clean_name,
    extension_of,
    find_kind,
    is_inline_safe,
)

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
GIF = b"GIF89a\x01\0\x01\0\0\0\0"
WEBP = b"RIFF\x24\0\0\0WEBPVP8 "
PDF = b"%PDF-1.7\n%\xe2\xe3"
ZIP = b"PK\x03\x04" + b"\0" * 26
DOCX = ZIP + b"[Content_Types].xml"
EPUB = ZIP + b"mimetypeapplication/epub+zip"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0"
MP4 = b"\0\0\0\x18ftypmp42\0\0"
EXE = b"MZ\x90\0\x03\0\0\0"
HTML = b"<!doctype html><script>alert(1)</script>"
WEBM = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01"


@pytest.mark.parametrize(
    ("head", "name", "declared", "type", "mime_type"),
    [
        (PNG, "a.png", "image/png", "image", "image/png"),
        (PNG, "a.PNG", "image/x-png", "image", "image/png"),
        (JPEG, "a.jpg", "image/jpg", "image", "image/jpeg"),
        (JPEG, "a.jpeg", "image/pjpeg", "image", "image/jpeg"),
        (GIF, "a.gif", "", "image", "image/gif"),
        (WEBP, "a.webp", "application/octet-stream", "image", "image/webp"),
        (PDF, "a.pdf", "application/pdf", "document", "application/pdf"),
        (DOCX, "a.docx", "application/x-zip-compressed", "document", None),
        (DOCX, "a.xlsx", "", "document", None),
        (EPUB, "a.epub", "application/epub+zip", "document", "application/epub+zip"),
        (OLE, "a.xls", "application/vnd.ms-excel", "document", "application/vnd.ms-excel"),
        (b"a,b\n", "a.csv", "application/vnd.ms-excel", "document", "text/csv"),
        (b"# a", "a.md", "text/x-markdown", "document", "text/markdown"),
        (b"# a", "a.md", "text/plain; charset=utf-8", "document", "text/markdown"),
        ("é".encode("utf-16"), "a.txt", "text/plain", "document", "text/plain"),
        ("日本".encode("shift_jis"), "a.txt", "text/plain", "document", "text/plain"),
        (b"ID3 is a tag", "a.txt", "text/plain", "document", "text/plain"),
        (HTML, "a.html", "text/html", "document", "text/html"),
        (b"{}", "a.json", "application/json", "document", "application/json"),
        (b"ID3\x04\0", "a.mp3", "audio/mp3", "audio", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "a.mpga", "audio/mpeg", "audio", "audio/mpeg"),
        (b"\0\0\x01\xba", "a.mpga", "video/mpeg", "video", "video/mpeg"),
        (MP4, "a.mp4", "video/mp4", "video", "video/mp4"),
        (MP4, "a.m4a", "audio/x-m4a", "audio", "audio/mp4"),
        (MP4, "a.mov", "video/mp4", "video", "video/quicktime"),
        (WEBM + b"V_VP9A_OPUS", "a.webm", "audio/webm", "video", "video/webm"),
        (WEBM + b"A_OPUS", "a.webm", "video/webm", "audio", "audio/webm"),
        (WEBM, "a.webm", "audio/webm", "audio", "audio/webm"),
        (WEBM, "a.webm", "", "video", "video/webm"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a.wav", "audio/x-wav", "audio", "audio/wav"),
        (b"<svg/>", "a.svg", "image/svg+xml", "custom", "image/svg+xml"),
        (ZIP + b"a.exe", "a.zip", "application/zip", "custom", "application/octet-stream"),
        (EXE, "a.exe", "application/x-msdownload", "custom", "application/octet-stream"),
        (b"let a", "a.ts", "video/mp2t", "custom", "application/octet-stream"),
    ],
)
def test_a_file_is_what_its_bytes_name_and_declared_type_agree_on(
    head: bytes, name: str, declared: str, type: str, mime_type: str | None
):
    kind = find_kind(head, name, declared)
    assert kind.type == type
    assert kind.extension == extension_of(name)
    assert mime_type is None or kind.mime_type == mime_type


@pytest.mark.parametrize(
    ("head", "declared", "kind"),
    [
        (PNG, "image/png", Kind("image", "png", "image/png")),
        (JPEG, "", Kind("image", "jpg", "image/jpeg")),
        (b"hello", "text/plain", Kind("document", "txt", "text/plain")),
        (b"hello", "", Kind("custom", "", "application/octet-stream")),
    ],
)
def test_a_name_without_an_extension_gets_one_from_the_bytes(
    head: bytes, declared: str, kind: Kind
):
    assert find_kind(head, "blob", declared) == kind


@pytest.mark.parametrize(
    ("head", "name", "declared", "sentence"),
    [
        (b"", "a.png", "image/png", "The file is empty."),
        (PNG, "a.jpg", "", "The file is a PNG picture, but its name ends in .jpg."),
        (PNG, "a.pdf", "", "The file is a PNG picture, but its name ends in .pdf."),
        (PNG, "a.txt", "", "The file is a PNG picture, but its name ends in .txt."),
        (EXE, "a.png", "image/png", "The file is a program, but its name ends in .png."),
        (EXE, "a.txt", "text/plain", "The file is a program, but its name ends in .txt."),
        (ZIP + b"a", "a.png", "", "The file is a ZIP archive, but its name ends in .png."),
        (ZIP + b"a.exe", "a.docx", "", "The file is a ZIP archive, but its name ends in .docx."),
        (DOCX, "a.epub", "", "The file is an office document, but its name ends in .epub."),
        (HTML, "a.png", "image/png", "The file is text, but its name ends in .png."),
        (b"<svg/>", "a.png", "", "The file is text, but its name ends in .png."),
        (GIF, "a.html", "text/html", "The file is a GIF picture, but its name ends in .html."),
        (b"a\0b", "a.txt", "", "The file is of an unknown kind, but its name ends in .txt."),
        (PNG, "a.png", "image/jpeg", "The file is a PNG picture, but was declared as image/jpeg."),
        (PNG, "a.png", "text/html", "The file is a PNG picture, but was declared as text/html."),
        (PNG, "a.png", "text/x-a", "The file is a PNG picture, but was declared as text/x-a."),
        (PNG, "a.png", "video/x-a", "The file is a PNG picture, but was declared as video/x-a."),
        (b"hi", "a.txt", "image/png", "The file is text, but was declared as image/png."),
        (EXE, "a.dat", "image/png", "The file is a program, but was declared as image/png."),
        (PDF, "a.pdf", "image/<b>", "The file is a PDF document, but was declared as image/?b?."),
        (MP4, "a.mp4", "image/png", "The file is MP4 audio or video, but was declared as"),
        (
            b"\0\0\0\x18ftypheic\0\0",
            "a.mp4",
            "",
            "The file is a HEIF picture, but its name ends in .mp4.",
        ),
    ],
)
def test_a_contradiction_is_refused_with_what_the_file_is(
    head: bytes, name: str, declared: str, sentence: str
):
    with pytest.raises(UnsupportedFileType) as refused:
        find_kind(head, name, declared)
    assert refused.value.message.startswith(sentence)


def test_a_declared_archive_is_no_picture():
    with pytest.raises(UnsupportedFileType):
        find_kind(PNG, "a.png", "application/zip")


@given(
    st.sampled_from([b"", PNG, JPEG, PDF, ZIP, OLE, WEBM, b"RIFF", b"\xff"]),
    st.binary(max_size=64),
    st.text(max_size=40) | st.sampled_from(["a.png", "a.mp3", "a.webm", "a.txt", "a.docx"]),
    st.text(max_size=40) | st.sampled_from(["image/png", "audio/webm", "text/plain"]),
)
def test_random_bytes_have_a_kind_or_are_refused(
    start: bytes, rest: bytes, name: str, declared: str
):
    try:
        kind = find_kind(start + rest, name, declared)
    except UnsupportedFileType:
        return
    assert len(kind.extension) <= LONGEST_EXTENSION
    assert not kind.extension or kind.extension.isascii()
    assert kind.type != "image" or start


@pytest.mark.parametrize(
    "mime_type", ["text/html", "image/svg+xml", "application/xml", "text/xml", "text/csv", ""]
)
def test_what_a_browser_would_run_is_never_shown_in_place(mime_type: str):
    assert not is_inline_safe(mime_type)


@pytest.mark.parametrize("mime_type", ["image/png", "audio/mpeg", "video/mp4", "text/plain"])
def test_what_only_shows_is_shown_in_place(mime_type: str):
    assert is_inline_safe(mime_type)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\cat.png", "cat.png"),
        ("folder/", "folder"),
        ("a\0b\r\n.png", "ab.png"),
        ("gpj\u202e.exe", "gpj.exe"),
        ("...hidden", "hidden"),
        ("  a   b .txt. ", "a b .txt"),
        ("con.txt", "_con.txt"),
        ("LPT1", "_LPT1"),
        ("console.txt", "console.txt"),
        ('a:b*"c"<d>|?.png', "a_b__c__d___.png"),
        ("e\u0301t\u00e9.png", "\u00e9t\u00e9.png"),
        ("写真 👩\u200d👧.jpg", "写真 👩\u200d👧.jpg"),
        ("half\ud800.png", "half.png"),
        ("n" * 300 + ".PNG", "n" * 200 + ".PNG"),
        ("n" * 300, "n" * 200),
        ("a." + "n" * 300, "a." + "n" * 198),
        ("a" * 200, "a" * 200),
    ],
)
def test_a_name_is_made_harmless(name: str, cleaned: str):
    assert clean_name(name) == cleaned


@pytest.mark.parametrize("name", ["", " ", "..", "a/..", "/", "\0", "\u202e.", "..\\.."])
def test_a_name_of_which_nothing_is_left_is_refused(name: str):
    with pytest.raises(FileNameMissing):
        clean_name(name)


@given(st.text(max_size=40) | st.text(st.sampled_from("a. /\\:\u0301\u202eCON1\0"), max_size=500))
def test_a_clean_name_stays_as_it_is_and_is_bounded(name: str):
    try:
        cleaned = clean_name(name)
    except FileNameMissing:
        return
    assert clean_name(cleaned) == cleaned
    assert 0 < len(cleaned) <= LONGEST_STEM + LONGEST_EXTENSION + 2
    assert not any(unicodedata.category(char) == "Cc" or char in '/\\:"' for char in cleaned)
    assert not cleaned.startswith(".")
    assert cleaned.encode()


@pytest.mark.parametrize(
    ("name", "extension"), [("a.PNG", "png"), ("a.tar.gz", "gz"), ("a", ""), ("a.", "")]
)
def test_an_extension_stands_behind_the_last_dot(name: str, extension: str):
    assert extension_of(name) == extension
