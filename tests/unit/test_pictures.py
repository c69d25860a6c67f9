"""Pictures that are broken, bombs or two things at once; pictures made small enough."""

import io
import struct
import time
import zipfile
import zlib
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kaiwa.errors import FileTooLarge, UnsupportedFileType
from kaiwa.files.pictures import Picture, check_picture, fit_picture

TAKES = (check_picture, partial(fit_picture, longest_side=9, most_bytes=9999))
FORMATS = ["PNG", "JPEG", "WEBP", "GIF"]
ORIENTATION = 274


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """What compresses badly, as photographs do."""
    return Image.effect_noise((width, height), 60).convert(mode)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def chunk(name: bytes, data: bytes) -> bytes:
    check = zlib.crc32(name + data)
    return len(data).to_bytes(4, "big") + name + data + check.to_bytes(4, "big")


def png(width: int, height: int, pixels: bytes, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *more, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def animation(frames: int, side: int = 4) -> bytes:
    images = [Image.new("L", (side, side), at % 256) for at in range(frames)]
    return saved(images[0], "GIF", save_all=True, append_images=images[1:], duration=10)


SAMPLES = {format: saved(noise(40, 30), format) for format in FORMATS}


@pytest.mark.parametrize("format", FORMATS)
def test_a_whole_picture_is_measured(format: str):
    assert check_picture(SAMPLES[format]) == Picture(40, 30, format, 1)


def test_the_frames_of_an_animation_are_counted():
    assert check_picture(animation(5)).frames == 5
    images = [noise(8, 8) for _ in range(3)]
    data = saved(images[0], "WEBP", save_all=True, append_images=images[1:])
    assert check_picture(data) == Picture(8, 8, "WEBP", 3)


def test_a_camera_that_puts_two_pictures_into_a_file_gave_one():
    data = saved(noise(40, 30), "MPO", save_all=True, append_images=[noise(20, 15)])
    assert check_picture(data) == Picture(40, 30, "JPEG", 1)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("missing", [1, 4, 12, 100, 500])
def test_a_truncated_picture_is_refused(format: str, missing: int):
    data = SAMPLES[format]
    with pytest.raises(UnsupportedFileType, match=r"^The picture is broken or cut off\.$"):
        check_picture(data[:-missing])


def test_an_animation_cut_between_its_frames_is_refused():
    data = animation(5)
    with pytest.raises(UnsupportedFileType, match="cut off"):
        check_picture(data[: data.rindex(b"\x21\xf9")])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"GIF87a<html><script>alert(1)</script></html>",
        b"GIF89a/*\x01\x01\0\0\0*/=1;alert(1)//;",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"RIFF\x24\0\0\0WEBPVP8 ",
        b"hello",
        b"BM" + b"\0" * 100,
        saved(noise(8, 8), "TIFF"),
        saved(noise(8, 8), "BMP"),
    ],
)
def test_what_is_no_picture_of_ours_is_refused(data: bytes):
    with pytest.raises(UnsupportedFileType, match="broken"):
        check_picture(data)
    with pytest.raises(UnsupportedFileType, match="broken"):
        fit_picture(data, longest_side=100, most_bytes=10_000)


@pytest.mark.parametrize("side", [7_300, 10_000, 60_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_by_its_header(side: int):
    bomb = png(side, side, zlib.compress(b"\0" * 1_000_000))
    began = time.perf_counter()
    for take in TAKES:
        with pytest.raises(UnsupportedFileType, match=r"more than 52 million pixels|broken"):
            take(bomb)
    assert time.perf_counter() - began < 0.1


def test_a_bomb_in_the_text_of_a_picture_is_refused():
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 80_000_000))
    with pytest.raises(UnsupportedFileType, match="broken"):
        check_picture(png(1, 1, zlib.compress(b"\0\0"), text))


def test_an_animation_without_end_is_refused():
    data = animation(2, 1)
    begin = data.rindex(b"\x21\xf9")
    endless = data[:begin] + data[begin:-1] * 1100 + b";"
    with pytest.raises(UnsupportedFileType, match=r"^The animation is too long\.$"):
        check_picture(endless)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "hidden")
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        SAMPLES["PNG"] + zipped(),
        SAMPLES["JPEG"] + zipped(),
        SAMPLES["JPEG"] + b"<SCRIPT>alert(1)</script>",
        SAMPLES["JPEG"][:2] + b"\xff\xfe\0\x0a%PDF-1.7" + SAMPLES["JPEG"][2:],
        SAMPLES["GIF"][:-1] + b"\x21\xfe\x07<script\0;",
        SAMPLES["PNG"] + b"<?php system(1); ?>",
    ],
)
def test_a_picture_that_is_another_file_too_is_refused(data: bytes):
    with pytest.raises(UnsupportedFileType, match=r"^The picture has another file hidden in it\.$"):
        check_picture(data)


def test_what_a_camera_appends_to_a_picture_is_no_reason_to_refuse_it():
    video = b"\0\0\0\x18ftypmp42\0\0\0\0" + bytes(range(256)) * 40
    assert check_picture(SAMPLES["JPEG"] + video).format == "JPEG"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FORMATS), st.lists(st.tuples(st.integers(0), st.integers(0, 255))))
def test_a_picture_with_wrong_bytes_is_a_picture_or_refused(
    format: str, wrong: list[tuple[int, int]]
):
    data = bytearray(SAMPLES[format])
    for at, byte in wrong:
        data[at % len(data)] = byte
    for take in TAKES:
        try:
            take(bytes(data))
        except UnsupportedFileType as refused:
            if not refused.message.endswith("."):
                raise


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_that_fits_is_left_as_it_is(format: str):
    data = SAMPLES[format]
    fitted, mime_type = fit_picture(data, longest_side=40, most_bytes=len(data))
    assert fitted is data
    assert mime_type == f"image/{format.lower()}"


def test_to_see_that_a_large_picture_fits_takes_no_decoding():
    data = saved(noise(2000, 1500), "JPEG", quality=60)
    assert len(data) > 1_000_000
    fastest = 1.0
    for _ in range(5):
        began = time.perf_counter()
        fit_picture(data, longest_side=2000, most_bytes=10_000_000)
        fastest = min(fastest, time.perf_counter() - began)
    assert fastest < 0.001


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_with_long_sides_is_scaled_down(format: str):
    data = saved(noise(400, 300), format)
    fitted, mime_type = fit_picture(data, longest_side=100, most_bytes=1_000_000)
    assert opened(fitted).size == (100, 75)
    assert mime_type == "image/jpeg"
    assert check_picture(fitted)


def test_a_picture_of_too_many_bytes_becomes_smaller_until_it_fits():
    data = saved(noise(800, 600), "PNG")
    fitted, _ = fit_picture(data, longest_side=1000, most_bytes=20_000)
    assert 5_000 < len(fitted) <= 20_000
    assert opened(fitted).width / opened(fitted).height == pytest.approx(4 / 3, abs=0.05)


def test_what_is_transparent_stays_so():
    image = noise(200, 100, "RGBA")
    image.putalpha(Image.linear_gradient("L").crop((0, 0, 200, 100)))
    fitted, mime_type = fit_picture(saved(image, "PNG"), longest_side=100, most_bytes=9_000)
    assert len(fitted) <= 9_000
    assert mime_type == "image/png"
    assert opened(fitted).mode == "RGBA"


def test_what_could_be_transparent_but_is_not_becomes_a_jpeg():
    data = saved(noise(200, 100, "RGBA"), "PNG")
    assert fit_picture(data, longest_side=100, most_bytes=9_000)[1] == "image/jpeg"


def test_a_picture_taken_upright_stays_upright_and_loses_its_metadata():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[271] = "A camera maker"
    image = Image.new("RGB", (400, 200), "red")
    image.paste("blue", (200, 0, 400, 200))
    data = saved(image, "JPEG", exif=exif)
    fitted, _ = fit_picture(data, longest_side=100, most_bytes=1_000_000)
    turned = opened(fitted).convert("RGB")
    assert turned.size == (50, 100)
    top, bottom = turned.getpixel((25, 10)), turned.getpixel((25, 90))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[0] > 200 > 100 > top[2]
    assert bottom[2] > 200 > 100 > bottom[0]
    assert b"camera" not in fitted
    assert not opened(fitted).getexif()


def test_broken_metadata_are_no_reason_to_refuse_a_picture():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x03\xff\xff\xff\xff" * 9
    data = saved(noise(400, 200), "JPEG", exif=exif)
    assert check_picture(data).width == 400
    assert opened(fit_picture(data, longest_side=100, most_bytes=99_999)[0]).size == (100, 50)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16"])
def test_pictures_of_every_colouring_can_be_scaled(mode: str):
    format = "JPEG" if mode == "CMYK" else "PNG"
    grey = Image.new("I;16", (400, 200), 200 * 256)
    image = grey if mode == "I;16" else Image.new("L", (400, 200), 200).convert(mode)
    fitted, _ = fit_picture(saved(image, format), longest_side=100, most_bytes=99_999)
    assert opened(fitted).size == (100, 50)
    if mode != "1":
        assert opened(fitted).convert("L").getpixel((5, 5)) == pytest.approx(200, abs=2)


def test_of_an_animation_the_model_gets_the_first_frame():
    fitted, mime_type = fit_picture(animation(5, 40), longest_side=20, most_bytes=9_999)
    assert mime_type == "image/jpeg"
    assert opened(fitted).convert("L").getpixel((5, 5)) == pytest.approx(0, abs=2)


def test_no_picture_has_fewer_bytes_than_a_tiny_one():
    with pytest.raises(FileTooLarge, match="small enough"):
        fit_picture(SAMPLES["JPEG"], longest_side=100, most_bytes=100)
