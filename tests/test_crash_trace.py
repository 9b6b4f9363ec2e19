"""What is read from a trace of system calls decides which crashes are still to be made."""

from __future__ import annotations

from pathlib import Path

from crash_trace import Call, Coverage, Made, died_at, read

OUT = Path("/w/out")
TRACE = """\
10 openat(AT_FDCWD</w>, "/usr/lib/x.py", O_RDONLY|O_CLOEXEC) = 3</usr/lib/x.py>
10 mkdir("/w/out", 0777) = 0
10 mkdir("/w/out", 0777) = -1 EEXIST (File exists)
10 openat(AT_FDCWD</w>, "/w/out/.lock", O_RDWR|O_CREAT|O_EXCL, 0666) = 6</w/out/.lock>
11 write(5</w/out/b/i.mp4.part>, "/w/ou"..., 262144 <unfinished ...>
12 sendto(4<TCP:[1->2]>, "GET", 3, 0, NULL, 0) = 3
11 <... write resumed>)              = 262144
12 write(5</w/out/b/i.mp4.part>, "x", 1) = 1
12 linkat(AT_FDCWD</w>, "/w/out/b/i.mp4.part", AT_FDCWD</w>, "/w/out/b/i.mp4", 0) = 0
12 openat(AT_FDCWD</w>, "/w/out/b/.a.jsonl.0f75fe01.tmp", O_CREAT|O_EXCL) = 13</w/out/b/.a.jsonl.0f75fe01.tmp>
12 rename("/w/out/b/.a.jsonl.0f75fe01.tmp", "/w/out/b/a.jsonl") = 0
11 write(13</w/out/b/.a.jsonl.0f75fe01.tmp>, "x", 1 <unfinished ...>
12 +++ killed by SIGKILL +++
11 <... write resumed>)              = ?
11 +++ killed by SIGKILL +++
"""


def a_trace(tmp_path: Path, text: str = TRACE) -> list[Made]:
    path = tmp_path / "trace"
    path.write_text(text)
    return read(path, OUT)


def test_calls_on_the_output_folder_are_numbered_by_file_over_all_threads(tmp_path: Path) -> None:
    calls = [str(made.call) for made in a_trace(tmp_path) if made.call is not None]
    assert calls == [
        "mkdir 1 on .",
        "mkdir 2 on .",
        "openat 1 on .lock",
        "write 1 on b/i.mp4.part",
        "write 2 on b/i.mp4.part",
        "linkat 1 on b/i.mp4",
        "openat 1 on b/.a.jsonl.#.tmp",
        "rename 1 on b/a.jsonl",
        "write 1 on b/.a.jsonl.#.tmp",
    ]


def test_an_opening_that_makes_nothing_counts_as_strace_counts_it(tmp_path: Path) -> None:
    [_, made] = a_trace(
        tmp_path,
        '10 openat(AT_FDCWD</w>, "/w/out/a", O_RDONLY) = -1 ENOENT (No such file or directory)\n'
        '11 openat(AT_FDCWD</w>, "/w/out/a", O_WRONLY|O_CREAT) = 3</w/out/a>\n',
    )
    assert (made.call, made.number_on_file, made.own_number) == (Call("openat", "a", 1), 2, 1)


def test_the_call_it_died_at_is_the_killed_threads_own(tmp_path: Path) -> None:
    made = a_trace(tmp_path)
    assert died_at(made, 2) == Call("write", "b/.a.jsonl.#.tmp", 1)
    assert died_at(made, 1) is None, "that thread's first write returned"


def test_where_two_threads_may_have_been_killed_none_is_named(tmp_path: Path) -> None:
    both = "10 fsync(3</w/out/a> <unfinished ...>\n11 fsync(3</w/out/b>) = ?\n10 <... fsync resumed>) = ?\n"
    assert died_at(a_trace(tmp_path, both), 1) is None


def test_what_failed_and_what_cannot_be_aimed_at_is_not_missed(tmp_path: Path) -> None:
    coverage = Coverage()
    coverage.know(a_trace(tmp_path))
    missing = [made.call for made in coverage.missing()]
    assert Call("mkdir", ".", 1) in missing
    assert Call("mkdir", ".", 2) not in missing, "it was there already"
    assert Call("openat", "b/.a.jsonl.#.tmp", 1) not in missing
    assert Call("openat", "b/.a.jsonl.#.tmp", 1).has_drawn_name
    coverage.reach([*missing[1:], None])
    assert (
        str(coverage) == f"{len(missing) - 1} of {len(missing)} calls of an undisturbed run reached; not: {missing[0]}"
    )
