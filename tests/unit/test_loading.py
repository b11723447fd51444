from __future__ import annotations

import gc

import pytest

from lib import loading


def test_nothing_is_collected_inside_and_everything_as_before_after_it() -> None:
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    with loading.undisturbed():
        assert not gc.isenabled()
        with loading.undisturbed():
            pass
        assert not gc.isenabled(), "an inner one must not wake the collector for the outer one"
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen
    gc.unfreeze()


def test_a_failed_import_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), loading.undisturbed():
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()
