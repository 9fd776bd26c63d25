"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable


def count(number: float) -> str:
    """3551 is "3,551"."""
    return f"{number:,.0f}"


def parameters(number: int | None) -> str:
    """599920 is "0.60 M"; None, where nobody recorded it, is a dash."""
    if number is None:
        return "–"
    return (
        f"{number / 1e9:.2f} B"
        if number >= 1e9
        else f"{number / 1e6:.1f} M"
        if number >= 1e7
        else f"{number / 1e6:.2f} M"
    )


def scaled(number: float) -> str:
    """5600000 is "5.6 M": three digits at most."""
    for power, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= power:
            return f"{number / power:.3g}{unit}"
    return f"{number:.3g}"


def percent(share: float, digits: int = 1) -> str:
    """0.274 is "27.4%"."""
    return f"{100 * share:.{digits}f}%"


def p_value(p: float) -> str:
    """0.0123 is "0.012"; what is below what resampling can tell is said so."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def signed(difference: float, share: bool) -> str:
    """A difference with its sign; of shares in points."""
    text = f"{100 * difference:+.1f}" if share else f"{difference:+.3g}"
    return text.replace("-", "−")


def duration(seconds: float) -> str:
    """Two units at most: "0.84 ms", "37 s", "4 min 12 s", "3.2 h", "5.1 days"."""
    if seconds < 0.95:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 9.5 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def roughly(seconds: float) -> str:
    """An estimated duration, to two digits: "16 min" where the arithmetic says 975 s."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
        if seconds >= 1.995 * unit or name == "ms":
            break
    number = seconds / unit
    return f"{number:.0f} {name}" if number >= 9.95 else f"{number:.2g} {name}"


def size(number: float) -> str:
    """Bytes in powers of 1000: "812 B", "1.9 MB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 999.5 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" or number >= 99.5 else f"{number:.2g} {unit}"


def times(ratio: float) -> str:
    """A multiple: "0.42 times", "9.6 times", "120 times"."""
    return f"{ratio:.0f} times" if ratio >= 99.5 else f"{ratio:.2g} times"


def part_of(small: float, large: float) -> tuple[str, str]:
    """How much of `large` is `small`, and how a sentence goes on to it: "1/6" "the size of", "0.8 times" where a
    fraction would say little, and "as large" "as" of what is equal as far as two digits tell.
    """
    if large >= 1.5 * small:
        return f"1/{large / small:.0f}", "the size of"
    part = f"{small / large:.2g}"
    return ("as large", "as") if part == "1" else (f"{part} times", "the size of")


def named(names: Iterable[str]) -> str:
    """Names as a list, each once; those that would read as several are put in quotes."""
    return listing([f"“{name}”" if set(name) & set(", ") else name for name in dict.fromkeys(names)])


def listing(parts: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else ""
