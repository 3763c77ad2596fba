"""Ctrl-C at a moment of our choosing."""

import signal
import threading


class Interrupted(Exception):
    """Training was interrupted; what was reached is saved. `signal` is the signal's number."""

    def __init__(self, message, number):
        super().__init__(message)
        self.signal = number


class Interruption:
    """Context in which the first SIGINT or SIGTERM only sets `signal`; a second acts as usual.

    In other threads than the main one, to which Python gives no signals, it does nothing.
    """

    def __init__(self):
        self.signal = None
        self._previous = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error):
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _note(self, number, frame):
        self.signal = number
        self.__exit__()
