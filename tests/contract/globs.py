"""Redis's glob, not fnmatch's: for scan, delete_pattern and psubscribe, on the twins alike."""

from __future__ import annotations

#: which of these names each pattern finds
GLOB_NAMES = ["a", "b", "ab", "aB", "abc", "a:b", "a/b:c", "a*", "a?", "[a]", "a]", "a\\b", "^", "-", "é", "aé", "日本"]
GLOBS: dict[str, list[str]] = {
    "*": GLOB_NAMES,
    "**": GLOB_NAMES,
    "a": ["a"],
    "?": ["-", "^", "a", "b"],
    "??": ["a*", "a?", "aB", "a]", "ab", "é"],
    "a*": ["a", "a*", "a/b:c", "a:b", "a?", "aB", "a\\b", "a]", "ab", "abc", "aé"],
    "*b": ["a:b", "a\\b", "ab", "b"],
    "a*c": ["a/b:c", "abc"],
    "*:*": ["a/b:c", "a:b"],
    "a[bB]": ["aB", "ab"],
    "a[A-C]": ["aB"],
    "a[C-A]": ["aB"],
    "[^a]": ["-", "^", "b"],
    "[!a]": ["a"],
    "[^^]": ["-", "a", "b"],
    "[a^]": ["^", "a"],
    "[a-]": ["^", "a"],  # a range from "]" to "a", never closed
    "[-a]": ["-", "a"],
    "[]a]": [],
    "[^]": ["-", "^", "a", "b"],
    "[\\]a]": ["a"],
    "a[\\]]": ["a]"],
    "a\\*": ["a*"],
    "a\\?": ["a?"],
    "\\[a\\]": ["[a]"],
    "a\\\\b": ["a\\b"],
    "\\a": ["a"],
    "[a": ["a"],
    "[": [],
    "a\\": [],
    "A": [],
    "é": ["é"],
    "[é]?": ["é"],
    "[?-é]": ["-"],  # bytes are signed: from 0xC3 = -61 up to "?" = 63
    "日*": ["日本"],
    "a**b*": ["a/b:c", "a:b", "a\\b", "ab", "abc"],
}
