import io

from PIL import Image, ImageFont

from hardpairs.catalog.card import CELL, COLUMNS, TEXT_HEIGHT, contact_sheet, shortened
from tests.catalog.made import png


def test_a_sheet_shows_each_image_above_its_caption():
    sheet = Image.open(io.BytesIO(contact_sheet([(png("#ff0000"), "A red block")] * 11)))
    assert sheet.size == (COLUMNS * CELL, 2 * (CELL + TEXT_HEIGHT))
    assert sheet.getpixel((CELL // 2, CELL // 2)) == (255, 0, 0)
    second_row = (CELL // 2, CELL + TEXT_HEIGHT + CELL // 2)
    assert sheet.getpixel(second_row) == (255, 0, 0)
    assert sheet.crop((0, CELL, CELL, CELL + TEXT_HEIGHT)).convert("L").getextrema()[0] < 128


def test_long_captions_are_cut():
    font = ImageFont.load_default(11)
    assert shortened("a cat", font) == "a cat"
    cut = shortened("a cat " * 50, font)
    assert cut.endswith("…") and font.getlength(cut) <= CELL
