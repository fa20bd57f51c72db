"""The battery that every source of thingsvision passes."""

from thingsvision_gabors import SOURCE

from thingsvision.testing import check_source


def test_the_source_keeps_its_promises():
    for name in SOURCE.names():
        check_source(SOURCE, name)
