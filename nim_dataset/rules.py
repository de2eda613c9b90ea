"""The rule: one-pile Nim, in which whoever takes the last coin wins.

With `k = max_remove`, a pile that is a multiple of `k + 1` is lost for the player to move; from every other pile the
one winning move is `pile mod (k + 1)`, which leaves such a multiple to the opponent (Bouton 1901; Ferguson, *Game
Theory*, part I, section 1.2).
"""

from typing import Any, TypeVar

import numpy as np

NO_WINNING_MOVE = -1

IntOrArray = TypeVar("IntOrArray", int, np.ndarray)


def optimal_move(pile: IntOrArray, max_remove: IntOrArray | int) -> IntOrArray:
    """The winning move (coins to take, 1 to `max_remove`), or -1 where there is none.

    `pile` and `max_remove` are in coins; integers, or arrays that broadcast together.
    """
    remainder: Any = pile % (max_remove + 1)
    several = isinstance(remainder, np.ndarray)
    move: Any = np.where(remainder == 0, NO_WINNING_MOVE, remainder) if several else remainder or NO_WINNING_MOVE
    return move
