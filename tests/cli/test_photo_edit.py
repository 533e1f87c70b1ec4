"""The demo's edits: turned, fitted, the same wherever they are made, and a sheet of all."""

from __future__ import annotations

import io

import pytest

Image = pytest.importorskip("PIL.Image", reason="the demo's edits need Pillow (worldos[demo])")

from worldos.cli.photo_edit import EDGE_PIXELS, SHEET_COLUMNS, THUMB_PIXELS, contact_sheet, edit  # noqa: E402


def photo(width: int, height: int, *, turned: bool = False) -> bytes:
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1  # 6: the camera was held upright
    image.save(out, "JPEG", exif=exif)
    return out.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def test_a_photo_is_fitted_turned_and_has_a_thumbnail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDOS_NODE", "attic")
    data, thumb, node, took_s = edit(photo(3200, 1600, turned=True))
    assert size_of(data) == (EDGE_PIXELS // 2, EDGE_PIXELS)
    assert max(size_of(thumb)) == THUMB_PIXELS
    assert node == "attic"
    assert took_s > 0


def test_a_small_photo_is_not_blown_up() -> None:
    assert size_of(edit(photo(300, 200))[0]) == (300, 200)


def test_an_edit_is_the_same_each_time() -> None:
    assert edit(photo(640, 480))[:2] == edit(photo(640, 480))[:2]


def test_the_sheet_has_a_place_for_each_thumbnail() -> None:
    thumb = edit(photo(400, 300))[1]
    width, height = size_of(contact_sheet([thumb] * (SHEET_COLUMNS + 1)))
    assert width // SHEET_COLUMNS == height // 2 > THUMB_PIXELS


def test_what_is_no_photo_is_an_error_of_its_reader() -> None:
    with pytest.raises(OSError, match="cannot identify"):
        edit(b"no photo")
