"""The colours of every picture that is drawn: told apart with any colour vision.

From Okabe and Ito's palette. It knows no picture.
"""

BLUE, VERMILION = "#0072B2", "#D55E00"
