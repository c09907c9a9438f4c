from fastnst.errors import nearest_hint


def test_the_nearest_word_is_named() -> None:
    assert nearest_hint("relu4_22", ["relu4_2", "conv1_1"]) == "did you mean 'relu4_2'?"
    assert nearest_hint("RELU4_2", ["relu4_2", "conv1_1"]) == "did you mean 'relu4_2'?"
    assert nearest_hint("Starry", ["STARRY"]) == "did you mean 'STARRY'?"


def test_all_words_are_named_where_none_is_near() -> None:
    assert nearest_hint("zzz", ["b", "a"]) == "known: a, b"
    assert nearest_hint("zzz", []) == "known: none"
