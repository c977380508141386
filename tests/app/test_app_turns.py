"""One after another: who waits is told how many are before, and leaves the line when stopped."""

from dataclasses import dataclass

from reddiff_jax.app.turns import Turns


@dataclass(eq=False)
class Someone:
    over: bool = False


def test_who_came_first_has_the_turn_and_who_is_over_is_not_counted():
    turns, people = Turns(), [Someone() for _ in range(3)]
    for someone in people:
        turns.join(someone)
    assert [turns.before(someone) for someone in people] == [0, 1, 2]
    people[1].over = True
    assert turns.before(people[2]) == 1
    turns.leave(people[0])
    assert turns.before(people[2]) == 0
    assert len(turns) == 1
