import gc

from registry import garbage


def test_what_is_loaded_is_never_looked_over_again() -> None:
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    garbage.settle()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, frozen)
    garbage.look_seldom()
    try:
        assert all(seldom > often for seldom, often in zip(gc.get_threshold(), usual, strict=True))
        garbage.settle()
        assert gc.get_threshold() == usual
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
