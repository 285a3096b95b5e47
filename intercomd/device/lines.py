"""The panel's GPIO lines as the configuration describes them.

Apart from the composition root, which needs every library: on a small Pi those take seconds to load, and a door that a
crash has left open is shut before (`shut`).
"""

from intercomd.adapters.gpio import GpioPins
from intercomd.boards.board import Board, panel_board
from intercomd.config import Panel


def lines(panel: Panel, board: Board) -> GpioPins:
    """Nothing is claimed yet. `board` is the panel's (`panel_board`), or what stands in for it."""
    return GpioPins(
        {str(name): line for name, line in board.buttons.items()},
        {str(name): line for name, line in board.leds.items()},
        panel.pin_factory,
        panel.chip_label or board.chip,
        board.buttons_active,
        board.leds_active,
        {str(name): line for name, line in board.outputs.items()},
        board.outputs_active,
    )


def shut(panel: Panel) -> GpioPins:
    """The lines with their outputs claimed, and by that off. What could not be had is told by `start`."""
    pins = lines(panel, panel_board(panel))
    pins.outputs_off()
    return pins
