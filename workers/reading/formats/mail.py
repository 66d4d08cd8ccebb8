"""Saved mails (.eml, RFC 5322 and MIME): who wrote when to whom, and the text; attachments are named."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable
from workers.reading.formats import html, plaintext
from workers.reading.formats.outline import Outline

MAX_NAMED = 5  # attachments
HEADS = ("From", "To", "Cc", "Date")


def read(data: bytes) -> Document:
    """The subject is the title. Raises Unreadable for what has no head of a mail."""
    mail = message_from_bytes(data, policy=policy.default)
    if not isinstance(mail, EmailMessage) or not (mail["From"] or mail["Subject"]):
        raise Unreadable("is not an e-mail")
    subject = str(mail["Subject"] or "")
    outline = Outline(subject)
    outline.heading(1, subject, anchor="")
    for name in HEADS:
        if mail[name]:
            outline.say(f"{name}: {mail[name]}")
    body = mail.get_body(("plain", "html"))
    if isinstance(body, EmailMessage):
        outline.take(_text(body), level=2)
    attached = [part.get_filename() or part.get_content_type() for part in mail.iter_attachments()]
    if attached:
        more = f" and {len(attached) - MAX_NAMED:,} more" if len(attached) > MAX_NAMED else ""
        outline.notes.append(f"has attachments that are not read: {', '.join(attached[:MAX_NAMED])}{more}")
    return outline.document(modified=_day(str(mail["Date"] or "")))


def _text(body: EmailMessage) -> Document:
    content = body.get_content()
    if body.get_content_subtype() == "html":
        return html.read(str(content).encode(), "utf-8")
    return plaintext.read(str(content).replace("\r\n", "\n"))


def _day(date: str) -> str:
    try:
        return parsedate_to_datetime(date).date().isoformat()
    except ValueError:
        return ""
