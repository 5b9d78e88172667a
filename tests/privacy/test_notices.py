"""Notices by e-mail, to a server that speaks SMTP; a deletion does not hang on it."""

import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from threading import Thread

import pytest
from pydantic import SecretStr

from seda.database.regions import Region
from seda.privacy.erasure import Places
from seda.privacy.notices import LocalMail, Mailer, MailSettingError, SmtpMail, open_mailer
from seda.privacy.running import MOST_NOTICES, run_privacy_jobs
from tests.privacy.full_world import EMAIL, ask_for_deletion, settle
from tests.serving.serving_world import Listener, World

SENDER = "privacy@example.org"


@contextmanager
def mail_server(received: list[bytes], host: str = "127.0.0.1") -> Iterator[str]:
    """Takes every mail, without TLS; its address."""

    class Session(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline():
                match line.split()[0].upper():
                    case b"DATA":
                        self.say("354 go on")
                        lines = iter(self.rfile.readline, b".\r\n")
                        received.append(b"".join(lines))
                        self.say("250 taken")
                    case b"QUIT":
                        return self.say("221 bye")
                    case b"STARTTLS":
                        self.say("502 no")
                    case _:
                        self.say("250 fine")

    with socketserver.ThreadingTCPServer((host, 0), Session) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"smtp://{host}:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def ada(world: World) -> Listener:
    ada = world.person("Ada", Region.EU)
    world.sql("update seda.users set email = %s where id = %s", EMAIL, ada.id, region=Region.EU)
    return ada


def work(places: Places, mailer: Mailer, later: timedelta = timedelta()) -> dict[str, int]:
    settle(places.databases)
    return dict(run_privacy_jobs(places, mailer, lambda: datetime.now(UTC) + later).jobs)


def test_who_is_deleted_is_told_at_the_address_that_was_theirs(
    world: World, places: Places, ada: Listener
) -> None:
    job, received = ask_for_deletion(world, ada), list[bytes]()
    with mail_server(received) as address:
        settings = places.databases.settings.model_copy(
            update={"smtp_url": SecretStr(address), "mail_from": SENDER}
        )
        mailer = open_mailer(settings, lambda: datetime.now(UTC))
        assert work(places, mailer) == {"delete completed": 1}
    (mail,) = map(message_from_bytes, received)
    assert (mail["To"], mail["From"]) == (EMAIL, SENDER)
    assert str(job) in mail["Message-ID"]
    assert "Your account has been deleted" in str(mail.get_payload())
    assert str(ada.id).encode() not in received[0]
    assert not LocalMail(places.home, lambda: datetime.now(UTC)).path_of(Region.EU, job).exists()


def test_a_deletion_waits_for_the_mail_server_four_times_and_goes_on_untold(
    world: World, places: Places, ada: Listener
) -> None:
    ask_for_deletion(world, ada)
    with mail_server([]) as address:
        pass  # nobody listens there any more
    mailer = SmtpMail(SecretStr(address), SENDER)
    outcomes = [work(places, mailer, timedelta(days=day)) for day in range(MOST_NOTICES)]
    assert outcomes == [*[{"delete queued": 1}] * (MOST_NOTICES - 1), {"delete completed": 1}]
    assert world.sql("select count(*) from seda.users", region=Region.EU) == [(0,)]


def test_no_word_leaves_the_machine_without_tls(places: Places, ada: Listener) -> None:
    received: list[bytes] = []
    # To us any address but the usual ones is another machine.
    with mail_server(received, "127.0.0.2") as address:
        mailer = SmtpMail(SecretStr(address), SENDER)
        from seda.privacy.notices import deletion_notice

        with pytest.raises(OSError, match=r"."):
            mailer.send(deletion_notice(ada.id, Region.EU, EMAIL, "account"))
    assert received == []


@pytest.mark.parametrize("address", ["http://mail.example.org", "smtp://", "mail.example.org"])
def test_an_address_that_is_no_mail_servers_is_refused(address: str) -> None:
    with pytest.raises(MailSettingError, match="SEDA_SMTP_URL"):
        SmtpMail(SecretStr(address), SENDER)
