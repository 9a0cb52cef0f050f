import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.formats.class_choice import chosen_names, listed, look_alikes

KNOWN = ("person", "dog", "person, standing", "a,b", "standing")


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["person,dog"], ["person", "dog"]),
        ([" dog , person,"], ["dog", "person"]),
        (["dog", "person", "dog"], ["dog", "person"]),
        (["person, standing"], ["person, standing"]),  # as a whole, though both parts are classes, too
        (["person", "standing"], ["person", "standing"]),
        (["a,b", "dog"], ["a,b", "dog"]),
        (["persn,dog"], ["persn", "dog"]),
        (["", " , "], []),
    ],
)
def test_what_is_asked_for(texts: list[str], names: list[str]) -> None:
    assert chosen_names(texts, KNOWN) == names


@given(st.lists(st.text(), unique=True))
def test_every_class_can_be_chosen_by_its_name(known: list[str]) -> None:
    assert chosen_names(known, known) == known


def test_names_that_look_alike() -> None:
    names = ["person", "dog", "Person", "traffic light", "traffic_light", "dogs", "caf\u00e9", "cafe\u0301"]
    pairs = [("person", "Person"), ("traffic light", "traffic_light"), ("caf\u00e9", "cafe\u0301")]
    assert look_alikes(names) == pairs
    assert look_alikes(["person", "dog", "dogs", "dog 2", "dog2"]) == []


def test_names_with_a_comma_are_told_apart() -> None:
    assert listed(["person", "dog, large"]) == "person, 'dog, large'"
