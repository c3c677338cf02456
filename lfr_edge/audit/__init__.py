"""The tamper-evident log: what happened, when, by whom and why, provable to somebody who does not trust the machine."""
