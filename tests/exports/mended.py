"""Texts that open_clip mends before it reads them: a tokenizer.json must do the same, in Python and on the page."""

MENDED = [
    *(
        "a photo of a caf&eacute;",
        "Fish &amp;amp; chips",
        "na\u00efve &nbsp; x",
        "&copy; 2020 &copy 2021 &copycat",
        "&quot",
    ),
    *(
        "&#8217;tis &#x27;so&#X27 &#0039;9",
        "&#146;s &#233;t&#xE9; &#321;\u00f3d&#378;",
        "P&EACUTE;REZ",
        "&#0;a&#1;b&#65;",
    ),
    *(
        "this&not that &notin; x&lt;y &lt;b&gt;",
        "<b> &amp;lt; &eacute; &lt",
        "AT&T &nothing &unknown; &;",
        "&#38;#39; &num;",
    ),
    *("\uff21 full\u3000width\uff01", "\uff8a\uff9d\uff76\uff78 \uff76\uff9e\uff77\uff9e", "\uff27\uffe5\uffe3 \uffa1"),
    *(
        "\x1b[31mred\x1b[0m \x1b[1;4mx \x1b]",
        "fo\x00o\x7fb\x0bar\x1c",
        "x\ufeffy \u206az\ufffc",
        "nine o\x92clock \x93so\x94",
    ),
    *("\u03a3\u0391\u03a3", "\u039f\u0394\u039f\u03a3 \u03a3 \u0391\u03a3\u2019 \u0391'\u03a3. \u0391\u03a3's \u03a31"),
    *("!", "!!", "oh! no !", "! x"),
    *("<|endoftext|> a cat", "a <|startoftext|> dog", "<end_of_text> a cat", "a <START_OF_TEXT>dog"),
]
