// The page as a client of the bus.
import mqtt from 'mqtt'

// Who may not read the last of the filters has all that is retained when nothing of
// it came for this long.
const quiet = 2000 // ms

// The last one is retained and comes after the others, so that it tells when all
// retained states have come.
const filters = ['checkbus/event/#', 'checkbus/rejected/#', '$SYS/#', 'checkbus/state/#', 'checkbus/status']

// follow connects, and again whenever the connection is lost. It calls
// on.message(topic, text), on.complete() when all that is retained has come,
// on.up(), and on.lost() at once when the connection is gone. The function that it
// returns gives up a connection on which nobody answers.
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
		on.up()
		client.subscribe(Object.fromEntries(filters.map((f) => [f, { qos: 0 }])), (err) => {
			if (err) client.reconnect()
			else if (!isComplete) wait()
		})
	})
	client.on('message', (topic, payload, packet) => {
		on.message(topic, text.decode(payload))
		if (!packet.retain || isComplete) return
		if (topic === 'checkbus/status') complete()
		else wait()
	})
	client.on('close', () => {
		clearTimeout(timer)
		if (isUp) on.lost()
		isUp = false
	})
	client.on('error', () => {}) // close follows
	return () => {
		if (isUp) client.end(true, () => client.reconnect())
	}
}
