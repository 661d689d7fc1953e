"""``format`` files of tracepoints: read by name, whatever the kernel's layout."""

import pytest

from pageblock.errors import InputError
from pageblock.machine.tracepoints import check_fields, constant, gfp_names, is_page_event, parse_format

COMMON = """\
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;
"""

PRINT = (
    'print fmt: "pfn=0x%lx gfp_flags=%s", REC->pfn, (REC->gfp_flags) ? __print_flags(REC->gfp_flags, "|", '
    '{( unsigned long)((( gfp_t)((((1UL))) << (3)))|(( gfp_t)0)), "__GFP_MOVABLE"}, {(unsigned long)(0x400u|0x800u) & '
    '~(gfp_t)0x800u, "__GFP_DIRECT_RECLAIM"}, {( unsigned long)___GFP_IO_BIT, "__GFP_IO"}, {0, ((void *)0)} ) : "none"'
)


def text(*fields: str) -> str:
    """A format file with these fields behind the common ones."""
    return (
        f"name: mm_page_alloc\nID: 653\nformat:\n{COMMON}\n" + "".join(f"\tfield:{field}\n" for field in fields) + PRINT
    )


def test_fields_are_found_by_name() -> None:
    found = parse_format(
        text(
            "unsigned long pfn;\toffset:8;\tsize:8;\tsigned:0;",
            "int migratetype;\toffset:32;\tsize:4;\tsigned:1;",
            "__data_loc char[] name;\toffset:24;\tsize:4;\tsigned:0;",
        ),
        "x",
    )
    assert (found.name, found.number) == ("mm_page_alloc", 653)
    assert (found.fields["pfn"].offset, found.fields["pfn"].size, found.fields["pfn"].signed) == (8, 8, False)
    assert found.fields["migratetype"].signed
    assert found.fields["name"].text
    assert not found.fields["pfn"].text


@pytest.mark.parametrize("broken", ["", "name: x\n", "ID: 1\nname: x\n", "\0\1\2"])
def test_what_is_no_format_is_refused(broken: str) -> None:
    with pytest.raises(InputError, match="no format of a tracepoint"):
        parse_format(broken, "here")


def test_a_pointer_in_place_of_a_pfn_is_named() -> None:
    """Kernels before 4.1 recorded the address of the struct page."""
    found = parse_format(text("struct page * page;\toffset:8;\tsize:8;\tsigned:0;"), "x")
    with pytest.raises(InputError, match=r"unknown format of mm_page_alloc: no field pfn \(it has page\)"):
        check_fields("mm_page_alloc", found.fields, "x")


def test_masks_of_gfp_flags_are_computed_and_enums_without_a_value_left_out() -> None:
    assert gfp_names(PRINT) == ((8, "__GFP_MOVABLE"), (0x400, "__GFP_DIRECT_RECLAIM"))


@pytest.mark.parametrize("hostile", ["__import__('os')", "1 << 99999999", "f(1)", "(" * 5000, "1 +", ""])
def test_only_integers_are_computed(hostile: str) -> None:
    assert constant(hostile) is None


def test_slab_events_and_page_table_entries_stay_off() -> None:
    assert is_page_event("kmem", "mm_page_alloc")
    assert is_page_event("cma", "cma_of_a_later_kernel")
    assert not is_page_event("kmem", "kmalloc")
    assert not is_page_event("migrate", "set_migration_pte")
    assert not is_page_event("sched", "mm_page_alloc")
