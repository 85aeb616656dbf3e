"""Colours of categories, the same in the view (`js/src/palette.ts`), in pictures, and in what is written for scanpy."""

__all__ = ["category_colours"]

# Okabe and Ito's eight, which colour-blind people tell apart; beyond, names on the map do the work. A type has the
# same colour here and in the view: js/src/palette.ts on white, where yellow and black are softened.
FIRST = "E69F00 56B4E9 009E73 E5D61E 0072B2 CC79A7 4A5057 D55E00".split()
REST = (
    "7c10f4 a01070 70581c 40dc88 d04cf4 a05864 6440ac dcacc4 88b894 d01040 d028a0 1c88f4 104cd0 f44c64 "
    "9470d0 f488f4 b8c458 706494 888840 10a0b8 34704c 7058dc f48858 f464c4 7c94dc c4881c 10d0d0 a04cb8 "
    "883494 64b858 4c7c88 ac341c d0a07c 28c410 d094dc b87c70 ac88f4 c4407c 9440f4 70dc10 f494a0 9410c4 "
    "647cac ac88c4 588858 a04070 70a034 885840 648810 e81064 7ca088 7c4c88 d094ac 946410 f46494 b8b8e8"
).split()


def category_colours(n: int) -> list[str]:
    """One colour per category; with more categories than colours, the first ones come again."""
    base = FIRST if n <= len(FIRST) else [*FIRST[:6], "8C8C8C", FIRST[7], *REST]
    return [f"#{base[index % len(base)]}" for index in range(n)]
