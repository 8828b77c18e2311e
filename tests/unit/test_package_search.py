# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages are found by words and facets, among those that somebody sees and no others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.catalog.search.asking import TooManyWordsError, search
from services.catalog.search.index import SearchIndex
from services.catalog.search.ranking import AfterError, Known
from services.catalog.search.sharing import shared_with
from shared.contracts.events import PUBLIC
from shared.contracts.lifecycle import Lifecycle, Statement
from shared.contracts.package_records import (
    PackageFacets,
    PackageRecord,
    SharedMap,
    VersionEntry,
)
from shared.contracts.search import PackagesFound, SearchPackages

SECRET = "r_0123456789abcdef"
ALL = frozenset({PUBLIC})
FLOWS = SharedMap(name="flows", type="hash", key_size_bytes=4, value_size_bytes=8, max_entries=64)
SAID = Statement(by="U", name="ann", role="approver", at="2026-01-01T00:00:00.000000Z", why="x")


def an_entry(version: str = "1.0.0", **changes: Any) -> VersionEntry:
    """A version; facets, tags and lifecycle by name."""
    shown = {"summary": "Drops packets", "licence": "GPL-2.0-only OR MIT", "hooks": ("xdp",)}
    fields = PackageFacets.__struct_fields__
    facets = {name: changes.pop(name) for name in list(changes) if name in fields}
    tags = changes.pop("tags", ())
    defaults = {
        "published_at": "2026-01-01T00:00:00.000000Z",
        "published_by": "U",
        "manifest_sha256": "a" * 64,
        "archive_sha256": "b" * 64,
        "publisher": "acme",
        "facets": PackageFacets(**{**shown, **facets}),
        "lifecycle": Lifecycle(tags=tags) if tags else None,
    }
    return VersionEntry(version=version, **{**defaults, **changes})


def an_index(**packages: VersionEntry | tuple[VersionEntry, ...]) -> SearchIndex:
    """Public packages, by name; `_` is written for `-`."""
    index = SearchIndex()
    for name, versions in packages.items():
        entries = versions if isinstance(versions, tuple) else (versions,)
        index.put(PackageRecord(name=name.replace("_", "-"), versions=entries), PUBLIC)
    return index


def ask(
    index: SearchIndex,
    words: str = "",
    *,
    seen: frozenset[str] = ALL,
    known: Known = Known(),  # noqa: B008 because it never changes
    **asked: Any,
) -> PackagesFound:
    """The page."""
    return search(index, SearchPackages(words=words, **asked), seen, known)


def names(found: PackagesFound) -> list[str]:
    """As `one 1.0.0`."""
    return [f"{one.name} {one.version}" for one in found.packages]


def test_every_word_must_begin_a_word_of_the_package() -> None:
    """In name, summary, owners, programs, maps or tags; in any case."""
    index = an_index(
        rate_limit=an_entry(summary="Limits connections", owners=("Ann Ex",), tags=("lts",)),
        port_count=an_entry(summary="Counts per port", programs=("tally",), maps=("pc_ports",)),
    )

    for words in ("LIMIT", "conn lim", "ann", "lts", "rate-l"):
        assert names(ask(index, words)) == ["rate-limit 1.0.0"], words
    for words in ("tally", "pc_ports", "count per"):
        assert names(ask(index, words)) == ["port-count 1.0.0"], words
    assert names(ask(index, "limit port")) == []


def test_names_go_before_what_is_said_of_them() -> None:
    """The package of that name first, then those with the words in their names."""
    index = an_index(
        aa=an_entry(summary="has a limit"), limit=an_entry(), a_limit=an_entry(), zz=an_entry()
    )

    assert names(ask(index, "limit")) == ["limit 1.0.0", "a-limit 1.0.0", "aa 1.0.0"]


@pytest.mark.parametrize(
    "words",
    ['"', "'", "a OR b", "NEAR(", "*", "rate*", "-rate", "name:rate", "%", "\x00", "(((", "\\"],
)
def test_words_are_never_interpreted(words: str) -> None:
    """What is no word finds nothing that the words in it do not find."""
    index = an_index(rate_limit=an_entry())

    found = names(ask(index, words))

    assert found == (["rate-limit 1.0.0"] if words in {"rate*", "-rate"} else [])


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"hooks": ("xdp",)}, 1),
        ({"hooks": ("xdp", "tc-ingress")}, 0),
        ({"helpers": ("map_lookup_elem",)}, 1),
        ({"helpers": ("bpf_map_lookup_elem",)}, 1),
        ({"helpers": ("1",)}, 1),
        ({"helpers": ("2",)}, 0),
        ({"licences": ("mit",)}, 1),
        ({"licences": ("MIT", "GPL-2.0-only")}, 1),
        ({"licences": ("Apache-2.0",)}, 0),
        ({"kernel": "5.10"}, 0),
        ({"kernel": "5.15"}, 1),
        ({"kernel": "6.12"}, 0),
        ({"owners": ("ANN <ann@example.org>",)}, 1),
        ({"publishers": ("acme",)}, 1),
        ({"channels": ("stable",)}, 1),
        ({"channels": ("dev",)}, 0),
        ({"tags": ("lts",)}, 1),
        ({"platforms": ("windows",)}, 0),
        ({"maps": ("limits",)}, 1),
        ({"maps": ("limit",)}, 0),
        ({"shared_maps": ("flows",)}, 1),
        ({"shared_maps": ("limits",)}, 0),
    ],
)
def test_a_facet_is_met_or_not(asked: dict[str, Any], count: int) -> None:
    """By the version's own values; of several, all must hold."""
    index = an_index(
        one=an_entry(
            helpers=(1, 181),
            minimum_kernel="5.15",
            needs_kernel="<6.10",
            owners=("Ann <ann@example.org>",),
            platforms=("linux",),
            tags=("lts",),
            maps=("flows", "limits"),
            shared_maps=(FLOWS,),
        )
    )

    assert ask(index, **asked).total == count


def test_one_version_stands_for_its_package() -> None:
    """The newest release; in a channel the newest that is offered there."""
    index = an_index(
        one=(
            an_entry("1.0.0"),
            an_entry("1.1.0"),
            an_entry("1.2.0-rc.1"),
            an_entry("2.0.0", channels=("dev",)),
        )
    )

    assert names(ask(index)) == ["one 1.1.0"]
    assert names(ask(index, channels=("dev",))) == ["one 2.0.0"]
    assert names(ask(index, every_version=True)) == [
        "one 2.0.0",
        "one 1.2.0-rc.1",
        "one 1.1.0",
        "one 1.0.0",
    ]


def test_what_was_withdrawn_is_found_on_demand() -> None:
    """Yanked and revoked versions stand for nothing while there are others."""
    index = an_index(
        one=(
            an_entry("1.0.0"),
            an_entry("1.1.0", lifecycle=Lifecycle(yanked=SAID)),
            an_entry("1.2.0", lifecycle=Lifecycle(revoked=SAID)),
        )
    )

    assert names(ask(index)) == ["one 1.0.0"]
    assert ask(index, every_version=True).total == 1
    assert ask(index, every_version=True, withdrawn=True).total == 3


def test_a_change_of_state_is_found_at_once_and_the_state_before_no_more() -> None:
    """And a version that is new stands for its package."""
    index = an_index(one=an_entry(channels=("dev",)))
    changed = (an_entry(channels=("stable",), tags=("lts",)), an_entry("1.1.0"))
    index.put(PackageRecord(name="one", versions=changed), PUBLIC)

    assert names(ask(index)) == ["one 1.1.0"]
    assert names(ask(index, tags=("lts",), every_version=True)) == ["one 1.0.0"]
    assert ask(index, channels=("dev",), every_version=True).total == 0
    index.drop("one", PUBLIC)
    assert ask(index, every_version=True, withdrawn=True).total == 0


def test_facets_are_counted_over_all_that_is_found() -> None:
    """Not over the page, and the most frequent first."""
    index = an_index(
        a=an_entry(hooks=("xdp", "tc-ingress")), b=an_entry(licence="MIT"), c=an_entry(helpers=(1,))
    )

    found = ask(index, limit=1)

    counted = {
        name: [(one.value, one.count) for one in found.facets[name]] for name in found.facets
    }
    assert counted["hook"] == [("xdp", 3), ("tc-ingress", 1)]
    assert counted["licence"] == [("MIT", 3), ("GPL-2.0-only", 2)]
    assert counted["helper"] == [("map_lookup_elem", 1)]
    assert counted["state"] == [("released", 3)]
    assert "tag" not in counted


def test_nothing_of_a_space_shows_to_those_who_do_not_see_it() -> None:
    """Not in a page, a total, a count of a facet or of nodes: the answer is the same bytes."""
    known = Known(nodes={0: {PUBLIC: 2, SECRET: 40}, 1: {SECRET: 7}}, stars={1: (1, 5)})
    without = an_index(open_one=an_entry())
    with_it = an_index(open_one=an_entry())
    hidden = an_entry("1.0.1", summary="hush", owners=("Eve",), tags=("zero-day",), helpers=(7,))
    with_it.put(PackageRecord(name="open-one", versions=(hidden,)), SECRET)
    with_it.put(PackageRecord(name="secret-one", versions=(hidden,)), SECRET)

    for asked in (
        {},
        {"words": "hush"},
        {"words": "open"},
        {"words": "secret-one"},
        {"tags": ("zero-day",)},
        {"every_version": True, "withdrawn": True, "sort": "newest"},
        {"sort": "nodes"},
        {"sort": "stars"},
        {"minimum_nodes": 3},
    ):
        own = ask(with_it, known=known, **asked)
        other = ask(without, known=Known(nodes={0: {PUBLIC: 2}}), **asked)
        assert msgspec.json.encode(own) == msgspec.json.encode(other)
    assert ask(with_it, "secret", seen=frozenset({PUBLIC, SECRET}), known=known).total == 1


def test_nodes_and_stars_are_sorted_by_and_asked_for() -> None:
    """What has none comes last, by name."""
    index = an_index(a=an_entry(), b=an_entry(), c=an_entry(), d=an_entry())
    known = Known(nodes={1: {PUBLIC: 3}, 2: {PUBLIC: 30}}, stars={3: (2, 9), 0: (1, 4)})

    found = ask(index, known=known, sort="nodes")
    assert [one.nodes for one in found.packages] == [30, 3, 0, 0]
    assert [(one.value, one.count) for one in found.facets["nodes"]] == [("1+", 2), ("10+", 1)]
    assert names(ask(index, known=known, minimum_nodes=4)) == ["c 1.0.0"]
    assert names(ask(index, known=known, sort="stars")) == [
        "d 1.0.0",
        "a 1.0.0",
        "b 1.0.0",
        "c 1.0.0",
    ]
    assert names(ask(index, known=known, minimum_stars=4.2)) == ["d 1.0.0"]


def test_a_question_of_too_many_words_is_refused() -> None:
    """Rather than cut short; a word that is said twice is one."""
    index = an_index(one=an_entry())

    assert ask(index, "one " * 40).total == 1
    with pytest.raises(TooManyWordsError):
        ask(index, " ".join(f"w{number}" for number in range(17)))


def test_a_version_with_a_great_many_words_is_found_by_the_first() -> None:
    """So that no publisher fills the index."""
    maps = tuple(f"map{number}" for number in range(5000))
    index = an_index(one=an_entry(summary="plain", maps=maps))

    assert ask(index, "plain map1").total == 1
    assert ask(index, "map4999").total == 0


def test_a_place_that_was_not_given_out_is_refused() -> None:
    """Rather than taken for the first page."""
    index = an_index(one=an_entry())

    for after in ("x", "[]", '["1","a","b","1.0.0"]', "[1,2,3,4]"):
        with pytest.raises(AfterError):
            ask(index, after=after)


def test_packages_that_declare_a_map_to_be_one_for_all_depend_on_one_another() -> None:
    """By its name; what differs in the layout would keep them apart."""
    larger = msgspec.structs.replace(FLOWS, max_entries=128, value_size_bytes=16)
    odd = msgspec.structs.replace(FLOWS, name="a|b|1|2|3|4")
    index = an_index(
        a=an_entry(shared_maps=(FLOWS, odd)),
        b=(an_entry("1.0.0", shared_maps=(FLOWS,)), an_entry("1.1.0", shared_maps=(larger,))),
        c=an_entry(maps=("flows",)),
        d=an_entry(shared_maps=(FLOWS,)),
    )
    index.put(PackageRecord(name="e", versions=(an_entry(shared_maps=(FLOWS,)),)), SECRET)

    flows, other = shared_with(index, "a", (FLOWS, odd), ALL)

    assert [(one.name, one.version, one.differs) for one in flows.packages] == [
        ("b", "1.1.0", ("value_size_bytes", "max_entries")),
        ("d", "1.0.0", ()),
    ]
    assert (flows.total, other.total) == (2, 0)
    assert shared_with(index, "a", (FLOWS,), ALL | {SECRET})[0].total == 3
