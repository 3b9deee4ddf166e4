"""Stands in for mqttwarn: reads its ini file, subscribes to the topics there,
and writes what it formats to the files that the targets name.

    mqttwarn.py INI HOST PORT
"""
import ast
import configparser
import json
import sys

import paho.mqtt.client

ini = configparser.RawConfigParser()
ini.read(sys.argv[1])
value = lambda section, key: ast.literal_eval(ini.get(section, key))
files = value("config:file", "targets")
handlers = [s for s in ini.sections() if s != "defaults" and not s.startswith("config:")]


def on_connect(client, userdata, flags, code):
    for s in handlers:
        client.subscribe(s, ini.getint(s, "qos"))


def on_message(client, userdata, message):
    for s in handlers:
        if paho.mqtt.client.topic_matches_sub(s, message.topic):
            service, target = ini.get(s, "targets").split(":")
            assert service in ini.get("defaults", "launch").split(",")
            with open(files[target][0], "a") as f:
                f.write(ini.get(s, "format").format(topic=message.topic, **json.loads(message.payload)) + "\n")


client = paho.mqtt.client.Client(value("defaults", "clientid"), clean_session=value("defaults", "cleansession"))
client.on_connect, client.on_message = on_connect, on_message
client.connect(sys.argv[2], int(sys.argv[3]))
client.loop_forever()
