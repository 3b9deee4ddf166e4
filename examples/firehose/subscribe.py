"""Prints every message of a bus. Needs paho-mqtt.

    python3 subscribe.py mqtts://bus.example.org:8883
"""
import sys
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt


def on_connect(client, *_):
    client.subscribe("#")  # here, so that it is done after each reconnect too


def on_message(_client, _userdata, message):
    print(message.topic, message.payload.decode(errors="replace"), flush=True)


url = urlsplit(sys.argv[1])
version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
client = mqtt.Client(*version)
client.on_connect, client.on_message = on_connect, on_message
if url.scheme == "mqtts":
    client.tls_set()
client.connect(url.hostname, url.port or (8883 if url.scheme == "mqtts" else 1883))
client.loop_forever()
