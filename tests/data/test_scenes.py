"""Made-up scenes: what is said of their motion, masks and splits is what they show."""

import numpy as np
import pytest

from pdebench.data import photos
from pdebench.data.emoji import drawing
from pdebench.data.scenes import CLASSES, RESOLUTIONS, scene


def centroid(mask):
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def alone_and_inside(seeds, frames, resolution):
    """Scenes whose only sprite is wholly inside in every frame."""
    for seed in seeds:
        made = scene("train", seed, frames, resolution)
        covered = made.masks > 0
        border = covered[:, [0, -1]].any() or covered[:, :, [0, -1]].any()
        if len(made.sprites) == 1 and not border:
            yield made


def test_a_scene_is_a_function_of_its_number():
    first, again, other = scene("train", 3, 4, 32), scene("train", 3, 4, 32), scene("train", 4, 4, 32)
    assert first.frames.shape == (4, 32, 32, 3)
    assert first.masks.shape == (4, 32, 32)
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.frames, other.frames)


def test_sprites_move_as_they_are_said_to():
    found = list(alone_and_inside(range(100), 5, 64))
    assert len(found) >= 3
    for made in found:
        (sprite,) = made.sprites
        moved = centroid(made.masks[-1]) - centroid(made.masks[0])
        turned = abs(sprite.spin) * 4 * sprite.size / 2  # a drawing's centroid is not where its square's centre is
        assert moved == pytest.approx(4 * made.velocities[0], abs=0.5 + 0.3 * turned)
    assert any(np.abs(made.velocities).max() > 1 for made in found)


def test_the_background_stands_still_and_is_what_is_class_0():
    made = scene("train", 7, 6, 64)
    bare = (made.masks == 0).all(0)
    alike = (made.frames == made.frames[0]).all((0, 3))
    assert alike[bare].mean() > 0.9  # a pixel that a sprite covers by less than half shows some of it
    assert alike[~bare].mean() < 0.1


def test_later_sprites_cover_earlier_ones():
    uppermost = []
    for seed in range(250):
        made = scene("train", seed, 1, 64)
        *under, top = made.sprites
        x, y = top.centre
        near = [one for one in under if np.hypot(one.centre[0] - x, one.centre[1] - y) < 6 and one.value != top.value]
        if near and 2 <= x < 62 and 2 <= y < 62:
            uppermost.append(made.masks[0, int(y), int(x)] == top.value)
    assert len(uppermost) >= 5
    assert np.mean(uppermost) > 0.8  # a drawing may be clear in its middle


def test_the_same_scene_at_another_resolution():
    small, large = scene("validation", 5, 3, 64), scene("validation", 5, 3, 128)
    assert [one.points for one in small.sprites] == [one.points for one in large.sprites]
    assert small.photograph == large.photograph
    assert large.velocities == pytest.approx(2 * small.velocities)
    assert np.mean(large.masks[:, ::2, ::2] == small.masks) > 0.95
    reduced = large.frames.reshape(3, 64, 2, 64, 2, 3).mean((2, 4))
    assert np.abs(reduced - small.frames).mean() < 6


def test_no_photograph_and_no_emoji_stands_in_both_splits():
    photographs, drawings = {}, {}
    for split in ("train", "validation"):
        made = [scene(split, seed, 1, 32) for seed in range(150)]
        photographs[split] = {one.photograph for one in made}
        drawings[split] = {drawing(sprite.points) for one in made for sprite in one.sprites}
    assert photographs["validation"] == photos.VALIDATION
    assert not photographs["train"] & photographs["validation"]
    assert not drawings["train"] & drawings["validation"]


def test_every_class_is_seen():
    masks = np.concatenate([scene("train", seed, 1, max(RESOLUTIONS)).masks for seed in range(60)])
    assert set(np.unique(masks)) == set(range(len(CLASSES)))
