#!/usr/bin/env python3
"""Sends a mail for one problem or recovery: loop.sh mail.py ADDRESS

The four arguments after the address are those that loop.sh appends. The mail
goes to the local sendmail, as any mail server provides it.
"""
import email.message
import subprocess
import sys


def main():
    to, state, host, service, reason = sys.argv[1:]
    name = f"{host} {service}".strip()
    message = email.message.EmailMessage()
    message["To"] = to
    message["Subject"] = f"{state}: {name}"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody is to answer
    message.set_content(f"{name} is {state}.\n\n{reason}\n")
    subprocess.run(["sendmail", "-t", "-i"], input=message.as_bytes(), check=True)


main()
