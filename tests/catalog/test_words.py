from hardpairs.catalog.words import name_words, same_words


def test_words_of_names():
    assert name_words("Dog-house_2.b") == ["dog", "house", "2", "b"]
    assert name_words("It's Café") == ["it's", "café"]
    assert name_words("—") == []


def test_order_and_numbers_do_not_count():
    assert same_words(["left", "arrow", "2"]) == same_words(["arrow", "left"]) == "arrow left"
    assert same_words(["a", "dog"], {"a"}) == "dog"
    assert same_words(["b", "2", "a"], numbers=True) == "2 a b"
    assert same_words(["2", "10"]) == "10 2"  # nothing else is left
