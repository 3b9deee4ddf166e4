// Prints every message of a bus. Needs the npm package mqtt.
//
//     node subscribe.js wss://bus.example.org:443/mqtt
const mqtt = require("mqtt")

const client = mqtt.connect(process.argv[2])
client.on("connect", () => client.subscribe("#"))
client.on("message", (topic, payload) => console.log(topic, payload.toString()))
client.on("error", err => console.error(err.message))
