"""Reads the XML reports of test programs, whole or cut off by a crash.

Usage: cases.py passed REPORT…    the names of the cases that passed, one a line
       cases.py failed REPORT…    the others that began, one a line, with the first thing that went wrong
"""
import html
import re
import sys

# With the text that INFO gives for it.
FAILURE = re.compile(
    r"((?:<Info>[^<]*</Info>\s*)*)"
    r"<(?:Expression success=\"false\".*?<Expanded>(?P<values>[^<]*)|(?:Exception|FatalErrorCondition|Failure)\b[^>]*>(?P<text>[^<]*))",
    re.DOTALL)


def text_of(xml):
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", xml)).split())


def cases(path):
    """Name and body of each case that began."""
    with open(path, errors="replace") as file:
        for part in file.read().split('<TestCase name="')[1:]:
            name, body = part.split('"', 1)
            yield html.unescape(name), body


def reason(body):
    failure = FAILURE.search(body)
    if not failure:
        return "began, and the report ends" if "<OverallResult" not in body else "no reason given"
    info = text_of(failure[1])
    return text_of(failure["values"] or failure["text"] or "") + (f" ({info})" if info else "")


def main():
    wanted = {"passed": True, "failed": False}[sys.argv[1]]
    for path in sys.argv[2:]:
        for name, body in cases(path):
            if ('<OverallResult success="true"' in body) == wanted:
                print(name if wanted else f"{name}: {reason(body)}")


main()
