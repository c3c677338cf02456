"""The van's life: waits blind, sees while an order allows it, erases at its end; root of everything but recognition.

    control socket -> Keeper (record on disk) <- clocks
                        |
    blind: Post (status, receipts)      live: Daemon (recognition), with a `Period` as its authority

A process sees at most once. After a period of recognition it ends, and the command starts the program again in its
place: nothing of the libraries' memory outlives a period (decision 0005). Requests are decided on the control socket's
threads, whatever the main thread is doing.
"""

import hashlib
import logging
import os
import time
from collections.abc import Sequence
from contextlib import closing
from enum import Enum
from importlib.metadata import version

from lfr_edge.audit.checkpoint import log_origin
from lfr_edge.audit.events import ClockRecovered, CommandReceived, Started, Stopped
from lfr_edge.audit.fields import Event
from lfr_edge.audit.log import AuditLog
from lfr_edge.clock import Clock
from lfr_edge.config import VanConfig
from lfr_edge.crypto.notes import NoteSigner
from lfr_edge.crypto.signing import SigningKey, VerifyKey
from lfr_edge.errors import ConfigError, DeviceError, LfrEdgeError, PolicyError, Reason
from lfr_edge.inference.manifest import DEFAULT_MANIFESTS, load_engine_set
from lfr_edge.messages.clock import open_statement
from lfr_edge.messages.command import StopCommand
from lfr_edge.van import lifecycle
from lfr_edge.van.cameras import require_present
from lfr_edge.van.clocks import Clocks
from lfr_edge.van.commands import Commands
from lfr_edge.van.control import ControlSocket, Order, Peer, Reply
from lfr_edge.van.custody import SYSTEM, Custody, warn_of_low_stock
from lfr_edge.van.daemon import Daemon
from lfr_edge.van.duties import Duties
from lfr_edge.van.history import History
from lfr_edge.van.keeper import Keeper, make_state_folder
from lfr_edge.van.late_log import LateLog
from lfr_edge.van.lifecycle import Conditions, Request, State
from lfr_edge.van.period import Period
from lfr_edge.van.post import Post

_LOG = logging.getLogger(__name__)

_TICK_S = 0.2
_VERIFY_AGAIN_S = 5.0
_BLIND_WITHIN_S = 20.0  # longer than every stage is waited for
_LOG_WITHIN_S = 60.0
_REQUESTS = {"stop": Request.STOP, "revoke": Request.REVOKE}


class Next(Enum):
    """What the process is to do when `run` returns."""

    AGAIN = "start again"
    STOP = "end"
    FAIL = "end, with a fault of ours"


class Service:
    """One process of the van. ConfigError if it cannot start."""

    def __init__(self, config: VanConfig, config_sha256: str, clock: Clock, clocks: Clocks) -> None:
        self._config = config
        self._config_sha256 = config_sha256
        self._clock = clock
        self._daemon: Daemon | None = None
        self._missing = ""  # what was last said of a camera's file
        self._engine_set = load_engine_set(config.engines.set, config.engines.manifests or DEFAULT_MANIFESTS)
        commanders = [VerifyKey.from_file(path) for path in config.keys.trusted_commanders]
        commands = Commands(config.force, config.van, commanders, self._carry_out, clock)
        make_state_folder(config.state)
        signer = NoteSigner(log_origin(config.force, config.van), SigningKey.from_file(config.keys.alert))
        self._history = History()
        self._log = AuditLog.open(config.state / "audit.log", signer, clock, self._history.hear)
        self._late = LateLog(self._log)
        try:
            self._keeper = Keeper(config.state / "deployment.json", clocks)
            self._share = self._keeper.share
            self._custody = Custody(config, self._engine_set, self._keeper, self._log, clock)
            self._duties = Duties(self._keeper, self._custody, self._late)
            self.period = Period(self._keeper, self._duties, self._log, self._late, self._engine_set, commands)
            self._control = ControlSocket(config.control, self._handle)
        except BaseException:
            self._log.close()
            raise

    @property
    def stop_asked(self) -> bool:
        """Is the process to end."""
        return self.period.stop_asked

    def stop(self) -> None:
        """End this process; the deployment stays loaded. For signal handlers."""
        self.period.stop_asked = True
        if self._daemon is not None:
            self._daemon.stop()

    def run(self) -> Next:
        """Live until there is a reason to start again, or to end."""
        with closing(self._log):
            missing = self._history.missing(self._keeper.record)  # by what the process before this one left
            self._duties.erase(self._keeper.decide())  # before anything that the disk, or a file on it, could prevent
            self._say_started(missing)
            self._custody.tidy()
            self._custody.verify()
            self._say_loaded()
            warn_of_low_stock(self._custody.holding.stock, lasting=self._config.keys.deployment is not None)
            self._control.start()
            try:
                following = None
                while following is None:
                    following = self._wait() or self._see()
                if following is Next.AGAIN:
                    self._share.hand_over()
                else:
                    self._share.keep_for(None)
                    self._late.say(Stopped(by=SYSTEM, why=following.value))
                return following
            finally:
                self._control.close()

    def _say_started(self, missing: Sequence[Event]) -> None:
        started = Started(
            by=SYSTEM,
            why="the daemon starts",
            software=version("lfr-edge"),
            config_sha256=self._config_sha256,
            engine_set=self._engine_set.digest,
        )
        self._late.say(started, *missing)

    def _say_loaded(self) -> None:
        """What is loaded, for a log that does not know of it: it was begun anew, or its disk failed."""
        terms = lifecycle.loaded(self._keeper.record)
        if terms is None or self._history.knows(terms.order_sha256):
            return
        try:
            self._late.say(self._custody.loaded_event())
        except LfrEdgeError:
            return  # `verify` has said what is wrong, and the van does not see

    def _wait(self) -> Next | None:
        """Be blind until the van may see (None), or there is something else to do."""
        verified = time.monotonic()
        with Post(self._config, self._config_sha256, self._custody, self.period, self._clock) as post:
            while not self.stop_asked:
                self._keeper.hold_back(self._obstacle())
                decision = self._keeper.decide()
                record = decision.record
                self._duties.erase(decision)
                if self._duties.purge(post.purge):
                    post.begin()
                    if record.state is State.LIVE:
                        return None
                    if self._share.spent:
                        self._settle()
                        return Next.AGAIN
                post.say(record.state.value, decision.blind)
                if self._keeper.faulty and time.monotonic() - verified > _VERIFY_AGAIN_S:
                    verified = time.monotonic()
                    self._custody.verify()
                time.sleep(_TICK_S)
        return Next.STOP

    def _obstacle(self) -> Reason | None:
        """Why no period may begin, whatever is loaded: it could not be logged, or a camera's file is not there."""
        if not self._late.say():
            return Reason.FILE_UNWRITABLE
        said, self._missing = self._missing, ""
        try:
            require_present(self._config.cameras)
        except DeviceError as missing:
            self._missing = str(missing)
            if self._missing != said:  # once, not five times a second
                _LOG.warning("the van stays blind: %s", missing)
            return missing.reason
        return None

    def _see(self) -> Next | None:
        """One period of recognition; None if it could not begin: then the van is blind again."""
        try:
            self._daemon = Daemon(self._config, self._config_sha256, self._custody.package, self._clock, self.period)
        except LfrEdgeError as fault:
            _LOG.error("order %s cannot be carried out: %s", self._status().order, fault)
            self._keeper.meet(Conditions(1, 1, fault.reason), waive_synchronisation=False)
            return None
        if self.stop_asked:
            self._daemon.stop()
        unhurt = self._daemon.run()
        self._settle()
        if not unhurt:
            return Next.FAIL
        return Next.STOP if self.stop_asked else Next.AGAIN

    def _settle(self) -> None:
        """Be blind until the record is on the disk: a new process knows nothing else. The log too, if that is soon."""
        deadline = time.monotonic() + _LOG_WITHIN_S
        while not self.stop_asked and (self._keeper.unwritten or (self._late.waits and time.monotonic() < deadline)):
            time.sleep(_TICK_S)
            self._duties.erase(self._keeper.decide())
            self._keeper.rest()
            self._late.say()

    # What comes over the control socket, on threads of its own.

    def _handle(self, order: Order, peer: Peer, file: int | None) -> Reply:
        if order.do == "load":
            if file is None:
                raise ConfigError(Reason.FILE_MISSING, "no package came with the request", fix="name a package")
            with open(os.dup(file), "rb") as package:  # noqa: PTH123 - a file without a name
                self._custody.take(package, peer.actor, self.period)
            self._keeper.look()  # so that the answer says why it is blind
        elif order.do == "prekeys":
            made = self._custody.make_prekeys(order.count, peer.actor)
            return self._status().model_copy(update={"content": made.decode("ascii")})
        elif order.do == "unlock":
            self._unlock(file, peer)
        elif order.do == "clock-challenge":
            return self._status().model_copy(update={"content": self._keeper.challenge()})
        elif order.do == "clock-recover":
            self._recover_clock(order.content.encode())
        elif order.do in _REQUESTS:
            self._end(order.do, peer)
        return self._status()

    def _end(self, command: str, peer: Peer) -> None:
        """Return when the van is blind and the end is on the disk."""
        if command == "revoke" and self._keeper.record.terms is None:
            raise PolicyError(Reason.NO_ORDER, "nothing was loaded: there is nothing to revoke", fix="check the van")
        self._keeper.decide(_REQUESTS[command])
        if self._daemon is not None:
            self._daemon.look()
        blind = self.period.wait_blind(_BLIND_WITHIN_S)
        terms = self._keeper.record.terms
        order = terms.order if terms is not None else None
        self._note_command(command, peer.actor, "asked for at the van", order)
        if not blind:
            raise DeviceError(
                Reason.SOURCE_UNREADABLE,
                "the deployment has ended, but a camera does not close",
                fix="unplug the cameras, then restart the daemon",
            )
        if self._keeper.unwritten:
            raise DeviceError(
                Reason.FILE_UNWRITABLE,
                "the deployment has ended and the van is blind, but the disk does not take its record",
                fix="make room on the disk, and leave the van switched on until 'lfr-edge deployment stop' says so",
            )

    def _unlock(self, file: int | None, peer: Peer) -> None:
        """Hold the share of the loaded order. What was given is in the log before it opens anything."""
        terms = lifecycle.loaded(self._keeper.record)
        if terms is None:
            raise PolicyError(Reason.NO_ORDER, "nothing is loaded", fix="load the package first")
        if terms.unlock_recipient is None:
            raise PolicyError(
                Reason.VALUE_INVALID, f"order '{terms.order}' needs no share", fix="keep it for its order"
            )
        if file is None:
            raise ConfigError(Reason.FILE_MISSING, "no share came with the request", fix="give it")
        event = CommandReceived(
            by=peer.actor, why="the share was given at the van", command="unlock", outcome="done", order=terms.order
        )
        try:
            self._share.take(file, terms.unlock_recipient, lambda: self._log.append(event))
        except LfrEdgeError as refusal:
            refused = {"outcome": "refused", "reason": refusal.reason.value}
            self._late.say(event.model_copy(update=refused))
            raise
        self._keeper.look()

    def _recover_clock(self, untrusted: bytes) -> None:
        """The mark as signers of orders state it. A list that ended meanwhile stays ended."""
        keys = self._config.keys
        trusted = [VerifyKey.from_file(path) for path in keys.trusted_order_signers]
        statement = open_statement(untrusted, trusted, threshold=keys.order_signatures)
        if (statement.force, statement.van) != (self._config.force, self._config.van):
            raise PolicyError(Reason.WRONG_VAN, "this statement is for another van", fix="have one signed for this van")
        before, after = self._keeper.recover_clock(statement.challenge, statement.at)
        event = ClockRecovered(
            by=f"person:{statement.by[:200]}",
            why=statement.why,
            statement_sha256=hashlib.sha256(untrusted).hexdigest(),
            before=before,
            after=after,
        )
        self._log.append(event)

    def _carry_out(self, command: StopCommand) -> str | None:
        """A signed command: the end is on the disk when this returns, and the van blind a moment later.

        Unless another order is loaded, which the command does not end: that one is returned.
        """
        do = "revoke" if command.revoke else "stop"
        if self._keeper.end(command.order, _REQUESTS[do]) and self._daemon is not None:
            self._daemon.look()
        self._note_command(do, f"person:{command.by[:200]}", command.why, command.order)
        loaded = lifecycle.loaded(self._keeper.record)
        return loaded.order if loaded is not None else None

    def _note_command(self, command: str, by: str, why: str, order: str | None) -> None:
        event = CommandReceived(by=by, why=why, command=command, outcome="done", order=order)
        self._late.say(event)

    def _status(self) -> Reply:
        record, blind = self._keeper.record, self._keeper.blind
        terms = record.terms
        return Reply(
            done=True,
            state=record.state.value,
            blind=tuple(reason.value for reason in blind),
            order=terms.order if terms is not None else None,
            not_before=terms.not_before if terms is not None else None,
            not_after=terms.not_after if terms is not None else None,
            erased=record.erased,
            prekeys=len(self._custody.holding.stock),
        )
