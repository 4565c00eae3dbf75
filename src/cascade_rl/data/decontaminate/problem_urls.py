"""The addresses of programming problems: one name for one problem, however it is linked to.

A row's own field (`extra_info.url` and the like) may name any site. In running text only the
pages of known judges count, since a link to an encyclopaedia says nothing of the problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from cascade_rl.types import Problem, Row

FIELDS = ("url", "problem_url", "source_url", "link", "problem_link")
"""Keys of `extra_info` that hold the address of a problem."""
JUDGES = (
    "codeforces.com", "atcoder.jp", "leetcode.com", "leetcode.cn", "codechef.com",
    "hackerrank.com", "hackerearth.com", "geeksforgeeks.org", "kattis.com", "spoj.com",
    "timus.ru", "aizu.ac.jp", "u-aizu.ac.jp", "luogu.com.cn", "acwing.com", "codewars.com",
    "topcoder.com", "projecteuler.net", "usaco.org", "poj.org", "hdu.edu.cn", "dmoj.ca",
    "lintcode.com", "cses.fi", "yandex.com", "yandex.ru", "beecrowd.com.br", "onlinejudge.org",
)  # fmt: skip
_URL = re.compile(r"https?://[^\s<>\"'`\\{}|^]+")
_IN_QUERY = frozenset({"id", "num", "pid", "problem", "problem_id", "cpid", "lesson_id", "cid"})
"""Parameters that say which problem a page shows; the others say how it is shown."""
_PATHS = (
    (re.compile(r"/(?:contest|gym)/(\d+)/problem/(\w+)$"), r"/problemset/problem/\1/\2"),
    (re.compile(r"^(/problems/[^/]+)/(?:description|solutions?|submissions|editorial)$"), r"\1"),
)


def problem_urls(row: Row, text: str) -> frozenset[str]:
    """The addresses of the problem that a row is about; `text` is its user turns.

    Problems of other domains than code have none.
    """
    fields: list[str] = []
    if isinstance(row, Problem):
        if row.domain != "code":
            return frozenset()
        fields = [str(row.extra[key]) for key in FIELDS if row.extra.get(key)]
    if not fields and "://" not in text:
        return frozenset()
    named = (canonical(field) for field in fields)
    return frozenset(url for url in (*named, *_judges_pages(text)) if url)


def _judges_pages(text: str) -> Iterator[str]:
    for found in _URL.finditer(text):
        url = canonical(found[0].rstrip(".,;:!?)]*_"))
        host = url.split("/")[0]
        if any(host == judge or host.endswith("." + judge) for judge in JUDGES):
            yield url


def canonical(url: str) -> str:
    """Host and path of a problem's page in one spelling, empty where it names no page.

    >>> canonical("http://www.Codeforces.com/contest/1/problem/A/?locale=ru#x")
    'codeforces.com/problemset/problem/1/a'
    """
    try:
        parts = urlsplit(url.strip() if "://" in url else f"https://{url.strip()}")
    except ValueError:  # brackets that hold no address
        return ""
    host = (parts.netloc.rpartition("@")[2].partition(":")[0]).lower()
    host = re.sub(r"^(?:www\d?|m|m\d)\.", "", host)
    path = re.sub(r"/+", "/", parts.path).rstrip("/").lower()
    if host.endswith(".contest.atcoder.jp"):
        host, path = "atcoder.jp", f"/contests/{host.split('.')[0]}{path}"
    if host == "leetcode.cn":
        host = "leetcode.com"
    for pattern, spelling in _PATHS:
        path = pattern.sub(spelling, path)
    query = sorted((k, v) for k, v in parse_qsl(parts.query) if k.lower() in _IN_QUERY)
    if "." not in host or not (path or query):
        return ""
    return host + path + "".join(f"?{k.lower()}={v.lower()}" for k, v in query)
