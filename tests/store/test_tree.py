"""The tree: what steps say of an item, and a name that knows nothing any more goes."""

from __future__ import annotations

from worldos.store.tree import Folder, Item, Origin, Spot, Step, Tree, View

HERE, THERE = b"h" * 32, b"t" * 32


def origin(device: bytes, seq: int, clock: int = 0) -> Origin:
    return Origin(device, seq, clock or seq, at_ns=0)


def stepped(*paths: str | None) -> Item:
    """An item whose first step was followed by others that knew nothing of each other."""
    item = Item(origin(HERE, 1), 0, b"file")
    first = Step(item.origin, 0, "first")
    later = [Step(origin(THERE, number, 9), 0, path) for number, path in enumerate(paths, 2)]
    first.later = list(later)
    item.steps = [first, *later]
    return item


def test_an_item_is_where_its_last_steps_put_it() -> None:
    assert Item(origin(HERE, 1), 0, b"file").place("here") == "here"
    assert stepped("second").place("first") == "second"
    assert stepped(None).place("first") is None


def test_a_step_that_puts_counts_more_than_one_that_takes_away() -> None:
    assert stepped(None, "kept").place("first") == "kept"
    assert stepped("kept", None).place("first") == "kept"


def test_of_two_places_the_one_of_the_greater_order_counts() -> None:
    assert stepped("two", "three").place("first") == "three"


def test_an_author_sees_an_item_where_it_knew_it_to_be() -> None:
    item = stepped("moved")
    made = origin(HERE, 5)
    assert View(made, 0, {THERE: 1}).place(item, "first") == "first"
    assert View(made, 0, {THERE: 2}).place(item, "first") == "moved"
    assert View(origin(THERE, 1), 0, {}).place(item, "first") is None
    assert View(made, 0, {}).place(Item(origin(THERE, 1), 0, b""), "x") is None


def test_an_author_knows_its_own_operations_before() -> None:
    view = View(origin(HERE, 5), 3, {})
    assert view.has(origin(HERE, 4), 99)
    assert view.has(origin(HERE, 5), 2)
    assert not view.has(origin(HERE, 5), 3)
    assert not view.has(origin(HERE, 6), 0)


def test_a_plain_file_takes_no_more_than_an_item() -> None:
    tree = Tree()
    item = Item(origin(HERE, 1), 0, b"file")
    tree.show(item, "a/b/c")
    assert tree.at("a/b/c") is item
    assert tree.root.live == 1
    assert isinstance(tree.at("a"), Spot)
    assert tree.at("a/b/c/d") is None
    assert tree.folder("a/b/c") is None


def test_what_is_under_a_folder_is_found_with_its_paths() -> None:
    tree = Tree()
    items = {path: Item(origin(HERE, 1), index, b"file") for index, path in enumerate(["a", "b/c", "b/d/e", "bb/f"])}
    for path, item in items.items():
        tree.show(item, path)
    assert sorted(path for path, _ in tree.below("b")) == ["b/c", "b/d/e"]
    assert dict(tree.below("")) == items


def test_what_was_there_is_known_until_it_is_dropped_and_then_the_name_goes() -> None:
    tree = Tree()
    item = Item(origin(HERE, 1), 0, b"file")
    tree.show(item, "a/b")
    tree.hide(item, "a/b")
    tree.hide(item, "a/b")
    assert tree.root.live == 0
    assert tree.holds("a/b") == ((), (item,))
    assert tree.ended == {"a/b"}
    tree.show(item, "a/b")
    assert tree.holds("a/b") == ((item,), ())
    tree.hide(item, "a/b")
    tree.drop(item, "a/b")
    assert tree.at("a") is None
    assert not tree.ended
    assert not tree.root.spots


def test_a_name_with_two_claims_is_marked_and_one_with_a_single_file_gets_slim() -> None:
    tree = Tree()
    first, second = Item(origin(HERE, 1), 0, b"1"), Item(origin(THERE, 2), 0, b"2")
    tree.show(first, "a")
    tree.show(second, "a")
    assert tree.contested == {"a"}
    spot = tree.at("a")
    assert isinstance(spot, Spot)
    assert spot.files() == [second, first]
    tree.hide(second, "a")
    tree.slim("a")
    assert tree.at("a") is spot
    tree.drop(second, "a")
    tree.slim("a")
    assert tree.at("a") is first


def test_folders_are_counted_up_to_the_top() -> None:
    top = Folder(None)
    inner = Folder(Folder(top))
    inner.count(3)
    assert top.live == 3
