"""Documents made for tests, friendly and hostile."""

import io
import zipfile
from collections.abc import Mapping
from datetime import datetime
from email.message import EmailMessage

import docx
import pptx
import xlsxwriter
from pptx.util import Inches

HANGING = b"<div>" * 300_000
"""A page whose parsing takes minutes: for every element, the parser walks up all it is in."""

_ENTITIES = "".join(f'<!ENTITY a{at} "{f"&a{at - 1};" * 10}">' for at in range(1, 10))
_BOMB = f'<!DOCTYPE a [<!ENTITY a0 "lol">{_ENTITIES}]>'
_TYPES = (
    '<Types><Override PartName="/word/d.xml" ContentType="application/vnd.openxmlformats-'
    'officedocument.wordprocessingml.document.main+xml"/></Types>'
)


def make_zip(parts: Mapping[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return out.getvalue()


def make_docx() -> bytes:
    document = docx.Document()
    document.add_heading("Order helper", 1)
    document.add_paragraph("Before the table.")
    table = document.add_table(3, 2)
    for row, words in zip(table.rows, [("Thing", "Price"), ("Tea", "3\n4"), ("", "")], strict=True):
        for cell, word in zip(row.cells, words, strict=True):
            cell.text = word
    inner = table.cell(2, 0).add_table(1, 2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "in", "side"
    table.cell(2, 0).merge(table.cell(2, 1))
    document.add_paragraph("After the table: 世界.")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def make_plain_docx(body: str) -> bytes:
    """By hand, with a main part of an unusual name and this body."""
    return make_zip({"[Content_Types].xml": _TYPES, "word/d.xml": body})


def make_entity_bomb() -> bytes:
    return make_plain_docx(f"{_BOMB}<document><p><t>&a9;</t></p></document>")


def make_pptx() -> bytes:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.placeholders[0].text = "First"  # pyright: ignore[reportAttributeAccessIssue]
    slide.placeholders[1].text = "one\ntwo"  # pyright: ignore[reportAttributeAccessIssue]
    notes = slide.notes_slide.notes_text_frame
    assert notes
    notes.text = "Say hello."
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    inch = Inches(1)
    table = slide.shapes.add_table(1, 2, inch, inch, inch, inch).table
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    out = io.BytesIO()
    deck.save(out)
    return out.getvalue()


def make_xlsx(row: int = 2, column: int = 2) -> bytes:
    """Two sheets with something in them, one without; one cell stands where it is said."""
    out = io.BytesIO()
    options = {"in_memory": True, "default_date_format": "yyyy-mm-dd"}
    with xlsxwriter.Workbook(out, options) as book:
        add_sheet = book.add_worksheet  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        prices, _, days = add_sheet("Prices"), add_sheet("Nothing"), add_sheet("Days")
        prices.write_string(0, 0, "Thing")
        prices.write_string(0, 1, "Price")
        prices.write_string(1, 0, "Tea\nand cake")
        prices.write_number(1, 1, 3)
        prices.write_number(row, column, 1.5)
        days.write_datetime(0, 0, datetime(2024, 5, 6))  # noqa: DTZ001 (sheets know no zones)
    return out.getvalue()


def make_pdf(pages: list[str], more: bytes = b"") -> bytes:
    """One line on each page; `more` goes into the trailer."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * at) for at in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(pages), kids),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for at, text in enumerate(pages):
        drawn = b"BT /F1 12 Tf 50 700 Td (%s) Tj ET" % text.encode() if text else b""
        objects += [
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R"
            b"/Resources<</Font<</F1 3 0 R>>>>>>" % (5 + 2 * at),
            b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn),
        ]
    out = bytearray(b"%PDF-1.4\n")
    places: list[int] = []
    for number, written in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s\nendobj\n" % (number, written)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer<</Size %d/Root 1 0 R%s>>\n" % (len(objects) + 1, more)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def make_locked_pdf() -> bytes:
    key = b"<" + b"41" * 32 + b">"
    lock = b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O%s/U%s>>/ID[<41><41>]" % (key, key)
    return make_pdf(["secret"], lock)


def make_epub(chapters: Mapping[str, str], more: Mapping[str, str] | None = None) -> bytes:
    """Its chapters are read in the order of their names backwards."""
    items = "".join(f'<item id="{name}" href="text/{name}.xhtml"/>' for name in chapters)
    spine = "".join(f'<itemref idref="{name}"/>' for name in sorted(chapters, reverse=True))
    package = '<package xmlns="http://www.idpf.org/2007/opf">%s</package>'
    return make_zip(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfile full-path="b/c.opf"/></container>',
            "b/c.opf": package % f"<manifest>{items}</manifest><spine>{spine}</spine>",
            **{f"b/text/{name}.xhtml": text for name, text in chapters.items()},
            **(more or {}),
        }
    )


def make_mail() -> bytes:
    mail = EmailMessage()
    mail["Subject"] = "Grüße"
    mail["From"] = "Ann <ann@example.org>"
    mail["To"] = "bob@example.org"
    mail.set_content("Hello Bob, ça va?")
    mail.add_alternative("<p>Hello <b>Bob</b></p>", subtype="html")
    mail.add_attachment(b"\0\1", maintype="application", subtype="x", filename="plan.bin")
    return mail.as_bytes()
