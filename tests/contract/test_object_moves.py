"""Contract of ObjectMove, between each pair of stores."""

from __future__ import annotations

import hashlib
import io
import json
import operator
import os
import re
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import eventually, remove_bucket
from tests.contract.base import Contract

MIB = 1 << 20
LARGE = bytes(range(256)) * (36 * MIB // 1024)  # 9 MiB: two parts
FILES = {
    "users/ada.png": b"ada",
    "users/bob.png": b"bob's",
    "users/cem/a b+%é.txt": b"",
    "users/cem/large": LARGE,
    "users/zoe.png": b"zoe",
}
KEYS = [key.removeprefix("users/") for key in FILES]
DONE = infra.MoveCounts(read=5, written=5)
MANIFEST = "people/.infra-moves/avatars/"


@dataclass
class Pair:
    """Two stores with a bucket each."""

    source: infra.StorageProvider
    target: infra.StorageProvider
    old: str
    new: str

    def fill(self) -> None:
        """Five objects below the prefix in the source, and one beside it."""
        for key, data in FILES.items():
            self.put(key, data)
        self.put("usersfile", b"another")

    def put(self, key: str, data: bytes) -> None:
        self.source.upload(self.old, key, data, "image/png", {"made-by": "Ada"})

    def move(self, **options: Any) -> infra.ObjectMove:
        usual: dict[str, Any] = {
            "source": (self.source, self.old, "users/"),
            "target": (self.target, self.new, "people/"),
        }
        return infra.ObjectMove("avatars", **{**usual, **options})

    def stored(self) -> dict[str, bytes]:
        """What the target holds, without the manifest."""
        found = self.target.list_objects(self.new)
        keys = [each.key for each in found if ".infra-moves/" not in each.key]
        return {key: self.target.download(self.new, key) for key in keys}

    def manifest(self) -> list[dict[str, Any]]:
        """The entries of the manifest. Threads end in any order."""
        parts = [each.key for each in self.target.list_objects(self.new, MANIFEST)]
        lines = [
            line for part in parts for line in self.target.download(self.new, part).splitlines()
        ]
        return sorted(map(json.loads, lines), key=operator.itemgetter("key"))


def people(*names: str) -> dict[str, bytes]:
    return {f"people/{name}": FILES[f"users/{name}"] for name in names or KEYS}


def refusal(call: Callable[[], Any]) -> infra.MoveError:
    with pytest.raises(infra.MoveError) as caught:
        call()
    return caught.value


class ObjectMoveContract(Contract):
    port = infra.ObjectMove

    # All objects

    def test_all_objects_move(self, backend: Pair) -> None:
        backend.fill()
        report = backend.move().run()
        assert (report.name, report.done, report.dry_run) == ("avatars", True, False)
        assert (report.counts, report.resumed) == (DONE, infra.MoveCounts())
        assert backend.stored() == people()
        words = r"avatars: done: 5 read, 5 written \(\d+\.\d s, [0-9,]+ a second\)"
        assert re.fullmatch(words, str(report)), report

    def test_the_source_keeps_its_objects(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run()
        keys = [each.key for each in backend.source.list_objects(backend.old)]
        assert keys == [*FILES, "usersfile"]

    def test_content_type_and_metadata(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run()
        for name in ("ada.png", "cem/large"):
            found = backend.target.get_metadata(backend.new, f"people/{name}")
            assert (found.content_type, found.metadata) == ("image/png", {"made-by": "Ada"})
            assert found.size == len(FILES[f"users/{name}"])

    def test_no_objects(self, backend: Pair) -> None:
        report = backend.move().run()
        assert (report.counts, report.done) == (infra.MoveCounts(), True)
        assert "avatars: done: nothing (" in str(report)
        assert backend.move().verify() == infra.Verification("avatars", 0, 0, 0, 0)

    @pytest.mark.parametrize("threads", [1, 2, 32])
    def test_any_number_of_threads(self, backend: Pair, threads: int) -> None:
        backend.fill()
        assert backend.move(threads=threads).run().counts == DONE
        assert backend.stored() == people()

    def test_without_prefixes(self, backend: Pair) -> None:
        backend.fill()
        move = backend.move(
            source=(backend.source, backend.old, ""), target=(backend.target, backend.new, "")
        )
        assert move.run().counts == infra.MoveCounts(read=6, written=6)
        assert backend.stored() == {**FILES, "usersfile": b"another"}
        assert move.verify().ok

    def test_a_prefix_may_be_a_part_of_a_name(self, backend: Pair) -> None:
        backend.fill()
        move = backend.move(source=(backend.source, backend.old, "users/ad"))
        assert move.run().counts == infra.MoveCounts(read=1, written=1)
        assert backend.stored() == {"people/a.png": b"ada"}

    def test_objects_that_are_there_are_replaced(self, backend: Pair) -> None:
        backend.fill()
        backend.target.upload(backend.new, "people/ada.png", b"another Ada")
        assert backend.move().run().counts == DONE
        assert backend.stored() == people()

    def test_progress(self, backend: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        backend.fill()
        monkeypatch.setitem(sys.modules, "tqdm", None)
        monkeypatch.setattr(sys, "stderr", terminal := io.StringIO())
        backend.move().run(limit=2)
        assert terminal.getvalue() == ""
        monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
        backend.move().run(progress=False)
        assert terminal.getvalue() == ""
        backend.move().run(restart=True, dry_run=True)
        words = r"\ravatars: 5 read, [0-9,]+ a second, 100%, 0:00:00 left\x1b\[K\n"
        assert re.fullmatch(words, terminal.getvalue()), terminal.getvalue()

    # The manifest

    def test_the_manifest(self, backend: Pair) -> None:
        """A line for each object; many lines in one object."""
        backend.fill()
        backend.move(rename=lambda key: key.replace("ada", "eva")).run()
        found = backend.source.list_objects(backend.old, "users/")
        assert backend.manifest() == [
            {
                "key": each.key,
                "to": each.key.replace("users", "people").replace("ada", "eva"),
                "size": len(FILES[each.key]),
                "etag": each.etag,
                "modified": each.last_modified.isoformat(),
                "sha256": hashlib.sha256(FILES[each.key]).hexdigest(),
            }
            for each in found
        ]
        assert len([*backend.target.list_objects(backend.new, MANIFEST)]) == 1

    def test_a_finished_move_moves_nothing(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run()
        backend.target.upload(backend.new, "people/ada.png", b"kept")
        report = backend.move().run()
        assert (report.counts, report.resumed, report.done) == (DONE, DONE, True)
        assert backend.stored()["people/ada.png"] == b"kept"
        assert len(backend.manifest()) == 5

    def test_a_part_and_the_rest(self, backend: Pair) -> None:
        backend.fill()
        part = backend.move().run(limit=2)
        assert (part.counts, part.done) == (infra.MoveCounts(read=2, written=2), False)
        assert "run it again" in str(part)
        assert backend.stored() == people("ada.png", "bob.png")
        rest = backend.move().run(limit=3)
        assert (rest.counts, rest.resumed, rest.done) == (DONE, part.counts, True)
        assert backend.stored() == people()

    def test_what_has_changed_moves_again(self, backend: Pair) -> None:
        """Also with another size, and the same; new objects move, too."""
        backend.fill()
        backend.move().run()
        backend.put("users/ada.png", b"ADA")
        backend.put("users/bob.png", b"bob")
        backend.put("users/new", b"new")
        report = backend.move().run()
        assert report.resumed == infra.MoveCounts(read=3, written=3)
        assert report.counts == infra.MoveCounts(read=6, written=6)
        changed = {"people/ada.png": b"ADA", "people/bob.png": b"bob", "people/new": b"new"}
        assert backend.stored() == {**people(), **changed}
        assert backend.move().run().resumed == infra.MoveCounts(read=6, written=6)
        assert backend.move().verify().ok

    def test_another_name_in_the_target_moves_again(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run()
        report = backend.move(rename=lambda key: key.replace("ada", "eva")).run()
        assert report.resumed == infra.MoveCounts(read=4, written=4)
        assert backend.stored() == {**people(), "people/eva.png": b"ada"}

    def test_another_name_of_the_move_moves_all(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run()
        options: Any = {"source": (backend.source, backend.old, "users/")}
        other = infra.ObjectMove("b", target=(backend.target, backend.new, "people/"), **options)
        assert other.run().resumed == infra.MoveCounts()

    def test_restart(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run()
        backend.target.upload(backend.new, "people/ada.png", b"damaged")
        report = backend.move().run(restart=True)
        assert (report.counts, report.resumed) == (DONE, infra.MoveCounts())
        assert backend.stored() == people()
        assert len(backend.manifest()) == 5

    def test_a_restart_that_is_stopped_goes_on(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run()
        backend.target.upload(backend.new, "people/zoe.png", b"damaged")
        backend.move().run(restart=True, limit=1)
        assert backend.move().run().resumed == infra.MoveCounts(read=1, written=1)
        assert backend.stored() == people()

    def test_no_resume(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run(limit=1, resume=False)
        error = refusal(lambda: backend.move().run(resume=False))
        assert str(error) == "avatars was begun by an earlier run: restart or resume it"
        assert backend.move().run(resume=False, restart=True).counts == DONE

    def test_accept_change_changes_nothing(self, backend: Pair) -> None:
        backend.fill()
        assert backend.move().run(accept_change=True).counts == DONE

    def test_another_run_at_the_same_time(self, backend: Pair) -> None:
        """The one that writes the manifest last stops; the next run goes on."""
        backend.fill()

        def rename(key: str) -> str:
            if key == "ada.png":
                backend.move().run(limit=1)
            return key

        error = refusal(lambda: backend.move(rename=rename).run())
        assert str(error) == "avatars: another run moved objects meanwhile: run it again"
        assert backend.move().run().resumed == infra.MoveCounts(read=1, written=1)
        assert backend.move().verify().ok

    @pytest.mark.parametrize(
        "text", [b"{", b"\xff", b"5", b"null", b"{}", b'["key"]', b'{"key":[]}']
    )
    def test_a_damaged_manifest(self, backend: Pair, text: bytes) -> None:
        backend.fill()
        backend.target.upload(backend.new, f"{MANIFEST}00000001-x", text)
        error = refusal(lambda: backend.move().run())
        assert str(error) == f"{MANIFEST}00000001-x is no manifest: restart the move"
        assert backend.move().run(restart=True).counts == DONE

    def test_manifests_do_not_move(self, backend: Pair) -> None:
        """The buckets change their roles; neither run moves or counts what the other wrote."""
        backend.fill()
        backend.move().run()
        back = infra.ObjectMove(
            "avatars",
            source=(backend.target, backend.new, ""),
            target=(backend.source, backend.old, "copy/"),
        )
        assert back.run().counts == DONE
        assert back.verify().ok

    # Keys

    def test_rename_and_leave_out(self, backend: Pair) -> None:
        backend.fill()

        def rename(key: str) -> str | None:
            return f"faces/{key.upper()}" if key.endswith(".png") else None

        move = backend.move(rename=rename)
        report = move.run()
        assert report.counts == infra.MoveCounts(read=5, written=3, dropped=2)
        assert backend.stored() == {
            "people/faces/ADA.PNG": b"ada",
            "people/faces/BOB.PNG": b"bob's",
            "people/faces/ZOE.PNG": b"zoe",
        }
        assert move.verify() == infra.Verification("avatars", 3, 0, 0, 0)
        again = move.run()
        assert (again.counts, again.resumed) == (report.counts, infra.MoveCounts(3, 3))

    def test_two_objects_with_one_new_key(self, backend: Pair) -> None:
        """Nothing moves."""
        backend.fill()
        move = backend.move(rename=lambda key: "one" if key[:3] in ("bob", "zoe") else key)
        for call in (move.run, lambda: move.run(dry_run=True), move.verify):
            error = refusal(call)
            assert str(error) == (
                "object users/zoe.png: users/bob.png has the same new key, people/one"
            )
            assert error.key == "users/zoe.png"
        assert backend.stored() == {}

    @pytest.mark.parametrize(
        ("made", "words"),
        [
            ("", "key should not begin"),
            (5, "the new key should be a str"),
            (b"a", "the new key should be a str"),
            ("a//b", "key should not begin"),
            ("../b", "key should not begin"),
            ("a ", "key should not begin or end with a blank"),
            ("\ud800", "the new key should not hold a lone surrogate"),
            (".infra-moves/avatars/a", "the new key should not hold .infra-moves/"),
        ],
    )
    def test_new_keys_that_no_store_takes(self, backend: Pair, made: Any, words: str) -> None:
        backend.fill()
        target = (backend.target, backend.new, "people/" if made else "/")
        if not made:
            with pytest.raises(infra.ValidationError):
                backend.move(target=target)
            return
        error = refusal(backend.move(rename=lambda key: made if "zoe" in key else key).run)
        assert str(error).startswith(f"object users/zoe.png: {words}")
        assert backend.stored() == {}

    def test_rename_fails(self, backend: Pair) -> None:
        backend.fill()

        def rename(key: str) -> str:
            return {"ada.png": "a"}[key]

        error = refusal(backend.move(rename=rename).run)
        assert str(error) == "object users/bob.png: rename failed: KeyError"
        assert isinstance(error.__cause__, KeyError)
        assert backend.stored() == {}

    # Rehearsal and verification

    def test_dry_run(self, backend: Pair) -> None:
        backend.fill()
        report = backend.move().run(dry_run=True)
        assert (report.counts, report.dry_run, report.done) == (DONE, True, True)
        assert [*backend.target.list_objects(backend.new)] == []
        assert str(report).startswith("avatars: would be: 5 read, 5 written (")

    def test_dry_run_after_a_part(self, backend: Pair) -> None:
        """It counts what is left, and changes nothing, also not with restart."""
        backend.fill()
        part = backend.move().run(limit=2)
        report = backend.move().run(dry_run=True, resume=False)
        assert (report.counts, report.resumed) == (DONE, part.counts)
        restart = backend.move().run(dry_run=True, restart=True, limit=4)
        assert (restart.counts, restart.done) == (infra.MoveCounts(read=4, written=4), False)
        assert backend.move().run(limit=1).resumed == part.counts

    def test_verify(self, backend: Pair) -> None:
        backend.fill()
        move = backend.move()
        move.run()
        assert str(move.verify()) == "avatars: 5 compared, all equal"
        backend.target.upload(backend.new, "people/ada.png", b"eda")  # the same size
        backend.target.upload(backend.new, "people/other", b"")
        backend.target.delete(backend.new, "people/zoe.png")
        assert str(move.verify()) == (
            "avatars: of 5 compared 1 differ, 1 are missing, 1 extra\n"
            "  users/ada.png\n  users/zoe.png"
        )
        ranges = (("users/ada.png", "users/ada.png"), ("users/zoe.png", "users/zoe.png"))
        assert move.verify() == infra.Verification("avatars", 5, 1, 1, 1, ranges)

    def test_verify_without_a_manifest(self, backend: Pair) -> None:
        """It compares with the source."""
        backend.fill()
        for key, data in people("ada.png", "cem/large").items():
            backend.target.upload(backend.new, key, data)
        backend.target.upload(backend.new, "people/bob.png", b"BOB's")
        found = backend.move().verify()
        assert (found.checked, found.different, found.missing, found.extra) == (5, 1, 2, 0)

    def test_verify_after_a_change(self, backend: Pair) -> None:
        """What was moved is not what the source holds now."""
        backend.fill()
        backend.move().run()
        backend.put("users/ada.png", b"ADA")
        found = backend.move().verify()
        assert (found.different, found.missing, found.extra) == (1, 0, 0)
        assert found.ranges == (("users/ada.png", "users/ada.png"),)

    # Bad days

    def test_an_object_that_is_deleted_meanwhile(self, backend: Pair) -> None:
        backend.fill()

        def rename(key: str) -> str:
            if key == "bob.png":
                backend.source.delete(backend.old, "users/bob.png")
            return key

        report = backend.move(rename=rename).run()
        assert report.counts == infra.MoveCounts(read=5, written=4, missing=1)
        assert report.done
        expected = people()
        del expected["people/bob.png"]
        assert backend.stored() == expected
        assert len(backend.manifest()) == 4

    def test_an_object_that_is_replaced_meanwhile(self, backend: Pair) -> None:
        """The next run moves it again: it may have been read before or after."""
        backend.fill()

        def rename(key: str) -> str:
            if key == "bob.png":
                backend.put("users/bob.png", b"another Bob")
            return key

        backend.move(rename=rename).run()
        assert backend.move().run().resumed == infra.MoveCounts(read=4, written=4)
        assert backend.stored() == {**people(), "people/bob.png": b"another Bob"}

    def test_ctrl_c(self, backend: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        """What runs is finished and written to the manifest."""
        backend.fill()
        usual = type(backend.target).upload

        def upload(self: Any, bucket: str, key: str, *rest: Any) -> None:
            if key == "people/bob.png":
                os.kill(os.getpid(), signal.SIGINT)
                eventually(lambda: signal.getsignal(signal.SIGINT) is signal.default_int_handler)
            usual(self, bucket, key, *rest)

        monkeypatch.setattr(type(backend.target), "upload", upload)
        with pytest.raises(KeyboardInterrupt, match="avatars stopped: run it again to go on"):
            backend.move(threads=1).run()
        assert backend.stored() == people("ada.png", "bob.png")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        monkeypatch.undo()
        report = backend.move().run()
        assert (report.counts, report.resumed) == (DONE, infra.MoveCounts(read=2, written=2))

    def test_absent_buckets(self, backend: Pair) -> None:
        backend.fill()
        absent = f"test-{uuid.uuid4().hex[:20]}"
        for options in (
            {"source": (backend.source, absent, "users/")},
            {"target": (backend.target, absent, "people/")},
        ):
            for call in (backend.move(**options).run, backend.move(**options).verify):
                with pytest.raises(infra.NotFoundError) as caught:
                    call()
                assert caught.value.resource == "bucket"

    # Arguments

    def test_the_same_place(self, backend: Pair) -> None:
        for prefix in ("users/", "users/new/"):
            with pytest.raises(infra.ConfigurationError, match="target should not be inside"):
                backend.move(target=(backend.source, backend.old, prefix))
        backend.fill()
        move = backend.move(target=(backend.source, backend.old, "copy/"))
        assert move.run().counts == DONE
        assert move.verify().ok

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            ({"source": None}, "source"),
            ({"source": ("a", "b", "c")}, "source"),
            ({"target": ()}, "target"),
            ({"target": "abc"}, "target"),
            ({"rename": "upper"}, "rename"),
            ({"threads": 0}, "threads"),
            ({"threads": 33}, "threads"),
            ({"threads": True}, "threads"),
        ],
    )
    def test_bad_options(self, backend: Pair, options: dict[str, Any], word: str) -> None:
        with pytest.raises(infra.ConfigurationError, match=f"^{word} should"):
            backend.move(**options)

    def test_other_bad_arguments(self, backend: Pair) -> None:
        old, new = (backend.source, backend.old, "a"), (backend.target, backend.new, "b")
        wrong: list[tuple[str, Callable[[], Any]]] = [
            ("name should be a str", lambda: infra.ObjectMove(5, source=old, target=new)),  # type: ignore[arg-type]
            ("a part of a key", lambda: infra.ObjectMove("a/b", source=old, target=new)),
            ("a part of a key", lambda: infra.ObjectMove("..", source=old, target=new)),
            (
                "name should have",
                lambda: infra.ObjectMove("a" * 101, source=old, target=new),
            ),
            ("bucket should", lambda: backend.move(source=(backend.source, 5, "a"))),
            ("the prefix of source should", lambda: backend.move(source=(*old[:2], None))),
            ("key should", lambda: backend.move(target=(*new[:2], "/a"))),
            ("limit should", lambda: backend.move().run(limit=0)),
            ("limit should", lambda: backend.move().run(limit=True)),
        ]
        for words, call in wrong:
            with pytest.raises(infra.ValidationError, match=f"^{words}"):
                call()


def on_fakes() -> Any:
    @pytest.fixture
    def backend(self: object) -> Pair:
        source, target = fakes.FakeStorageProvider(), fakes.FakeStorageProvider()
        source.create_bucket("old")
        target.create_bucket("new")
        return Pair(source, target, "old", "new")

    return backend


def on_stores(source: str, target: str) -> Any:
    """``source`` and ``target`` are kinds of servers, or "fake"."""

    @pytest.fixture
    def backend(
        self: object, no_aws: None, s3: Callable[[str], infra.S3StorageProvider]
    ) -> Iterator[Pair]:
        stores = [
            fakes.FakeStorageProvider() if name == "fake" else s3(name) for name in (source, target)
        ]
        buckets = [f"test-{uuid.uuid4().hex[:20]}" for _ in stores]
        for store, bucket in zip(stores, buckets):
            store.create_bucket(bucket)
        yield Pair(stores[0], stores[1], buckets[0], buckets[1])
        for store, bucket in zip(stores, buckets):
            if isinstance(store, infra.S3StorageProvider):
                remove_bucket(store, bucket)

    return backend


class TestFakeToFake(ObjectMoveContract):
    backend = on_fakes()


class TestFakeToMoto(ObjectMoveContract):
    backend = on_stores("fake", "moto")


class TestMotoToS3Gateway(ObjectMoveContract):
    backend = on_stores("moto", "s3")


class TestS3GatewayToMoto(ObjectMoveContract):
    backend = on_stores("s3", "moto")
