import pytest

from shared.engines.inferers import AutocastInferer
from shared.engines.settings import flag
from shared.io.errors import CaseError


@pytest.mark.parametrize("value, expected", [(True, True), (False, False), ("false", False), ("True", True)])
def test_words_of_the_command_line_mean_what_they_say(value, expected):
    assert flag("amp", value) is expected
    assert AutocastInferer(value).amp is expected


@pytest.mark.parametrize("value", [None, 0, "no", "off"])
def test_other_words_are_refused(value):
    with pytest.raises(CaseError, match="--amp: is .*True or False"):
        flag("amp", value)
