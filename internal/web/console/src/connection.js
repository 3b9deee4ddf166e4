// The page as a client of the bus.
import mqtt from 'mqtt'

// What is retained comes in the order of the filters. The first of them is one
// retained message: who got it gets it again, and then has all.
const mark = 'checkbus/status'
const filters = [mark, 'checkbus/event/#', 'checkbus/rejected/#', '$SYS/#', 'checkbus/state/#', mark]

// Who may not read it has all when nothing that is retained came for this long.
const quiet = 2000 // ms

// follow connects, and again whenever the connection is lost. It calls
// on.message(topic, text), on.complete() when all that is retained has come,
// on.up(), and on.lost() at once when the connection is gone. The function that it
// returns gives up a connection on which nothing came since a moment, in ms.
export function follow(on) {
	const client = mqtt.connect(`${location.origin.replace(/^http/, 'ws')}/mqtt`, {
		protocolVersion: 5,
		clientId: `console-${crypto.getRandomValues(new Uint32Array(2)).join('-')}`,
		clean: true,
		keepalive: 180, // s; pages in the background may have their timers run once a minute
		connectTimeout: 5000,
		reconnectPeriod: 1000,
		resubscribe: false,
		timerVariant: 'native', // the other one needs a script of its own
	})
	const text = new TextDecoder()
	let isUp = false
	let isComplete = false
	let marks = 0
	let heard // when something came, in ms
	let timer
	const complete = () => {
		clearTimeout(timer)
		isComplete = true
		on.complete()
	}
	const wait = () => {
		clearTimeout(timer)
		timer = setTimeout(complete, quiet)
	}
	client.on('connect', () => {
		isUp = true
		isComplete = false
		marks = 0
		heard = performance.now()
		on.up()
		client.subscribe(filters, { qos: 0 }, (err) => {
			if (err) client.reconnect()
			else if (marks === 0) wait()
		})
	})
	client.on('message', (topic, payload, packet) => {
		heard = performance.now()
		on.message(topic, text.decode(payload))
		if (!packet.retain || isComplete) return
		if (topic === mark) marks++
		if (marks === 0) wait()
		else clearTimeout(timer)
		if (marks === 2) complete()
	})
	client.on('close', () => {
		clearTimeout(timer)
		if (isUp) on.lost()
		isUp = false
	})
	client.on('error', () => {}) // close follows
	return (since) => {
		if (isUp && heard < since) client.end(true, () => client.reconnect())
	}
}
