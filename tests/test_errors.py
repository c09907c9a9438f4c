from fastnst.errors import InputError, nearest_hint, on_one_line


def test_the_nearest_word_is_named() -> None:
    assert nearest_hint("relu4_22", ["relu4_2", "conv1_1"]) == "did you mean 'relu4_2'?"
    assert nearest_hint("RELU4_2", ["relu4_2", "conv1_1"]) == "did you mean 'relu4_2'?"
    assert nearest_hint("Starry", ["STARRY"]) == "did you mean 'STARRY'?"


def test_all_words_are_named_where_none_is_near() -> None:
    assert nearest_hint("zzz", ["b", "a"]) == "known: a, b"
    assert nearest_hint("zzz", []) == "known: none"


def test_a_message_is_one_line_whatever_the_file_is_called() -> None:
    assert str(InputError("a\nb\x1b[31m\udcff ü写.png: no such file")) == "a\\nb\\x1b[31m\\udcff ü写.png: no such file"


def test_what_can_be_printed_stays() -> None:
    assert on_one_line("Bild\u202f\u3000\\n 👩\u200d🎨") == "Bild\u202f\u3000\\n 👩\u200d🎨"
