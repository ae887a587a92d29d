"""What all tests share."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell has it for what runs in the background; the processes that tests interrupt would not notice.
    signal.signal(signal.SIGINT, signal.default_int_handler)
