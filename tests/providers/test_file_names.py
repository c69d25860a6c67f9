"""Names of files, as servers say them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.providers.file_names import name_file


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="a b.png"', "a b.png"),
        ("attachment; filename=a.png", "a.png"),
        ("ATTACHMENT;FileName = a.png ; size=3", "a.png"),
        ("inline; filename=\"a;b 'c'.png\"", "a;b 'c'.png"),
        (r'inline; filename="a\"b.png"', 'a"b.png'),
        ("inline; filename*=UTF-8''%e2%82%ac.png", "€.png"),
        ("inline; filename*=utf-8'en'a%20b.png", "a b.png"),
        ("inline; filename*=iso-8859-1''caf%E9.png", "café.png"),
        ("inline; filename=\"e.png\"; filename*=UTF-8''%E2%82%AC.png", "€.png"),
        ("inline; filename*=UTF-8''%E2%82%AC.png; filename=e.png", "€.png"),
        ("inline; filename*=koi8-r''%E2.png; filename=e.png", "e.png"),
        ("inline; filename*=nonsense; filename=e.png", "e.png"),
        ("inline; filename*=UTF-8''%ff.png", "\ufffd.png"),
        ("inline; filename=first.png; filename=second.png", "first.png"),
        ('inline; filename="../../etc/passwd"', "passwd"),
        (r"inline; filename=C:\pictures\a.png", "a.png"),
        ("inline; filename*=UTF-8''..%2f..%2fa.png", "a.png"),
        ('inline; filename="a\udcff.png"', "a?.png"),
        ("inline; filename*=UTF-8''a%00b.png", "ab.png"),
        ('inline; filename=""', "path.png"),
        ("inline", "path.png"),
        ("", "path.png"),
        ('inline; filename="never closed', "path.png"),
        ("inline; myfilename=a.png", "path.png"),
    ],
)
def test_a_name_is_taken_from_the_header_before_the_path(disposition: str, name: str):
    assert name_file(disposition, "/x/path.png") == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", ""),
        ("/a/", ""),
        ("/a/b%20c.png", "b c.png"),
        ("/a/%E7%8C%AB.jpg", "猫.jpg"),
        ("/a/..%2Fb.png", "b.png"),
        ("/%ff", "\ufffd"),
    ],
)
def test_a_name_is_the_end_of_the_path(path: str, name: str):
    assert name_file("", path) == name


@given(st.text(alphabet="filename*=\"\\;' %2fU-8/é", max_size=60))
def test_no_name_has_a_directory(text: str):
    name = name_file(f"inline; filename{text}", "/a")
    assert "/" not in name
    assert "\\" not in name
