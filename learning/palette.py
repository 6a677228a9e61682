"""The colours of every picture that is drawn: told apart with any colour vision.

From Okabe and Ito's palette. It knows no picture.
"""

BLUE, VERMILION = "#0072B2", "#D55E00"
COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""All of them, for pictures with many lines."""
